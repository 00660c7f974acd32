"""Which way of writing large results is the faster on this machine, found out while they are written."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ._streaming import publish

Array = np.ndarray[Any, Any]
Loop = Callable[..., Any]

TELLING_BYTES = 1 << 19  # of a part; a smaller one may stay in the caches, whatever the stores
PARTS_A_TRIAL = 256  # one part in so many is written the slower way, in case it is not the slower any more


class Stores:
    """Writes parts of results by ordinary stores or past the cache, which give the same bits."""

    def __init__(self) -> None:
        self._parts = 0
        self._least = {False: 0.0, True: 0.0}  # seconds a byte, which page faults can only lengthen

    def write(self, ordinary: Loop, past_cache: Loop, *arrays: Array) -> None:
        """Compute the last of the arrays from the others, by one of the two loops."""
        way = self._way()
        started = time.perf_counter()
        if way:
            past_cache(*arrays)
            publish()
        else:
            ordinary(*arrays)
        seconds, nbytes = time.perf_counter() - started, arrays[-1].nbytes
        if nbytes >= TELLING_BYTES:
            self._least[way] = min(self._least[way] or float("inf"), seconds / nbytes)

    def _way(self) -> bool:
        """Whether the next part goes past the cache; threads that ask at once may hear the same."""
        self._parts += 1
        faster = self._least[True] < self._least[False]  # a way that was never taken counts as the faster
        return not faster if self._parts % PARTS_A_TRIAL == 0 else faster
