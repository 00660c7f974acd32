"""Calls on CuPy arrays that are repeated from a recording: bits, errors and aliasing as the long way's."""

import sys
import threading
import types

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.conftest import REAL_GPU
from vecprod_gpu import _dispatch
from vecprod_gpu.backends import cupy_raw
from vecprod_gpu.backends._device import recordings


@pytest.fixture
def cupy(monkeypatch):
    """CuPy, or its stand-in with what recordings ask of it; nothing is remembered of other tests."""
    import cupy

    if not REAL_GPU:
        _complete(cupy, monkeypatch)
    recordings.RECORDINGS.clear()
    yield cupy
    recordings.RECORDINGS.clear()


def _complete(cupy, monkeypatch):
    class Boxed:
        def __init__(self, array):
            self.value = array[()]

    turn, bare = threading.Lock(), cupy.RawKernel.kernel

    def kernel(self, grid, block, args, *rest, **how):
        with turn:
            bare(self, grid, block, [getattr(arg, "value", arg) for arg in args], *rest, **how)

    memory = property(lambda array: types.SimpleNamespace(ptr=array.ctypes.data, device_id=0))
    monkeypatch.setattr(cupy.ndarray, "data", memory)
    monkeypatch.setattr(
        cupy.ndarray, "_c_contiguous", property(lambda array: array.flags.c_contiguous), raising=False
    )
    monkeypatch.setattr(cupy.RawKernel, "kernel", kernel)
    module = types.SimpleNamespace(CNumpyArray=Boxed)
    monkeypatch.setitem(sys.modules, "cupy.cuda.function", module)


@pytest.fixture
def no_long_way(monkeypatch):
    """Call it, and from then on the long way is an error."""

    def fail(*_):
        raise AssertionError("the call went the long way")

    return lambda: monkeypatch.setattr(_dispatch, "choose", fail)


def remembered(cupy):
    """How many looks there are."""
    return len(recordings.recordings_of(cupy.ndarray)._by_look)


def problem(rng, dtype):
    """X, y, w, sample_weight."""
    return [rng.normal(size=shape).astype(dtype) for shape in ((50, 6), (50,), (6,))] + [
        rng.uniform(1, 2, size=50).astype(dtype)
    ]


CALLS = {
    "cross": (lambda a, b, out: vp.cross(a, b, out=out), [(9, 3), (9, 3)], (9, 3)),
    "cross, broadcast": (lambda a, b, out: vp.cross(a, b, out=out), [(2, 9, 3), (9, 3)], (2, 9, 3)),
    "cross, axis": (lambda a, b, out: vp.cross(a, b, axisa=0, axisb=0, out=out), [(3, 9), (3, 9)], (9, 3)),
    "outer": (lambda a, b, out: vp.outer(a, b, out), [(5,), (2, 4)], (5, 8)),
    "batched_outer": (lambda a, b, out: vp.batched_outer(a, b, out=out), [(7, 5), (7, 4)], (7, 5, 4)),
    "batched_outer, alpha": (
        lambda a, b, out: vp.batched_outer(a, b, alpha=0.3, out=out),
        [(7, 5), (7, 4)],
        (7, 5, 4),
    ),
    "gradient": (lambda X, y, w, out: vp.linreg_gradient(X, y, w, out=out), [(50, 6), (50,), (6,)], (6,)),
    "gradient, models": (
        lambda X, y, w, out: vp.linreg_gradient(X, y, w, l2=0.5, out=out),
        [(2, 50, 6), (2, 50), (2, 6, 3)],
        (2, 6, 3),
    ),
    "gradient, weights": (
        lambda X, y, w, s, out: vp.linreg_gradient(X, y, w, sample_weight=s * s, out=out),
        [(50, 6), (50,), (6,), (50,)],
        (6,),
    ),
    "step": (
        lambda X, y, w, out: vp.linreg_step(X, y, w, 0.1, l1=0.01, l2=0.5, out=out),
        [(50, 6), (50,), (6,)],
        (6,),
    ),
}


@pytest.fixture(params=CALLS)
def call(request):
    """A function of arrays and out, the shapes of its arrays, and that of out."""
    return CALLS[request.param]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("given", [False, True], ids=["fresh", "out"])
