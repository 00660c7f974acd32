"""Numba's simulator, whose threads take turns.

Its own blocks ask all their threads again and again how far they are, and keep them from running meanwhile:
that took most of a test's time.  Here one thread runs at a time, up to its next barrier, and every round has
the opposite order, so that a kernel that lacks a barrier goes wrong on every run, as in ``cuda_shim.h``.
As there, threads that end while others wait at a barrier are an error: a GPU may hang.
"""

import ctypes
import os
import threading
from contextlib import contextmanager

import numpy as np
from numba.cuda.simulator import kernel


class Thread(kernel.BlockThread):
    """A thread that runs only while its block waits for it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._may_run, self._has_stopped = threading.Lock(), threading.Lock()
        self._may_run.acquire()
        self._has_stopped.acquire()
        self.has_ended = False

    def go_on(self):
        """Run up to the next barrier, or to the end."""
        if self.ident is None:
            self.start()
        else:
            self._may_run.release()
        self._has_stopped.acquire()

    def run(self):
        """Run the kernel; what it raises is kept, as `BlockThread` does."""
        super().run()
        self.has_ended = True
        self._has_stopped.release()

    def syncthreads(self):
        """Wait until all other threads of the block have come to a barrier, or to their end."""
        self._has_stopped.release()
        self._may_run.acquire()
        if self.abort:
            raise RuntimeError("another thread of the block has failed")


class Block(kernel.BlockManager):
    """A block whose threads take turns."""

    def run(self, grid_point, *arguments):
        """Run all threads to their ends, or until one of them fails."""
        threads = [
            Thread(lambda: self._f(*arguments), self, grid_point, point, self._debug)
            for point in np.ndindex(*self._block_dim)
        ]
        with _on_this_core():
            self._run_in_turns(threads)

    @staticmethod
    def _run_in_turns(left):
        while left:
            for thread in left:
                thread.go_on()
                if thread.exception:
                    _abort(left)
                    raise thread.exception[0].with_traceback(thread.exception[1])
            waiting = [thread for thread in reversed(left) if not thread.has_ended]
            if waiting and len(waiting) < len(left):
                _abort(waiting)
                raise RuntimeError("divergent syncthreads(): some threads have ended, and others wait")
            left = waiting


def _abort(threads):
    for thread in threads:
        thread.abort = True
        if thread.ident is not None and not thread.has_ended:
            thread.go_on()


@contextmanager
def _on_this_core():
    """Keep threads that start meanwhile where this one is: the next would wait for a core that is busy."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {ctypes.CDLL(None).sched_getcpu()})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def install():
    """Let kernels run in such blocks."""
    kernel.BlockManager = Block
