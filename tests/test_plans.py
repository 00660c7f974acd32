"""Calls whose arrays look alike share a plan: it must hold nothing of one call that is not so of the next."""

import gc
import itertools
import threading
import weakref

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.test_linreg import SHAPES, assert_close, draw, expected
from vecprod_gpu.backends._cpu.linreg import passes
from vecprod_gpu.errors import ArgumentError, DTypeError, ShapeError
from vecprod_gpu.linreg import _plan


@pytest.fixture(autouse=True)
def no_plans():
    """Nothing is remembered of other tests."""
    _plan.plan_of.cache_clear()


def strided(array):
    """The same numbers with a gap after each."""
    return np.repeat(array, 2, axis=-1)[..., ::2]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS = (np.ascontiguousarray, np.asfortranarray, strided, read_only, np.ndarray.tolist)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_shape_in_all_layouts_with_and_without_weights(rng, shape):
    for layout, is_weighted in itertools.product(LAYOUTS, (True, False, True)):
        X, y, w, s = draw(rng, *shape)
        weights = {"sample_weight": s} if is_weighted else {}
        exact, exact_loss = expected(X, y, w, **weights)
        laid = {name: layout(array) for name, array in weights.items()}
        gradient, loss = vp.linreg_gradient(layout(X), layout(y), layout(w), return_loss=True, **laid)
        assert_close(gradient, exact, np.float64)
        assert_close(loss, exact_loss, np.float64)


def test_one_shape_in_all_dtypes(rng):
    arrays = [np.round(4 * array) for array in draw(rng, (), 13, 5, None, None)[:3]]
    exact, _ = expected(*arrays)
    for dtypes in itertools.product(("e", "f", "d", ">d", ">f", "i"), repeat=3):
        given = [array.astype(dtype) for array, dtype in zip(arrays, dtypes, strict=True)]
        gradient = vp.linreg_gradient(*given)
        result = np.result_type(*("d" if char == "i" else char for char in dtypes))
        assert (gradient.dtype, gradient.dtype.isnative) == (result, True)
        assert_close(gradient, exact, result)


def test_a_vector_and_a_column_of_coefficients(backend, rng):
    X, y, w, _ = draw(rng, (), 13, 5, None, None)
    for _ in range(2):
        assert vp.linreg_gradient(X, y, w).shape == (5,)
        assert vp.linreg_gradient(X, y, w[:, np.newaxis]).shape == (5, 1)
        assert vp.linreg_gradient(X[np.newaxis], y[np.newaxis], w[np.newaxis]).shape == (1, 5)


def test_what_the_surroundings_ask_for_is_asked_each_time(rng):
    X, y, w, _ = draw(rng, (), 13, 5, None, None)
    for name in ("cpu", "reference", "cpu"):
        with vp.use_backend(name):
            assert vp.explain(vp.linreg_gradient, X, y, w).backend == name
            vp.linreg_gradient(X, y, w)
        assert vp._dispatch.latest.backend == name
    assert vp.explain(vp.linreg_gradient, X, y, w).reason != "use_backend asked for it"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"y": np.ones(4)},
            ShapeError,
            r"y has shape \(4,\); needed is \(3,\), one target for each row of X",
        ),
        ({"w": np.ones(4)}, ShapeError, r"w has shape \(4,\); needed is \(2,\), a coefficient for each"),
        (
            {"sample_weight": np.ones((3, 1))},
            ShapeError,
            r"sample_weight has shape \(3, 1\); needed is \(3,\)",
        ),
        ({"X": np.ones((3, 2), complex)}, DTypeError, "X has dtype complex128; linear regression takes real"),
        ({"w": np.array(["a", "b"])}, DTypeError, "w has dtype <U1; linear regression takes real numbers"),
        ({"out": np.ones(3)}, ShapeError, r"out has shape \(3,\); needed is \(2,\)"),
        ({"out": np.ones(2, int)}, DTypeError, "out has dtype int64, which cannot hold a result of float64"),
        ({"out": read_only(np.ones(2))}, ArgumentError, "out is read-only"),
        ({"l2": -1.0}, ArgumentError, "l2 must be finite and at least 0.0; it is -1.0"),
    ],
)
def test_errors_come_each_time_and_leave_the_good_calls_alone(change, error, message):
    good = {"X": np.ones((3, 2)), "y": np.ones(3), "w": np.ones(2)}
    for _ in range(2):
        np.testing.assert_array_equal(vp.linreg_gradient(**good), [1.0, 1.0])
        with pytest.raises(error, match=message):
            vp.linreg_gradient(**(good | change))


def test_a_plan_keeps_no_array(rng):
    arrays = draw(rng, (), 13, 5, None, None)
    views = [weakref.ref(array) for array in arrays]
    vp.linreg_gradient(*arrays[:3], sample_weight=arrays[3])
    assert _plan.plan_of.cache_info().currsize == 1
    del arrays
    gc.collect()
    assert [view() for view in views] == [None] * 4


def test_only_so_many_are_remembered():
    for n in range(1, _plan.MOST_PLANS + 10):
        _plan.plan_of(((n, 2), np.dtype("d")), ((n,), np.dtype("d")), (None, None), (None, None))
    assert _plan.plan_of.cache_info().currsize == _plan.MOST_PLANS


def test_many_threads_at_once(rng):
    problems = [draw(rng, *shape) for shape in SHAPES]
    exact = [expected(*problem[:3])[0] for problem in problems]
    wrong = []

    def work(turn):
        for i in (turn + np.arange(40)) % len(problems):
            gradient = vp.linreg_gradient(*problems[i][:3])
            if gradient.shape != exact[i].shape or not np.allclose(gradient, exact[i], rtol=1e-12):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("columns", [4, 8, 17])
def test_a_pass_in_one_call_has_the_bits_of_one_on_threads(rng, columns, monkeypatch):
    X, y, w, s = draw(rng, (2,), 500, columns, None, 2)
    how = {"l2": 0.5, "sample_weight": s, "return_loss": True}
    with vp.use_backend("cpu"):
        at_once = vp.linreg_gradient(X, y, w, **how), vp.linreg_step(X, y, w, 0.1, l1=0.2)
        monkeypatch.setattr(passes, "SERIAL_ELEMENTS", 0)
        on_threads = vp.linreg_gradient(X, y, w, **how), vp.linreg_step(X, y, w, 0.1, l1=0.2)
    for ours, theirs in zip((*at_once[0], at_once[1]), (*on_threads[0], on_threads[1]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