def test_the_second_call_repeats_the_first_on_its_own_arrays(call, given, dtype, cupy, rng, no_long_way):
    function, shapes, out_shape = call
    first, second = ([rng.normal(size=shape).astype(dtype) for shape in shapes] for _ in range(2))
    expected = function(*second, np.empty(out_shape, dtype))
    on_device = [cupy.asarray(array) for array in second]
    by_long_way = function(*on_device, cupy.empty(out_shape[::-1], dtype).T if given else None)
    recordings.RECORDINGS.clear()

    kept = [cupy.asarray(array) for array in first]
    function(*kept, cupy.empty(out_shape, dtype) if given else None)
    assert remembered(cupy) == 1
    no_long_way()
    out = cupy.asarray(np.full(out_shape, np.nan, dtype)) if given else None
    result = function(*on_device, out)

    assert (result is out) == given
    assert type(result) is cupy.ndarray
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(result.get(), by_long_way.get())
    tolerance = 200 * np.finfo(dtype).eps
    np.testing.assert_allclose(result.get(), expected, rtol=tolerance, atol=tolerance)
    for array, host in zip([*kept, *on_device], [*first, *second], strict=True):
        np.testing.assert_array_equal(array.get(), host)


def test_each_call_has_its_own_memory(cupy, rng):
    a = cupy.asarray(rng.normal(size=(9, 3)))
    one, two, three = vp.cross(a, a + 1), vp.cross(a, a + 2), vp.cross(a, a + 3)
    for result, by in ((one, 1), (two, 2), (three, 3)):
        np.testing.assert_allclose(result.get(), np.cross(a.get(), a.get() + by), atol=1e-14)


