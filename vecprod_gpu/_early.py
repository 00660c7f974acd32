"""The first few small calls of a process: NumPy answers them before the import of Numba would have ended.

Only operations whose results have the same bits on ``reference`` and ``cpu`` may begin that way.
"""

import sys

import numpy as np

from ._costs import Work

FEW = 32
"""Calls, which together take NumPy a thousandth of what it takes to import Numba and load compiled code."""

SMALL_BYTES = 1 << 16
"""That a call moves, at most: here NumPy takes a tenth of a millisecond."""

_REAL = frozenset(map(np.dtype, "bBhHiIlLqQfd"))
_SAME_BITS = {"batched_outer": _REAL, "cross": _REAL}
_ON_NUMBA = f"{__package__}.backends.cpu"
_answered = 0


def is_early(operation: str, dtype: np.dtype[np.generic], work: Work) -> bool:
    """Whether the call is small, has the same bits either way, and is one of a few before Numba is needed."""
    return (
        _ON_NUMBA not in sys.modules
        and _answered < FEW
        and work.bytes <= SMALL_BYTES
        and dtype in _SAME_BITS.get(operation, ())
    )


def count_call() -> None:
    """Count one more call that was early; threads that count at the same time may count as one."""
    global _answered
    _answered += 1
