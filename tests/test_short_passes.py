"""Gradients and steps of small host arrays go a short way, which must not be told from the long one."""

import ml_dtypes
import numpy as np
import pytest

import vecprod_gpu as vp
from vecprod_gpu import _dispatch
from vecprod_gpu.errors import ArgumentError, DTypeError, ShapeError
from vecprod_gpu.linreg import _short, steps

CALLS = {
    "gradient": lambda X, y, w, **how: vp.linreg_gradient(X, y, w, l2=0.5, **how),
    "step": lambda X, y, w, **how: vp.linreg_step(X, y, w, 0.1, l1=0.01, l2=0.5, **how),
}
SHAPES = [
    ((8, 4), (8,), (4,)),
    ((8, 4), (8, 3), (4, 3)),
    ((8, 4), (8,), (4, 2)),
    ((2, 3, 8, 4), (2, 3, 8), (2, 3, 4)),
    ((1, 1), (1,), (1,)),
    ((3000, 40), (3000,), (40,)),
]


@pytest.fixture(params=CALLS)
def call(request):
    return CALLS[request.param]


@pytest.fixture
def seen(monkeypatch):
    """The answers of the short way, None for a call that has to go the long one."""
    answers = []

    def watched(short):
        def watch(*its):
            answers.append(short(*its))
            return answers[-1]

        return watch

    for name in ("short_gradient", "short_step"):
        monkeypatch.setattr(steps, name, watched(getattr(_short, name)))
    return answers


def draw(shapes):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape) for shape in shapes]


def the_long_way(call, *arrays, **how):
    with vp.use_backend("cpu"):
        return call(*arrays, **how)


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("dtypes", ["ff", "dd", "fd"])
def test_the_bits_are_those_of_the_long_way(call, shapes, dtypes, seen):
    stored, summing = dtypes
    X, y, w = draw(shapes)
    arrays = X.astype(stored), y.astype(summing), w.astype(summing)
    result = call(*arrays)
    assert result is seen[0]
    expected = the_long_way(call, *arrays)
    assert seen[1] is None
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(result, expected)
    assert result.flags.writeable


@pytest.mark.parametrize("shapes", SHAPES)
def test_the_loss_is_that_of_the_long_way(shapes, seen):
    arrays = draw(shapes)
    gradient, loss = its = vp.linreg_gradient(*arrays, l2=0.5, return_loss=True)
    assert its is seen[0]
    with vp.use_backend("cpu"):
        expected = vp.linreg_gradient(*arrays, l2=0.5, return_loss=True)
    assert seen[1] is None
    assert (type(loss), np.shape(loss), loss.dtype) == (
        type(expected[1]),
        np.shape(expected[1]),
        expected[1].dtype,
    )
    np.testing.assert_array_equal(loss, expected[1])
    np.testing.assert_array_equal(gradient, expected[0])


@pytest.mark.parametrize("view", ["strided", "reversed", "Fortran"])
def test_any_layout_of_X_goes_it(call, view, seen):
    X, y, w = draw([(16, 8), (8,), (4,)])
    X = {"strided": X[::2, ::2], "reversed": X[7::-1, 3::-1], "Fortran": np.asfortranarray(X[:8, :4])}[view]
    np.testing.assert_array_equal(call(X, y, w), the_long_way(call, X.copy(), y, w))
    assert seen[0] is not None


def test_what_has_to_be_converted_goes_the_long_way(call, seen):
    X, y, w = draw(SHAPES[0])
    others = [
        (X, y.astype(np.float32), w),
        (X.astype(np.float16), y.astype(np.float16), w.astype(np.float16)),
        (X.astype(">f8"), y.astype(">f8"), w.astype(">f8")),
        (X.round().astype(int), y, w),
        (X, np.repeat(y, 2)[::2], w),
        (X.tolist(), y, w),
        (X.view(np.matrix), y, w),
    ]
    for arrays in others:
        call(*arrays)
    narrow = [array.astype(ml_dtypes.bfloat16) for array in (X, y, w)]
    assert call(*narrow).dtype == ml_dtypes.bfloat16
    assert all(answer is None for answer in seen[: len(others) + 1])


