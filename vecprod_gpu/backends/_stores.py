"""Which way of writing large results is the faster on this machine, found out while they are written."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from ._streaming import publish

Array = np.ndarray[Any, Any]
Loop = Callable[..., Any]

TELLING_BYTES = 1 << 19  # of a part; a smaller one may stay in the caches, whatever the stores
PARTS_A_TRIAL = 64  # one part in so many is written the slower way, in case it is not the slower any more
LATEST = 9  # parts of each way, whose median is compared: the fastest may just have stayed in the cache


class Stores:
    """Writes parts of results by ordinary stores or past the cache, which give the same bits."""

    def __init__(self) -> None:
        self._parts = 0
        self._seconds = {way: deque[float](maxlen=LATEST) for way in (False, True)}  # a byte

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
            self._seconds[way].append(seconds / nbytes)

    def _way(self) -> bool:
        """Whether the next part goes past the cache; threads that ask at once may hear the same."""
        self._parts += 1
        ordinary, past_cache = (sorted(self._seconds[way]) for way in (False, True))
        if len(past_cache) < LATEST:
            return len(past_cache) < len(ordinary)
        faster = past_cache[LATEST // 2] < ordinary[LATEST // 2]
        return not faster if self._parts % PARTS_A_TRIAL == 0 else faster
