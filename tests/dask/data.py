"""Rows, and what is expected of them, for the tests of clusters; the workers import this module."""

import os
import signal
from itertools import pairwise

import dask.array as da
import numpy as np

from vecprod_gpu import CoMoments, linreg_fit
from vecprod_gpu.linreg._streaming import streamed

SEGMENT = 16  # rows of 4 columns, in the workers too
COLUMNS = 4


def shrink_segments():
    """Segments so small that trees of several levels arise from little data."""
    streamed.SEGMENT_BYTES = SEGMENT * COLUMNS * 8


def random_rows(rng, n, models=()):
    """Three columns with means far from 0, targets, and weights of which some are 0."""
    X = rng.standard_normal((n, COLUMNS - 1)) + np.array([5, -3, 100])
    s = rng.random(n)
    s[1::5] = 0
    return X, rng.standard_normal((n, *models)) + 2, s


def random_chunks(rng, n, multiple=1):
    """Lengths of chunks of n rows, all but the last multiples of a number."""
    inner = rng.integers(1, max(2, n // multiple), rng.integers(0, 12)) * multiple
    stops = sorted({n, *(int(stop) for stop in inner if stop < n)})
    return tuple(stop - start for start, stop in pairwise([0, *stops]))


def in_blocks(kind, chunks, *arrays):
    """What `from_blocks` makes of the chunks of rows."""
    bounds = pairwise([0, *np.cumsum(chunks).tolist()])
    return kind.from_blocks(
        kind.from_arrays(*(array[start:stop] for array in arrays)) for start, stop in bounds
    )


def chunked(chunks, *arrays):
    """The arrays as arrays of Dask with those chunks of rows."""
    return [da.from_array(array, chunks=(chunks, *map(int, array.shape[1:]))) for array in arrays]


def assert_same_summary(ours, theirs):
    assert (ours.layout, ours.dtype, ours.n_samples) == (theirs.layout, theirs.dtype, theirs.n_samples)
    for name, array in vars(theirs.summary).items():
        np.testing.assert_array_equal(getattr(ours.summary, name), array)


def deadly(block, marker, block_info=None):
    """The block; whoever is the first to come for the one in the middle is killed."""
    if block_info[0]["chunk-location"][0] == 5:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return block
        os.kill(os.getpid(), signal.SIGKILL)
    return block


def fitted_in_memory(X, y, s, **how):
    """The fit of the co-moments of all rows."""
    return linreg_fit(CoMoments.from_arrays(X, y, s), **how)
