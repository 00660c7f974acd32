"""Threads that wait are kept off the processor of the thread that is about to wake them.

Linux takes a virtual processor that sleeps for one that its host has given to others (`available_idle_cpu`
and `vcpu_is_preempted` in its scheduler).  Then it wakes a thread on the very processor that woke it: one of
the two stands still until a tick of the clock, some 4 ms away, and two threads are slower than one.  100,000
outer products of 8 x 8 float32 on two cores: 1.49 ms where the system chose, 0.91 kept apart, 1.25 on one
thread.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from contextlib import suppress


def _teller() -> Callable[[], int] | None:
    """What tells the processor that a thread runs on, where threads can be kept off it."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    try:
        tell: Callable[[], int] = ctypes.PyDLL(None).sched_getcpu
    except (OSError, AttributeError):  # of another C library
        return None
    return tell


current_processor = _teller()


class Places:
    """Where the threads of a pool may run: wherever its callers may, but not where the latest one does.

    A thread that works stays where it is, for it may work for another caller.
    """

    def __init__(self) -> None:
        self._avoided: dict[int, int | None] = {}  # by each thread: the processor that it is kept off
        self._avoided_by_all: int | None = None
        self._at_work: set[int] = set()
        self._everywhere: set[int] = set()  # the processors of the latest caller that asked for room

    def arrive(self) -> None:
        """Know the thread that calls this as one of the pool."""
        self._avoided[threading.get_native_id()] = None
        self._avoided_by_all = None

    def work(self, task: Callable[[], None]) -> None:
        """Do a task on a thread of the pool, which meanwhile stays where it is."""
        thread = threading.get_native_id()
        self._at_work.add(thread)
        try:
            task()
        finally:
            self._at_work.discard(thread)

    def roam(self) -> None:
        """Let the thread that calls this, awake where it was sent, run wherever its caller may."""
        thread = threading.get_native_id()
        if self._avoided[thread] is not None:
            with suppress(OSError):
                os.sched_setaffinity(thread, self._everywhere)
            self._avoided[thread] = self._avoided_by_all = None

    def make_room(self) -> None:
        """Keep those that wait off the processor of the thread that calls this.

        Each call asks anew: a thread that has waited for others may be woken anywhere.
        """
        if current_processor is None or (here := current_processor()) == self._avoided_by_all:
            return
        self._everywhere = os.sched_getaffinity(0)
        elsewhere = self._everywhere - {here}
        if not elsewhere:
            return
        self._avoided_by_all = here  # first: of a thread that arrives meanwhile it is not true
        for thread, avoided in tuple(self._avoided.items()):
            if avoided == here:
                continue
            if thread in self._at_work:
                self._avoided_by_all = None
                continue
            with suppress(OSError):  # the system does not allow it
                os.sched_setaffinity(thread, elsewhere)
            self._avoided[thread] = here
