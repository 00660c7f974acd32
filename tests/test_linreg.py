"""One gradient and one step of linear regression: one body for every backend, float64 as the yardstick."""

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.kernels import oracles
from tests.test_products import layouts, poisoned
from vecprod_gpu._dispatch import load

# (batch axes, n, d, targets or None, models that share one target or None)
SHAPES = [
    ((), 1, 1, None, None),
    ((), 13, 5, None, None),
    ((), 70, 3, 4, None),
    ((), 21, 6, None, 3),
    ((3,), 9, 4, None, None),
    ((2, 2), 8, 3, 2, None),
    ((3,), 7, 2, None, 5),
]


def draw(rng, lead, n, d, targets, models, dtype="float64"):
    """X, y, w and positive weights."""
    tail = () if targets is None else (targets,)
    kinds = tail or (() if models is None else (models,))
    arrays = (
        rng.standard_normal((*lead, n, d)),
        rng.standard_normal((*lead, n, *tail)),
        rng.standard_normal((*lead, d, *kinds)),
        rng.uniform(0.5, 2.0, (*lead, n)),
    )
    return tuple(array.astype(dtype) for array in arrays)


def expected(X, y, w, sample_weight=None, **how):
    """The oracle's answer in the callers' shapes."""
    lead, (n, d) = X.shape[:-2], X.shape[-2:]
    result, loss = oracles.linreg(
        X.reshape(-1, n, d),
        y.reshape(-1, n, y.shape[-1] if y.ndim == X.ndim else 1),
        w.reshape(-1, d, w.shape[-1] if w.ndim == X.ndim else 1),
        None if sample_weight is None else sample_weight.reshape(-1, n),
        **how,
    )
    return result.reshape(w.shape), loss.reshape(lead + w.shape[X.ndim - 1 :])


