"""The memory of large results on the host, which is reused when they die."""

import gc
import itertools
import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.workers import in_children
from vecprod_gpu.backends._cpu import memory

VECTORS = 400_000  # of three float32, whose products are large
FEWER = 50_000  # whose products are medium
PATIENCE = 10.0  # seconds

can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
can_pool = pytest.mark.skipif(not memory._CAN_POOL, reason="the system has no MADV_FREE")


@pytest.fixture
def no_kept_memory(monkeypatch):
    """Blocks that earlier tests left behind, or have yet to give back, are out of the way."""
    gc.collect()
    for name in ("_medium", "_warm", "_given"):
        monkeypatch.setattr(memory, name, deque(maxlen=getattr(memory, name).maxlen))


def product(scale, vectors=VECTORS):
    """Cross products on the backend `cpu`: ``scale * (0, 0, 1)``."""
    a = np.broadcast_to(np.float32([scale, 0, 0]), (vectors, 3))
    with vp.use_backend("cpu"):
        return vp.cross(a, np.broadcast_to(np.float32([0, 1, 0]), (vectors, 3)))


def holds(array, scale):
    """Whether a result of `product` still is what it was."""
    return (array == np.float32([0, 0, scale])).all()


def kept():
    """The sizes of all blocks that wait for their reuse."""
    return [len(block) for block in (*memory._medium, *memory._warm, *memory._given)]


def loan_of(array):
    """What all views of the array keep alive."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array


def wait_until_kept():
    """Wait for the block: a thread that began too late to help still holds its call's arrays for a moment."""
    deadline = time.monotonic() + PATIENCE
    while not kept() and time.monotonic() < deadline:
        time.sleep(0.001)


@can_pool
@pytest.mark.usefixtures("no_kept_memory")
class TestReusedMemory:
    @pytest.mark.parametrize("vectors", [FEWER, VECTORS])
    def test_serves_the_next_result(self, vectors):
        first = product(1, vectors)
        address = first.ctypes.data
        del first
        wait_until_kept()
        second = product(2, vectors)
        assert second.ctypes.data == address
        assert holds(second, 2)

    @pytest.mark.parametrize("vectors", [FEWER, VECTORS])
    def test_is_never_shared_by_live_results(self, vectors):
        def call(worker):
            live = []
            for turn in range(12):
                live.append((product(12 * worker + turn, vectors), 12 * worker + turn))
                if turn % 3 == 2:
                    live.pop(0)
            return live

        with ThreadPoolExecutor(6) as pool:
            live = list(itertools.chain.from_iterable(pool.map(call, range(6))))
        assert all(itertools.starmap(holds, live))
        starts = sorted(array.ctypes.data for array, _ in live)
        assert all(right - left >= live[0][0].nbytes for left, right in itertools.pairwise(starts))

    @pytest.mark.parametrize(
        "view_of",
        [
            lambda array: array[-5:],
            lambda array: array.T.reshape(-1, order="F").view(np.int32).view(np.float32).reshape(array.shape),
            lambda array: np.asarray(memoryview(array)),
            lambda array: np.from_dlpack(array),
            lambda array: next(iter(np.array_split(array, 3))),
        ],
        ids=["slice", "reshaped", "memoryview", "DLPack", "split"],
    )
    def test_is_kept_by_any_view(self, view_of):
        view = view_of(product(1))
        others = [product(2), product(3)]
        assert holds(view, 1)
        assert not any(np.shares_memory(view, other) for other in others)

    def test_is_kept_in_bounds(self, monkeypatch):
        monkeypatch.setattr(memory, "KEPT_BYTES", 3 * product(0).nbytes)
        results = [product(scale) for scale in range(6)]
        results.clear()
        assert 0 < sum(kept()) <= memory.KEPT_BYTES

    def test_is_of_few_medium_results(self):
        results = [product(scale, FEWER) for scale in range(3 * memory.MEDIUM_BLOCKS)]
        results.clear()
        assert 0 < len(kept()) <= memory.MEDIUM_BLOCKS

    @pytest.mark.parametrize("dtype", "?bHilqfdFDg")
    def test_is_of_any_dtype(self, dtype):
        for shape in ((memory.MEDIUM_BYTES,), (3, memory.MEDIUM_BYTES, 2)):
            array = memory.empty(shape, np.dtype(dtype))
            assert array.shape == shape
            assert array.dtype is np.dtype(dtype)
            assert array.flags.c_contiguous
            assert array.flags.writeable
            array[...] = 1
            assert (array == 1).all()

    def test_is_given_to_the_system_past_a_bound(self, monkeypatch):
        monkeypatch.setattr(memory, "WARM_BYTES", 2 * product(0).nbytes)
        results = [product(scale) for scale in range(6)]
        results.clear()
        wait_until_kept()
        assert sum(map(len, memory._warm)) <= memory.WARM_BYTES < sum(kept())
        assert holds(product(7), 7)

    def test_does_not_serve_a_much_smaller_result(self):
        large = memory.empty((4 * memory.LARGE_BYTES,), np.dtype(np.uint8))
        del large
        assert memory.empty((memory.LARGE_BYTES,), np.dtype(np.uint8)).size == memory.LARGE_BYTES
        assert max(kept()) == 4 * memory.LARGE_BYTES

    @can_fork
    def test_is_its_own_in_a_forked_child(self):
        mine, spare = product(1), product(2)
        spare_block = loan_of(spare).block.memory
        del spare

        def overwrite():
            mine[...] = -1
            theirs = product(3)  # in the child's copy of the spare block
            return bool(holds(theirs, 3) and (mine == -1).all())

        before = spare_block[memory.OFFSET :][:64]
        assert in_children("fork", 2, overwrite) == [True, True]
        assert holds(mine, 1)
        assert spare_block[memory.OFFSET :][:64] in (
            before,
            bytes(64),
        )  # untouched, or taken back by the system
        assert holds(product(4), 4)


def test_memory_that_cannot_be_had_is_refused_as_numpy_refuses_it():
    for shape in ((2**40, 2**40), (2**59,)):
        with pytest.raises((MemoryError, ValueError)) as numpys:
            np.empty(shape)
        with pytest.raises(numpys.type):
            memory.empty(shape, np.dtype(np.float64))
