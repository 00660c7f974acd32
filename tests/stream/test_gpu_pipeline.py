"""Host batches on GPUs, on a stand-in whose streams run late or ahead: a missing wait gives wrong bits."""

import itertools
from concurrent.futures import Future
from contextlib import contextmanager

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.conftest import REAL_GPU
from tests.shim import fake_cupy
from vecprod_gpu.linreg._streaming import streamed
from vecprod_gpu.stream import _gpu, _products

if REAL_GPU:
    pytest.skip("tests/gpu holds the pipeline on a GPU", allow_module_level=True)

SEGMENTS = 31  # of 128 rows, behind which 32 wait
SEEDS = (None, *range(8))


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(streamed, "SEGMENT_BYTES", 1 << 13)
    monkeypatch.setattr(_products, "DEVICE_BLOCK_BYTES", 1 << 12)


@pytest.fixture
def problem(rng):
    """Some thirty segments, of three dtypes and in three layouts, and a rest."""
    X = np.asfortranarray(rng.standard_normal((4000, 6)))
    return X, rng.standard_normal((4000, 2)).astype("f"), rng.uniform(size=8000)[::2].astype("f")


@contextmanager
def machine(devices=1, seed=None):
    with vp.use_backend("cupy"), fake_cupy.on_machine(devices, seed) as one:
        yield one


def bits(moments):
    parts = moments.weight_sum, moments.mean, moments.y_mean, moments.xx, moments.xy, moments.yy
    return b"".join(np.asarray(part).tobytes() for part in parts)


def shared_moments(arrays, rows=1500):
    """What updates of so many rows give within `sharing_gpus`."""
    moments = vp.CoMoments()
    with _gpu.sharing_gpus():
        for start in range(0, len(arrays[0]), rows):
            moments.update(*(array[start : start + rows] for array in arrays))
    return bits(moments)


def bits_in_turn(arrays):
    with vp.use_backend("cupy"):
        return bits(vp.CoMoments.from_arrays(*arrays))


@pytest.mark.parametrize("devices", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_co_moments_have_the_bits_of_one_segment_after_another(devices, seed, problem):
    expected = bits_in_turn(problem)
    with machine(devices, seed):
        assert shared_moments(problem) == expected


@pytest.mark.parametrize("rows", [1, 341, 4000])
def test_the_size_of_batches_cannot_be_seen(rows, problem):
    problem = [array[:1200] for array in problem]
    expected = bits_in_turn(problem)
    with machine(2, 7):
        assert shared_moments(problem, rows) == expected


@pytest.mark.parametrize("dtypes", [">f8 f4 >f4", "f4 f4 f4", "f2 f2 f2", "i4 f8 u1"])
def test_every_dtype_is_cast_as_without_a_pipeline(dtypes, rng):
    arrays = [rng.integers(0, 9, shape).astype(code) for shape, code in zip(
        [(4000, 6), (4000,), (4000,)], dtypes.split(), strict=True
    )]  # fmt: skip
    native = [array.astype(array.dtype.newbyteorder("=")) for array in arrays]
    expected = bits_in_turn(native)
    with machine(2, 3):
        assert shared_moments(arrays) == expected


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["batched_outer", "cross"])
def test_products_are_those_in_memory(name, devices, seed, rng):
    a, b = rng.standard_normal((2, 2001, 3))
    expected = {"batched_outer": a[:, :, None] * b[:, None, :], "cross": np.cross(a, b)}[name]
    out = np.full_like(expected, np.nan)
    with machine(devices, seed) as one:
        getattr(vp.stream, name)(a, b, out)
        assert sum(what == "launch" for what, _ in one.log) >= 10
    assert out.tobytes() == expected.tobytes()


def test_a_nan_is_found_where_it_is_and_nothing_changes(problem):
    X, y, weights = problem
    before, X = X.copy(), X.copy()
    X[2500, 4] = np.nan
    with machine(2, 1), _gpu.sharing_gpus():
        moments = vp.CoMoments.from_arrays(X[:1000], y[:1000], weights[:1000])
        held = bits(moments)
        with pytest.raises(vp.errors.NotFiniteError, match="row 2500, column 4"):
            moments.update(X[1000:], y[1000:], weights[1000:])
        assert bits(moments) == held
        moments.update(before[1000:], y[1000:], weights[1000:])
    assert moments.n_samples == 4000


def test_what_fails_on_a_device_is_raised(problem, monkeypatch):
    def fail(rows):
        raise MemoryError("cudaErrorMemoryAllocation")

    with machine(2), _gpu.sharing_gpus():
        monkeypatch.setattr(_gpu.NativeMoments, "of", fail)
        monkeypatch.setattr(_gpu, "_backend_of", lambda rows: "cupy")
        with pytest.raises(MemoryError, match="cudaErrorMemoryAllocation"):
            vp.CoMoments.from_arrays(*problem)


# --- That a mistake would show ----------------------------------------------------------------------


def wrong_bits(problem, forget):
    """Whether, in some order, a pipeline that forgets something computes another thing, or is refused."""
    problem = [array.astype(float) for array in problem]  # nothing is cast, which the stand-in does at once
    expected = bits_in_turn(problem)
    for devices, seed in itertools.product((1, 2), SEEDS):
        with machine(devices, seed):
            forget(fake_cupy.sys.modules["cupy"].cuda)
            try:
                if shared_moments(problem) != expected:
                    return True
            except (AssertionError, vp.errors.NotFiniteError):
                return True
    return False