def assert_close(ours, exact, dtype):
    """Within the rounding of sums of at most 100 products of about 1, at a safety factor of 4."""
    tolerance = 400 * np.finfo(dtype).eps
    np.testing.assert_allclose(ours, exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
class TestShapes:
    def test_gradient_and_loss(self, backend, rng, shape, weighted):
        X, y, w, s = draw(rng, *shape)
        s = s if weighted else None
        gradient, loss = vp.linreg_gradient(X, y, w, l2=0.3, sample_weight=s, return_loss=True)
        exact, exact_loss = expected(X, y, w, s, l2=0.3)
        assert gradient.shape == w.shape
        assert loss.shape == exact_loss.shape
        assert_close(gradient, exact, np.float64)
        assert_close(loss, exact_loss, np.float64)

    def test_step(self, backend, rng, shape, weighted):
        X, y, w, s = draw(rng, *shape)
        s = s if weighted else None
        after = vp.linreg_step(X, y, w, 0.1, l1=0.5, l2=0.3, sample_weight=s)
        exact, _ = expected(X, y, w, s, l1=0.5, l2=0.3, learning_rate=0.1)
        assert_close(after, exact, np.float64)


class TestDtypes:
    @pytest.mark.parametrize(
        ("dtypes", "result"),
        [
            (("float32", "float32", "float32"), "float32"),
            (("float32", "float64", "float32"), "float64"),
            (("float64", "float32", "float32"), "float64"),
            (("float32", "int64", "float32"), "float64"),
            (("int64", "int8", "int32"), "float64"),
            (("bool", "float32", "float32"), "float64"),
        ],
    )
    def test_promotion(self, backend, rng, dtypes, result):
        X, y, w, _ = (10 * array for array in draw(rng, (), 17, 4, None, None))
        X, y, w = (array.astype(dtype) for array, dtype in zip((X, y, w), dtypes, strict=True))
        gradient = vp.linreg_gradient(X, y, w)
        assert gradient.dtype == result
        exact, _ = expected(X, y, w)
        scale = np.abs(exact).max()
        assert_close(gradient / scale, exact / scale, result)

    def test_float16_is_summed_in_float32(self, backend_or_default, rng):
        X, y, w, _ = draw(rng, (), 3000, 2, None, None, "float16")
        gradient = vp.linreg_gradient(X + np.float16(4), y, w)
        assert gradient.dtype == np.float16
        exact, _ = expected(X + np.float16(4), y, w)
        # One rounding to float16; sums in float16 would stop growing at 2048.
        np.testing.assert_allclose(gradient, exact, rtol=2 * np.finfo(np.float16).eps)

    @pytest.mark.parametrize("name", ["X", "y", "w", "sample_weight"])
    def test_complex_numbers_are_an_error(self, backend, name):
        arguments = {"X": np.ones((3, 2)), "y": np.ones(3), "w": np.ones(2), "sample_weight": np.ones(3)}
        arguments[name] = arguments[name] + 0j
        with pytest.raises(TypeError, match=f"{name} has dtype complex128"):
            vp.linreg_gradient(**arguments)


class TestLayouts:
    @pytest.mark.parametrize("layout", ["read-only", "fortran", "strided", "misaligned", "reversed"])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_give_the_same_bits(self, backend, rng, layout, dtype):
        X, y, w, s = draw(rng, (), 37, 5, None, None, dtype)
        odd = [layouts(array)[layout] for array in (X, y, w, s)]
        kept = [array.copy() for array in odd]
        plain = vp.linreg_gradient(X, y, w, sample_weight=s)
        assert vp.linreg_gradient(*odd[:3], sample_weight=odd[3]).tobytes() == plain.tobytes()
        for array, before in zip(odd, kept, strict=True):
            np.testing.assert_array_equal(array, before)

    def test_many_blocks_of_rows(self, host_backend, rng):
        X, y, w, s = draw(rng, (), 20_001, 3, None, None, "float32")
        exact, exact_loss = expected(X, y, w, s)
        gradient, loss = vp.linreg_gradient(X, y, w, sample_weight=s, return_loss=True)
        # float32 sums over blocks of 10,920 rows, float64 across them: measured 2e-7 of the largest.
        np.testing.assert_allclose(gradient, exact, rtol=0, atol=4e-6)
        np.testing.assert_allclose(loss, exact_loss, rtol=4e-6)


class TestMeaning:
    def test_integer_weights_repeat_rows(self, backend, rng):
        X, y, w, _ = draw(rng, (), 12, 3, None, None)
        times = rng.integers(0, 4, 12)
        weighted = vp.linreg_gradient(X, y, w, sample_weight=times)
        repeated = vp.linreg_gradient(np.repeat(X, times, 0), np.repeat(y, times), w)
        assert_close(weighted, repeated, np.float64)

    def test_gradient_is_the_slope_of_the_loss(self, backend, rng):
        X, y, w, s = draw(rng, (), 30, 3, None, None)
        step = 1e-6
        gradient = vp.linreg_gradient(X, y, w, l2=0.7, sample_weight=s)
        for j, unit in enumerate(np.eye(3)):
            ahead, behind = (
                vp.linreg_gradient(X, y, w + sign * step * unit, l2=0.7, sample_weight=s, return_loss=True)[1]
                for sign in (1, -1)
            )
            # Central differences of a quadratic are exact but for rounding: eps * loss / step is 1e-9.
            assert abs((ahead - behind) / (2 * step) - gradient[j]) < 1e-7

    def test_step_sets_small_coefficients_to_zero(self, backend, rng):
        X, y, w, _ = draw(rng, (), 30, 6, None, None)
        assert not vp.linreg_step(X, y, w, 0.1, l1=1e3).any()


class TestOut:
    def test_receives_the_gradient(self, backend, rng):
        X, y, w, _ = draw(rng, (), 11, 4, 2, None)
        for out in (poisoned(w.shape, np.float64), poisoned(w.shape[::-1], np.float32).T):
            assert vp.linreg_gradient(X, y, w, out=out) is out
            assert_close(out, expected(X, y, w)[0], out.dtype)

    def test_may_be_the_coefficients(self, backend, rng):
        X, y, w, _ = draw(rng, (), 11, 4, None, None)
        exact, _ = expected(X, y, w, l1=0.1, learning_rate=0.2)
        vp.linreg_step(X, y, w, 0.2, l1=0.1, out=w)
        assert_close(w, exact, np.float64)

    def test_wrong_shape(self, backend, rng):
        X, y, w, _ = draw(rng, (), 11, 4, None, None)
        with pytest.raises(ValueError, match=r"out has shape \(3,\); needed is \(4,\)"):
            vp.linreg_gradient(X, y, w, out=np.empty(3))


class TestErrors:
    @pytest.mark.parametrize(
        ("shapes", "words"),
        [
            (((3,), (3,), (1,)), "X has shape (3,); needed is (..., n, d)"),
            (((0, 2), (0,), (2,)), "X has shape (0, 2); it needs at least one row and one column"),
            (((3, 2), (4,), (2,)), "y has shape (4,); needed is (3,), one target for each row of X"),
            (((3, 2), (4, 2), (2, 2)), "y has shape (4, 2); needed is (3, 2)"),
            (((3, 2), (3,), (3,)), "w has shape (3,); needed is (2,)"),
            (((3, 2), (3, 4), (2,)), "w has shape (2,); needed is (2, 4)"),
            (((5, 3, 2), (5, 3), (2, 5)), "w has shape (2, 5); needed is (5, 2)"),
            (((3, 2), (3,), (2, 0)), "w has no columns"),
        ],
    )
    def test_shapes(self, backend, shapes, words):
        with pytest.raises(vp.errors.ShapeError) as raised:
            vp.linreg_gradient(*map(np.ones, shapes))
        assert words in str(raised.value)

    def test_weights_of_another_shape(self, backend):
        with pytest.raises(vp.errors.ShapeError, match=r"sample_weight has shape \(2,\); needed is \(3,\)"):
            vp.linreg_gradient(np.ones((3, 2)), np.ones(3), np.ones(2), sample_weight=np.ones(2))

    @pytest.mark.parametrize(
        ("how", "error", "words"),
        [
            ({"learning_rate": 0}, ValueError, "learning_rate must be finite and more than 0.0; it is 0"),
            ({"learning_rate": np.nan}, ValueError, "learning_rate must be finite"),
            ({"learning_rate": "fast"}, TypeError, "learning_rate must be a real number, not str"),
            ({"learning_rate": 0.1, "l1": -1}, ValueError, "l1 must be finite and at least 0.0; it is -1"),
            ({"learning_rate": 0.1, "l2": np.inf}, ValueError, "l2 must be finite and at least 0.0"),
        ],
    )
    def test_numbers(self, backend, how, error, words):
        with pytest.raises(error) as raised:
            vp.linreg_step(np.ones((3, 2)), np.ones(3), np.ones(2), **how)
        assert words in str(raised.value)


def test_a_batch_of_no_problems(backend):
    gradient, loss = vp.linreg_gradient(
        np.ones((0, 3, 2)), np.ones((0, 3)), np.ones((0, 2)), return_loss=True
    )
    assert gradient.shape == (0, 2)
    assert loss.shape == (0,)


def test_overflow_warns_on_the_host(host_backend):
    with pytest.warns(RuntimeWarning, match="overflow"):
        vp.linreg_gradient(np.full((9, 2), 1e300), np.zeros(9), np.full(2, 1e300))


def test_weights_that_add_up_to_nothing_spoil_their_own_problem_only(host_backend, rng):
    X, y, w, s = draw(rng, (2,), 5, 3, None, None)
    s[1] = 0
    with pytest.warns(RuntimeWarning, match="invalid"):
        gradient = vp.linreg_gradient(X, y, w, sample_weight=s)
    assert np.isfinite(gradient[0]).all()
    assert np.isnan(gradient[1]).all()


def test_longdouble_goes_to_numpy(rng):
    X, y, w, _ = draw(rng, (), 5, 3, None, None)
    for stored in (np.float16, np.longdouble):
        gradient = vp.linreg_gradient(X.astype(stored), y.astype(np.longdouble), w)
        assert gradient.dtype == np.longdouble
    fit = vp.linreg_fit(X.astype(np.longdouble), y, learning_rate=0.1, max_iter=2)
    assert fit.coef.dtype == np.longdouble


def test_byte_order_does_not_change_the_bits(host_backend, rng):
    X, y, w, _ = draw(rng, (), 20, 3, None, None)
    swapped = vp.linreg_gradient(X.astype(">f8"), y.astype(">f8"), w)
    assert swapped.dtype.isnative
    assert swapped.tobytes() == vp.linreg_gradient(X, y, w).tobytes()


@pytest.mark.parametrize("shape", [(1, 7, 3, 1), (2, 40, 5, 2), (1, 3000, 24, 1)])
@pytest.mark.parametrize("is_full", [False, True])
def test_many_steps_have_the_bits_of_single_ones(backend, rng, shape, is_full):
    problems, n, d, k = shape
    if backend == "numba-cuda":
        n = min(n, 20)  # the simulator takes seconds for more
    module = load(backend)
    X, y = rng.standard_normal((problems, n, d)), rng.standard_normal((problems, n, k))
    weights, offset = rng.random((problems, n)), rng.standard_normal((problems, d))
    inputs = [module.native(array) for array in (X, y)]
    optional = [module.native(array) if is_full else None for array in (weights, offset)]
    how = {"l1": 0.01, "l2": 0.1, "learning_rate": 0.05}
    start = rng.standard_normal((problems, d, k))
    w = module.native(start.copy())
    many, lost = (module.native(poisoned((3, *shape), np.float64)) for shape in (start.shape, (problems, k)))
    module.linreg_steps(*inputs, w, *optional, points=many, losses=lost, **how)
    many, lost = (np.asarray(module.export(array, "numpy")) for array in (many, lost))
    for t in range(3):
        out, loss = (module.native(poisoned(size, np.float64)) for size in (start.shape, (problems, k)))
        module.linreg_pass(*inputs, w, *optional, out=out, loss=loss, **how)
        np.testing.assert_array_equal(many[t], module.export(out, "numpy"))
        np.testing.assert_array_equal(lost[t], module.export(loss, "numpy"))
        w = out


@pytest.mark.parametrize("function", [vp.linreg_gradient, lambda X, y, w: vp.linreg_step(X, y, w, 0.1)])
def test_coefficients_are_needed(function):
    with pytest.raises(vp.errors.DTypeError, match="w is None; needed are the coefficients"):
        function(np.ones((3, 2)), np.ones(3), None)
