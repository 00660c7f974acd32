"""Host batches whose copies overlap with kernels, on a real GPU and on all there are."""

import numpy as np
import pytest

import vecprod_gpu as vp
from vecprod_gpu.linreg._streaming import streamed
from vecprod_gpu.stream import _gpu

ROWS, COLUMNS = 2_000_003, 32


@pytest.fixture
def problem():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((ROWS, COLUMNS), dtype=np.float32)
    return X, X[:, 3] - X[:, 7] + rng.standard_normal(ROWS, dtype=np.float32)


@pytest.fixture(params=[1, 2])
def devices(request, cp):
    """One GPU, and two; there are runs on machines with one alone."""
    there = cp.cuda.runtime.getDeviceCount()
    return range(min(request.param, there))


def bits(moments):
    return moments.xx.tobytes() + moments.xy.tobytes() + np.asarray(moments.yy).tobytes()


def test_co_moments_have_the_bits_of_one_segment_after_another(devices, problem, monkeypatch):
    monkeypatch.setattr(streamed, "SEGMENT_BYTES", 1 << 22)
    with vp.use_backend("cupy"):
        expected = bits(vp.CoMoments.from_arrays(*problem))
        for _ in range(10):
            moments = vp.CoMoments()
            with _gpu.sharing_gpus(devices):
                for start in range(0, ROWS, 300_007):
                    moments.update(*(array[start : start + 300_007] for array in problem))
            assert bits(moments) == expected


def test_products_are_numpys(cp, tmp_path):
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((2, 400_003, 7))
    with vp.use_backend("cupy"):
        vp.stream.batched_outer(a, b, tmp_path / "out.npy")
    written = np.load(tmp_path / "out.npy", mmap_mode="r")
    assert (written == a[:, :, None] * b[:, None, :]).all()


SPIN = r"""
extern "C" __global__ void spin(long long cycles) {
    const long long start = clock64();
    while (clock64() - start < cycles) {}
}
"""


def test_copies_overlap_with_kernels(cp):
    """Batches whose kernels take longer than a copy: the next one has arrived when they end."""
    spin = cp.RawKernel(SPIN, "spin")
    spin.compile()
    batch = np.ones(1 << 22)
    seen = []

    def compute(arrays):
        stream = cp.cuda.get_current_stream()
        begun, ended = (cp.cuda.Event() for _ in range(2))
        begun.record(stream)  # behind the wait for the copy of this batch
        spin((1,), (1,), (np.int64(50_000_000),))
        total = arrays["x"].sum(keepdims=True)
        ended.record(stream)
        seen.append((begun, ended))
        return (total,)

    lanes = _gpu.Lanes([0])
    results = [total for _, (total,) in lanes.overlapped(((i, {"x": batch}) for i in range(8)), compute)]
    lanes.close()
    assert all(total == batch.size for total in results)
    gaps = [cp.cuda.get_elapsed_time(seen[i][1], seen[i + 1][0]) for i in range(1, 7)]
    alone = cp.empty_like(cp.asarray(batch))
    first, last = (cp.cuda.Event() for _ in range(2))
    first.record()
    alone.set(batch)
    last.record()
    last.synchronize()
    assert np.median(gaps) < cp.cuda.get_elapsed_time(first, last) / 4, "kernels wait for the copies"
