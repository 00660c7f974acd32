"""Which way of writing large results is the better on this machine, found out while they are written."""

import time
from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .streaming import publish

Array = np.ndarray[Any, Any]
Loop = Callable[..., Any]

TELLING_BYTES = 1 << 19  # of a part; a smaller one may stay in the caches, whatever the stores
RESULTS_A_TRIAL = 32  # one result in so many is written the other way, in case it is the better by now
EARLY_TRIALS = (2, 4, 8, 16)  # and these too: the result that told may have found its pages not there
LEFT_TO_WRITE = 1.1  # so much faster ordinary stores only seem: the next call pays for what they leave
LATEST = 9  # parts of each way, whose median is compared: the fastest may just have stayed in the cache


class Stores:
    """Ordinary stores and those past the cache, which give the same bits; for results of about one size.

    A result is written one way as a whole: what one part left in the cache slows the other way down.
    """

    def __init__(self) -> None:
        self._results = 0  # since both ways were tried
        self._seconds = {way: deque[float](maxlen=LATEST) for way in (False, True)}  # a byte

    def writer(self, ordinary: Loop, past_cache: Loop) -> Loop:
        """A loop that writes the parts of one result, the last of its arguments, from the others."""
        return partial(self._write, self._way(), ordinary, past_cache)

    def settled(self) -> bool | None:
        """Whether the next result goes past the cache, as is known to be better; None where it is a trial."""
        better = self._better()
        if better is None or _is_trial(self._results + 1):
            return None
        self._results += 1
        return better

    def _way(self) -> bool | None:
        """Whether the next result goes past the cache; None where either way was tried too seldom."""
        better = self._better()
        if better is None:
            return None
        self._results += 1
        return better != _is_trial(self._results)

    def _better(self) -> bool | None:
        """Whether to write past the cache takes less time; None where that is not known."""
        ordinary, past_cache = (sorted(self._seconds[way]) for way in (False, True))
        if min(len(ordinary), len(past_cache)) < LATEST:
            return None
        return past_cache[LATEST // 2] < LEFT_TO_WRITE * ordinary[LATEST // 2]

    def _write(self, way: bool | None, ordinary: Loop, past_cache: Loop, *arrays: Array) -> None:
        if way is None:  # by turns
            way = len(self._seconds[True]) < len(self._seconds[False])
        started = time.perf_counter()
        if way:
            past_cache(*arrays)
            publish()
        else:
            ordinary(*arrays)
        seconds, nbytes = time.perf_counter() - started, arrays[-1].nbytes
        if nbytes >= TELLING_BYTES:
            self._seconds[way].append(seconds / nbytes)


def _is_trial(result: int) -> bool:
    """Whether the result of that number is written the other way."""
    return result % RESULTS_A_TRIAL == 0 or result in EARLY_TRIALS


class StoresBySize:
    """`Stores` for each power of two: what fits the last cache may be written best by other ones."""

    def __init__(self) -> None:
        self._stores: defaultdict[int, Stores] = defaultdict(Stores)

    def writer(self, ordinary: Loop, past_cache: Loop, nbytes: int) -> Loop:
        """A loop that writes the parts of a result of so many bytes, see `Stores.writer`."""
        return self._stores[nbytes.bit_length()].writer(ordinary, past_cache)

    def settled(self, nbytes: int) -> bool | None:
        """See `Stores.settled`."""
        return self._stores[nbytes.bit_length()].settled()
