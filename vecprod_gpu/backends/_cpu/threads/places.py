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


MOST = 16  # threads of a pool that are moved when a caller was: each takes 3 us


class Places:
    """Where the threads of a pool may run: anywhere but where the latest caller does.

    That of their own task as long as they work: they wait for the GIL, and are woken, between two blocks.
    """

    def __init__(self) -> None:
        self._home: dict[int, set[int]] = {}  # by each thread: the processors where it began
        self._avoided: dict[int, int | None] = {}  # and which of them it is kept off
        self._waiting: set[int] = set()
        self._caller: int | None = None  # the processor of the latest caller
        self._changing = threading.Lock()

    def arrive(self) -> None:
        """Know the thread that calls this as one of the pool."""
        if current_processor is not None:
            with suppress(OSError):  # the system does not tell: then it is left alone
                self._home[threading.get_native_id()] = os.sched_getaffinity(0)

    def work(self, task: Callable[[], None]) -> None:
        """Do a task on a thread of the pool, which no caller moves meanwhile."""
        thread = threading.get_native_id()
        with self._changing:
            self._waiting.discard(thread)
        try:
            task()
        finally:
            with self._changing:
                self._keep_off(thread, self._caller)
                self._waiting.add(thread)

    def roam(self) -> None:
        """Let the thread that calls this, and those that its task will start, run anywhere until it waits."""
        with self._changing:
            self._keep_off(threading.get_native_id(), None)

    def make_room(self) -> None:
        """Keep those that wait off the processor of the thread that calls this.

        Each call looks anew where it is: while it waited for its helpers it may have been moved.
        """
        if current_processor is None or (here := current_processor()) == self._caller:
            return
        with self._changing:
            for thread in self._waiting if len(self._waiting) <= MOST else ():
                self._keep_off(thread, here)
            self._caller = here  # last: after an interrupt before it the next call does all of this again

    def _keep_off(self, thread: int, processor: int | None) -> None:
        """Let a thread run wherever it began, but for one processor if there are others."""
        home = self._home.get(thread)
        if home is None or self._avoided.get(thread) == processor:
            return
        self._avoided[thread] = None  # until it is true: an interrupt may come in between
        with suppress(OSError):  # the system does not allow it, or has taken processors away
            os.sched_setaffinity(thread, home - {processor} or home)
        self._avoided[thread] = processor