class TestAliases:
    @pytest.mark.parametrize("place", [0, 1])
    def test_out_is_an_input(self, place, cupy, rng, no_long_way):
        host = rng.normal(size=(2, 9, 3))
        for _ in range(2):
            pair = [cupy.asarray(one) for one in host]
            assert vp.cross(*pair, out=pair[place]) is pair[place]
            np.testing.assert_array_equal(pair[place].get(), np.cross(*host))
            np.testing.assert_array_equal(pair[1 - place].get(), host[1 - place])
            no_long_way()

    def test_descent_in_place(self, cupy, rng, no_long_way):
        X, y, w, _ = problem(rng, np.float64)
        device = [cupy.asarray(array) for array in (X, y, w)]
        for _ in range(3):
            w = w - 0.1 * X.T @ (X @ w - y) / len(y)
            assert vp.linreg_step(*device, 0.1, out=device[2]) is device[2]
            np.testing.assert_allclose(device[2].get(), w, rtol=1e-12)
            no_long_way()

    @pytest.mark.parametrize("first", ["apart", "in place", "overlapping"])
    @pytest.mark.parametrize("shift", [-1, 1])
    def test_out_overlaps_an_input(self, first, shift, cupy, rng):
        values = rng.normal(size=(12, 3))
        b = cupy.asarray(values[:9])

        def call(way):
            memory = cupy.asarray(values)
            a = memory[1:10]
            shifted = memory[1 + shift : 10 + shift]
            out = {"apart": cupy.empty((9, 3)), "in place": a, "overlapping": shifted}[way]
            return vp.cross(a, b, out=out).get()

        for way in (first, "overlapping", "apart", "in place"):
            np.testing.assert_array_equal(call(way), np.cross(values[1:10], values[:9]))

    @pytest.mark.parametrize("shift", [-1, 1])
    def test_out_overlaps_the_second_input(self, shift, cupy, rng):
        values = rng.normal(size=(402, 3))
        a = cupy.asarray(values[:400])
        vp.cross(a, a + 1, out=cupy.empty((400, 3)))
        memory = cupy.asarray(values)
        out = memory[1 + shift : 401 + shift]
        vp.cross(a, memory[1:401], out=out)
        np.testing.assert_array_equal(out.get(), np.cross(values[:400], values[1:401]))

    def test_the_gradient_overlaps_the_targets(self, cupy, rng):
        X, y, w, _ = problem(rng, np.float64)
        device = [cupy.asarray(array) for array in (X, y, w)]
        expected = vp.linreg_gradient(*device, out=cupy.empty(6)).get()
        for start in (0, 1, 44):
            targets = cupy.asarray(y)
            out = targets[start : start + 6]
            vp.linreg_gradient(device[0], targets, device[2], out=out)
            np.testing.assert_array_equal(out.get(), expected)

    def test_out_is_a_view_of_an_input_and_then_apart(self, cupy, rng):
        a, b = rng.normal(size=(2, 9, 3))
        x, y = cupy.asarray(a), cupy.asarray(b)
        vp.cross(x, y, out=x[:])
        np.testing.assert_array_equal(x.get(), np.cross(a, b))
        result = vp.cross(cupy.asarray(a), y, out=cupy.empty((9, 3)))
        np.testing.assert_array_equal(result.get(), np.cross(a, b))

    def test_one_input_given_twice_and_then_two(self, cupy, rng, no_long_way):
        a, b = rng.normal(size=(2, 7, 4))
        x, y = cupy.asarray(a), cupy.asarray(b)
        vp.batched_outer(x, x)
        vp.batched_outer(x, y)
        no_long_way()
        np.testing.assert_array_equal(vp.batched_outer(y, y).get(), b[:, :, None] * b[:, None, :])
        np.testing.assert_array_equal(vp.batched_outer(y, x).get(), b[:, :, None] * a[:, None, :])

    def test_a_regression_with_one_input_given_twice_and_then_two(self, cupy, rng):
        X, y, w, s = problem(rng, np.float64)
        device = [cupy.asarray(array) for array in (X, s, w)]
        vp.linreg_gradient(*device, sample_weight=device[1])
        gradient = vp.linreg_gradient(device[0], cupy.asarray(y), device[2], sample_weight=device[1])
        np.testing.assert_allclose(gradient.get(), X.T @ (s * (X @ w - y)) / s.sum(), rtol=1e-11)

    def test_inputs_at_one_address_are_not_confused(self, cupy, rng):
        a, b = rng.normal(size=(2, 7, 4))
        x, y = cupy.asarray(a), cupy.asarray(b)
        vp.batched_outer(x, x[:])
        assert remembered(cupy) == 0
        np.testing.assert_array_equal(vp.batched_outer(x, y).get(), a[:, :, None] * b[:, None, :])

    def test_inputs_that_overlap_at_the_second_call(self, cupy, rng):
        values = rng.normal(size=(12, 3))
        memory = cupy.asarray(values)
        vp.cross(cupy.asarray(values[:9]), cupy.asarray(values[3:]))
        np.testing.assert_array_equal(
            vp.cross(memory[:9], memory[3:]).get(), np.cross(values[:9], values[3:])
        )