def test_a_backend_that_is_asked_for_takes_the_call(call, seen):
    arrays = draw(SHAPES[0])
    call(*arrays)
    assert _dispatch.latest.backend == "cpu"
    with vp.use_backend("reference"):
        call(*arrays)
        assert _dispatch.latest.backend == "reference"
    assert vp.explain(vp.linreg_gradient, *arrays).backend == "cpu"
    assert seen[1:] == [None, None]


class TestOut:
    def test_may_be_w(self, call, seen):
        X, y, w = draw(SHAPES[0])
        expected = the_long_way(call, X, y, w)
        assert call(X, y, w, out=w) is w is seen[1]
        np.testing.assert_array_equal(w, expected)

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_may_be_any_array_that_holds_the_result(self, call, dtype, seen):
        X, y, w = draw(SHAPES[1])
        out = np.full((6, 4), np.nan, dtype).T[:, ::2]
        assert call(X, y, w, out=out) is out is seen[0]
        np.testing.assert_array_equal(out, the_long_way(call, X, y, w).astype(dtype))

    def test_that_does_not_fit_is_refused_and_kept(self, call):
        arrays = draw(SHAPES[0])
        frozen = np.ones(4)
        frozen.setflags(write=False)
        for out, error, message in [
            (np.ones(5), ShapeError, r"out has shape \(5,\); needed is \(4,\)"),
            (np.ones(4, int), DTypeError, "out has dtype int64"),
            (frozen, ArgumentError, "out is read-only"),
            ([1.0] * 4, DTypeError, "out must be an array, not list"),
        ]:
            with pytest.raises(error, match=message):
                call(*arrays, out=out)
            assert set(np.ravel(out)) == {1}


@pytest.mark.parametrize(
    ("changed", "how"),
    [
        ({"y": np.ones(7)}, {}),
        ({"w": np.ones(5)}, {}),
        ({"X": np.ones(4)}, {}),
        ({}, {"l2": -1.0}),
        ({}, {"l2": np.nan}),
        ({}, {"l2": "1"}),
        ({"X": np.ones((8, 4), complex)}, {}),
    ],
)
def test_what_is_wrong_is_told_as_on_the_long_way(changed, how):
    arrays = dict(zip("Xyw", draw(SHAPES[0]), strict=True)) | changed
    for function, more in [(vp.linreg_gradient, {}), (vp.linreg_step, {"learning_rate": 0.1})]:
        with pytest.raises((ValueError, TypeError)) as short:
            function(**arrays, **more, **how)
        with vp.use_backend("cpu"), pytest.raises(type(short.value)) as long:
            function(**arrays, **more, **how)
        assert str(short.value) == str(long.value)


@pytest.mark.parametrize("learning_rate", [0.0, -1.0, np.inf, np.nan])
def test_a_learning_rate_is_positive_and_finite(learning_rate):
    with pytest.raises(ArgumentError, match="learning_rate must be finite and more than 0"):
        vp.linreg_step(*draw(SHAPES[0]), learning_rate)


def test_numbers_of_numpy_are_taken(seen):
    X, y, w = draw(SHAPES[0])
    expected = vp.linreg_step(X, y, w, 0.1, l1=0.2, l2=1.0)
    np.testing.assert_array_equal(
        vp.linreg_step(X, y, w, np.float64(0.1), l1=np.float64(0.2), l2=np.float64(1)), expected
    )
    np.testing.assert_array_equal(vp.linreg_step(X, y, w, 0.1, l1=0.2, l2=1), expected)
    assert [answer is None for answer in seen] == [False, False, True]


def test_overflow_is_told_by_the_state_of_numpy(call):
    X, y, w = (np.full(shape, 1e200) for shape in SHAPES[0])
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
        call(X, y, w)
    with np.errstate(all="ignore"):
        assert not np.isfinite(call(X, y, w)).all()