STREAMS = ["arrivals", "kernels", "returns"]  # of each lane, which makes them in this order


def made_as(stream):
    return STREAMS[stream.ptr % 3]


@pytest.mark.parametrize("name", STREAMS)
def test_each_stream_must_wait(name, problem):
    def forget(cuda):
        wait = cuda.Stream.wait_event
        cuda.Stream.wait_event = lambda self, event: made_as(self) == name or wait(self, event)

    assert wrong_bits(problem, forget)


@pytest.mark.parametrize("name", ["arrivals", "returns"])
def test_the_host_must_wait(name, problem):
    """For the copy that reads the pinned memory which it fills anew, and for the results."""

    def forget(cuda):
        synchronize = cuda.Event.synchronize
        cuda.Event.synchronize = lambda self: (
            self.mark is None or made_as(self.mark.stream) == name or synchronize(self)
        )

    assert wrong_bits(problem, forget)


def test_the_stand_in_refuses_memory_that_is_not_pinned(problem, monkeypatch):
    monkeypatch.setattr(_gpu, "_pinned_memory", lambda nbytes: np.empty(nbytes, np.uint8))
    with machine(), pytest.raises(AssertionError, match="not pinned"):
        shared_moments(problem)


# --- Who waits for whom -------------------------------------------------------------------------------


class AtOnce:
    """An executor whose work is done when it is submitted, so that the log has one order."""

    def __init__(self, *_, **__):
        pass

    def submit(self, work, *arguments):
        future = Future()
        future.set_result(work(*arguments))
        return future

    def shutdown(self):
        pass


@pytest.fixture
def one_thread(monkeypatch):
    monkeypatch.setattr(_gpu, "ThreadPoolExecutor", AtOnce)


def test_copies_run_ahead_and_nothing_waits_for_a_device(problem, one_thread):
    """Batches i + 1 and i + 2 are on their way before the host waits for the results of batch i."""
    with machine() as one:
        shared_moments(problem, rows=4000)
    arrivals, _, returns = sorted({stream for what, stream in one.log if what == "record"})
    sent = returned = 0
    for entry in one.log:
        sent += entry == ("record", arrivals)
        if entry == ("synchronize event", returns):
            assert sent - returned >= min(_gpu.IN_FLIGHT, SEGMENTS - returned) - 1
            returned += 1
    assert sent == returned == SEGMENTS
    assert not any(what in ("synchronize stream", "synchronize device") for what, _ in one.log)


def test_a_copy_precedes_the_kernels_that_read_it(problem, one_thread):
    """What is queued on each stream: copies, then their mark; a wait, then kernels, then their mark."""
    with machine() as one:
        shared_moments(problem, rows=4000)
    streams = sorted({stream for what, stream in one.log if what == "record"})
    queued = {name: [what for what, of in one.log if of == stream and "sync" not in what]
              for name, stream in zip(("arrivals", "kernels", "returns"), streams, strict=True)}  # fmt: skip
    assert queued["arrivals"][:4] == ["copy", "copy", "copy", "record"]
    assert queued["arrivals"][-5:] == ["wait", "copy", "copy", "copy", "record"]
    for run in " ".join(queued["kernels"]).split("record")[:-1]:
        assert run.split()[0] == "wait"
        assert "launch" in run
    assert queued["returns"][:5] == ["wait", "copy", "copy", "copy", "record"]


def test_gpus_take_turns(problem):
    with machine(3) as one:
        shared_moments(problem, rows=4000)
    launches = [stream for what, stream in one.log if what == "launch"]
    counts = [launches.count(stream) for stream in sorted(set(launches))]
    assert len(counts) == 3
    assert max(counts) - min(counts) <= max(counts) // 5


# --- When it is used ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_backend_that_was_asked_for_is_obeyed(backend, problem):
    with vp.use_backend(backend), fake_cupy.on_machine(1, None) as one:
        expected = bits(vp.CoMoments.from_arrays(*problem))
        assert shared_moments(problem) == expected
        assert one.log == []


@pytest.mark.parametrize("pays", [False, True])
def test_the_dispatcher_decides(pays, problem, monkeypatch):
    monkeypatch.setattr(vp._dispatch, "_device_may_pay", lambda work, dtype: pays)
    with fake_cupy.on_machine(2, None) as one:
        shared_moments(problem)
    assert any(what == "launch" for what, _ in one.log) == pays


def test_batches_are_large_where_gpus_share_them():
    for backend, many in (("cupy", True), ("cpu", False), ("numba-cuda", False)):
        with vp.use_backend(backend):
            assert ((_gpu.most_batch_bytes() or 0) >= 16 * (1 << 25)) == many
    assert _gpu.most_batch_bytes() == _gpu.DEVICE_BATCH_BYTES  # the stand-in might be chosen


def test_other_sums_do_not_go_there(problem):
    X, y, _ = problem
    with vp.use_backend("cupy"):
        expected = vp.TSQR.from_arrays(X, y).factor.tobytes()
    with machine() as one, _gpu.sharing_gpus():
        assert vp.TSQR.from_arrays(X, y).factor.tobytes() == expected
        assert one.log == []


def test_a_stream_shares_the_gpus(problem, tmp_path):
    X, y, weights = problem
    np.save(tmp_path / "X.npy", X)
    expected = bits_in_turn(problem)
    with machine(2, 5) as one:
        moments = vp.stream.co_moments(tmp_path / "X.npy", target=y, sample_weight=weights)
        assert bits(moments) == expected
    assert len({stream for what, stream in one.log if what == "launch"}) == 2