class TestLooks:
    def test_strides(self, cupy, rng):
        a = rng.normal(size=(9, 6))
        b = cupy.asarray(a[:, :3])
        for part in (np.s_[:, :3], np.s_[:, ::2], np.s_[:, 1:4], np.s_[::-1, 3:]):
            device = cupy.asarray(a)[part]
            for _ in range(2):
                np.testing.assert_array_equal(vp.cross(device, b).get(), np.cross(a[part], a[:, :3]))

    @pytest.mark.parametrize("dtype", ["i4", "i8", "f4", "f8", "c8"])
    def test_dtypes(self, dtype, cupy, rng):
        a = rng.integers(-9, 9, size=(2, 7, 4))
        for one in (dtype, "f8", dtype):
            x, y = a.astype(one)
            np.testing.assert_array_equal(
                vp.batched_outer(cupy.asarray(x), cupy.asarray(y)).get(), x[:, :, None] * y[:, None, :]
            )

    def test_options_that_are_equal_but_not_the_same(self, cupy):
        a, b = cupy.asarray(np.ones((2, 3))), cupy.asarray(np.ones((2, 3)))
        assert not np.signbit(vp.batched_outer(a, b, alpha=0.0).get()).any()
        assert np.signbit(vp.batched_outer(a, b, alpha=-0.0).get()).all()
        vp.batched_outer(a, b, alpha=1)
        vp.batched_outer(a, b, alpha=1.0)
        with pytest.raises(vp.errors.DTypeError, match="alpha must be a number, not bool"):
            vp.batched_outer(a, b, alpha=True)
        vp.cross(a, b, axis=1)
        with pytest.raises(TypeError):
            vp.cross(a, b, axis=1.0)

    @pytest.mark.parametrize("option", [np.array(0.5), np.float32(0.5), np.float64(0.5)])
    def test_options_of_other_types(self, option, cupy, rng):
        arrays = problem(rng, np.float64)[:3]
        expected = vp.linreg_gradient(*arrays, l2=0.5)
        for _ in range(2):
            gradient = vp.linreg_gradient(*map(cupy.asarray, arrays), l2=option)
            np.testing.assert_allclose(gradient.get(), expected, rtol=1e-12)

    def test_beta_reads_out(self, cupy, rng, no_long_way):
        a, b = rng.normal(size=(2, 7, 4))
        for start in (1.0, 2.0):
            out = cupy.asarray(np.full((7, 4, 4), start))
            vp.batched_outer(cupy.asarray(a), cupy.asarray(b), beta=0.5, out=out)
            np.testing.assert_array_equal(out.get(), a[:, :, None] * b[:, None, :] + 0.5 * start)
            no_long_way()

    def test_another_device(self, cupy, monkeypatch, no_long_way):
        a = cupy.asarray(np.ones((2, 3)))
        vp.cross(a, a)
        here = cupy.cuda.runtime.getDevice()
        monkeypatch.setattr(recordings.recordings_of(cupy.ndarray), "_current_device", lambda: here + 1)
        no_long_way()
        with pytest.raises(AssertionError, match="long way"):
            vp.cross(a, a)

    def test_only_so_many_are_remembered(self, cupy, monkeypatch):
        monkeypatch.setattr(recordings, "MOST_RECORDINGS", 3)
        for count in range(1, 9):
            a = cupy.asarray(np.full((count, 3), float(count)))
            np.testing.assert_array_equal(vp.cross(a, a).get(), np.zeros((count, 3)))
            assert 1 <= remembered(cupy) <= 3


