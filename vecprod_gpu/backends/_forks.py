"""What must be whole when the process forks: the import of a backend, and a compilation.

Their locks belong to threads that a forked child does not have, so the child would wait for ever at
its own first call.  A fork therefore waits until they are free.
"""

import logging  # noqa: F401  # it holds its lock during forks too: registered first, it is taken last
import os
import threading
from typing import Protocol


class Lock(Protocol):
    """A lock that its holder may take again."""

    def acquire(self) -> object:
        """Wait for the lock, and take it."""

    def release(self) -> object:
        """Give it back."""


loading = threading.RLock()
"""Held while a backend is imported."""

_held_by_forks: list[Lock] = [loading]
_taken: list[Lock] = []


def wait_for(lock: Lock) -> None:
    """Let forks wait for `lock`, after those named before it: the order in which calls take them."""
    _held_by_forks.append(lock)


def _acquire() -> None:
    for lock in _held_by_forks:
        lock.acquire()
        _taken.append(lock)


def _release() -> None:
    """Give back what was taken: fewer locks than there are, if an interrupt came between."""
    taken = _taken.copy()
    _taken.clear()  # before another thread that forks may fill it again
    for lock in reversed(taken):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_acquire, after_in_parent=_release, after_in_child=_release)