class TestTheLongWay:
    """What no recording may change."""

    def test_errors(self, cupy):
        a, b = cupy.asarray(np.ones((4, 3))), cupy.asarray(np.ones((4, 3)))
        vp.cross(a, b)
        vp.cross(a, b, out=cupy.empty((4, 3)))
        with pytest.raises(vp.errors.ShapeError, match=r"do not broadcast: \(4,\) and \(2,\)"):
            vp.cross(a, b[:2])
        with pytest.raises(vp.errors.ShapeError, match="out has shape"):
            vp.cross(a, b, out=cupy.empty((3, 4)))
        with pytest.raises(vp.errors.DTypeError, match="out has dtype int64"):
            vp.cross(a, b, out=cupy.empty((4, 3), np.int64))
        with pytest.raises(vp.errors.DeviceError, match="b is a host array"):
            vp.cross(a, np.ones((4, 3)))
        with pytest.raises(vp.errors.DeviceError, match="out is a host array"):
            vp.cross(a, b, out=np.ones((4, 3)))

    def test_what_another_backend_does_is_not_remembered(self, cupy):
        """The Numba backend takes CuPy's arrays, and tells nobody of its launches."""
        a, b, out = (cupy.asarray(np.ones((4, 3))) for _ in range(3))
        calls = []

        def way(*arrays):
            calls.append(arrays)
            return out

        for _ in range(2):
            assert recordings.recordings_of(cupy.ndarray).of_pair(way, None, a, b, out) is out
        assert len(calls) == 2
        assert remembered(cupy) == 0

    def test_errors_are_not_remembered(self, cupy):
        a = cupy.asarray(np.ones((4, 3)))
        for _ in range(2):
            with pytest.raises(vp.errors.ShapeError):
                vp.cross(a, a[:2])
            with pytest.raises(vp.errors.ArgumentError, match="l2 must be"):
                vp.linreg_gradient(a, a[:, 0], a[0], l2=-1.0)
        assert remembered(cupy) == 0

    def test_explain_and_use_backend(self, cupy):
        a = cupy.asarray(np.ones((4, 3)))
        vp.cross(a, a)
        assert vp.explain(vp.cross, a, a).backend == "cupy"
        with vp.use_backend("cupy"):
            assert vp.explain(vp.cross, a, a).reason == "use_backend asked for it"
            vp.cross(a, a)
        with vp.use_backend("reference"), pytest.raises(vp.errors.DeviceError, match="asked for reference"):
            vp.cross(a, a)

    def test_copies(self, cupy, rng):
        a, b = (cupy.asarray(rng.normal(size=(4, 3))) for _ in range(2))
        out = cupy.empty((4, 6))[:, ::2]
        for _ in range(2):
            vp.cross(a, b, out=out)
            np.testing.assert_array_equal(out.get(), np.cross(a.get(), b.get()))
        mixed = vp.batched_outer(a, b.astype(np.float32))
        assert mixed.dtype == np.float64
        assert remembered(cupy) == 0

    def test_an_empty_batch(self, cupy):
        for _ in range(2):
            empty = cupy.empty((0, 3))
            assert vp.cross(empty, empty).shape == (0, 3)
            assert vp.batched_outer(empty, cupy.empty((0, 2))).shape == (0, 3, 2)

    def test_a_loss(self, cupy, rng):
        X, y, w, s = problem(rng, np.float32)
        expected, expected_loss = vp.linreg_gradient(X, y, w, sample_weight=s, return_loss=True)
        device = [cupy.asarray(array) for array in (X, y, w, s)]
        for _ in range(2):
            gradient, loss = vp.linreg_gradient(*device[:3], sample_weight=device[3], return_loss=True)
            np.testing.assert_allclose(gradient.get(), expected, rtol=1e-4)
            np.testing.assert_allclose(loss.get(), expected_loss, rtol=1e-5)
            assert (loss.shape, loss.dtype) == ((), np.float32)

    def test_a_cupy_without_the_parts_that_recordings_ask_for(self, cupy, monkeypatch):
        monkeypatch.setitem(sys.modules, "cupy.cuda.function", types.SimpleNamespace())
        assert recordings.recordings_of(cupy.ndarray) is None
        a = cupy.asarray(np.eye(3))
        np.testing.assert_array_equal(vp.cross(a, a[::-1]).get(), np.cross(np.eye(3), np.eye(3)[::-1]))

    @pytest.mark.parametrize("kind", [np.ndarray, list, float])
    def test_host_arrays(self, kind, cupy):
        assert recordings.recordings_of(kind) is None


class TestNotes:
    """What no public call does today, and a recording must not take for what it can repeat."""

    @pytest.mark.parametrize(
        "way",
        [
            lambda a, out: a[:2],
            lambda a, out: a[:],
            lambda a, out: cupy_raw.empty((4, 3), np.float64)[:2],
            lambda a, out: cupy_raw.empty((4, 3), np.float64).T,
            lambda a, out: a + 1,
        ],
        ids=["part of an input", "view of an input", "part of new memory", "transposed", "unseen memory"],
    )
    def test_what_is_not_repeated(self, way, cupy):
        a = cupy.asarray(np.ones((4, 3)))
        recordings.recordings_of(cupy.ndarray).of_call(way, None, (a, None), ())
        assert remembered(cupy) == 0

    def test_belong_to_one_thread_and_end_with_its_call(self, cupy):
        seen = []

        def way(a, out):
            thread = threading.Thread(target=lambda: seen.append(recordings.recorder()))
            thread.start()
            thread.join()
            seen.append(recordings.recorder())
            raise KeyError

        with pytest.raises(KeyError):
            recordings.recordings_of(cupy.ndarray).of_call(way, None, (cupy.asarray(np.ones(3)), None), ())
        seen.append(recordings.recorder())
        assert [notes is None for notes in seen] == [True, False, True]


def test_many_threads_at_once(cupy, rng):
    a, b = rng.normal(size=(2, 40, 3))
    wrong = []

    def work(count):
        for length in range(1, 20):
            x, y = cupy.asarray(a[: count * length]), cupy.asarray(b[: count * length])
            if not np.array_equal(vp.cross(x, y).get(), np.cross(a[: count * length], b[: count * length])):
                wrong.append(length)

    threads = [threading.Thread(target=work, args=(count,)) for count in (1, 1, 2, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
