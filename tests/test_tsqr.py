"""TSQR: a triangular factor that is updated, merged and saved, and least squares from it."""

from fractions import Fraction

import numpy as np
import pytest

import vecprod_gpu as vp
from tests import longley
from tests.test_device_arrays import as_cupy, as_numba
from tests.workers import run_python
from vecprod_gpu import TSQR
from vecprod_gpu.linreg import tsqr
from vecprod_gpu.linreg._streaming import streamed

# A few roundings of a sum of some hundred terms, each relative to the norm of its column.
RTOL = 1e-13


def exact_fit(X, y, weights=None, fit_intercept=True):
    """Coefficients in rational numbers, from the normal equations; the intercept last, 0 without one."""
    weights = np.ones(len(X)) if weights is None else weights
    rows = [[Fraction(float(x)) for x in row] + [Fraction(1)] * fit_intercept for row in X]
    size = len(rows[0])
    full = [[*row, Fraction(float(target))] for row, target in zip(rows, y, strict=True)]
    equations = [
        [
            sum(Fraction(float(s)) * row[i] * row[j] for s, row in zip(weights, full, strict=True))
            for j in range(size + 1)
        ]
        for i in range(size)
    ]
    for i in range(size):
        for k in range(size):
            if k != i:
                ratio = equations[k][i] / equations[i][i]
                equations[k] = [p - ratio * q for p, q in zip(equations[k], equations[i], strict=True)]
    solution = [float(equations[i][size] / equations[i][i]) for i in range(size)]
    return np.array(solution if fit_intercept else [*solution, 0.0])


def coefficients(data, l2=0.0, fit_intercept=True):
    """Coefficients of the one problem and its one target, the intercept last."""
    solution = data.solve(l2, fit_intercept)
    return np.append(solution.coef[0, :, 0], solution.intercept[0, 0])


def assert_same_bits(ours, theirs):
    a, b = ours.summary, theirs.summary
    for name in ("total", "origin", "triangle"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def assert_same_to_rounding(ours, theirs, rtol=RTOL):
    """The factor's rows have any sign, and rows that are zero but for rounding any direction: RᵀR has not."""
    np.testing.assert_allclose(ours.weight_sum, theirs.weight_sum, rtol=rtol)
    np.testing.assert_allclose(ours.mean, theirs.mean, rtol=rtol, atol=rtol)
    a, b = (one.factor.mT @ one.factor for one in (ours, theirs))
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * abs(b).max())


@pytest.fixture
def small_blocks(monkeypatch):
    """Segments and blocks so small that trees of several levels arise from little data."""
    monkeypatch.setattr(streamed, "SEGMENT_BYTES", 1 << 12)
    monkeypatch.setattr(tsqr, "BLOCK_ELEMENTS", 32)


def random_rows(rng, lead=(), n=1000, d=3, models=()):
    X = rng.standard_normal((*lead, n, d)) + rng.integers(-9, 9, d)
    return X, rng.standard_normal((*lead, n, *models)), rng.random((*lead, n))


@pytest.mark.parametrize("n", [1, 2, 4, 5, 31, 1000, 5000])
@pytest.mark.parametrize("d", [1, 3, 70])
def test_the_factor_is_that_of_the_centred_rows(n, d, rng):
    X, y, _ = random_rows(rng, n=n, d=d)
    data = TSQR.from_arrays(X, y)
    Z = np.column_stack([X, y]).astype(np.longdouble)
    Z = (Z - Z.mean(axis=0)).astype(float)
    R = data.factor
    assert R.shape == (min(n, d + 2) - 1, d + 1)
    np.testing.assert_array_equal(R, np.triu(R))
    np.testing.assert_allclose(R.T @ R, Z.T @ Z, rtol=RTOL, atol=RTOL * n)
    np.testing.assert_allclose(data.mean, X.mean(axis=0), rtol=RTOL, atol=1e-14)
    np.testing.assert_allclose(data.y_mean, y.mean(), rtol=RTOL, atol=1e-14)
    assert (data.n_samples, data.weight_sum) == (n, n)


def test_small_numbers_are_exact():
    data = TSQR.from_arrays([[1, 2], [2, 3], [3, 5], [4, 9]], [2, 3, 4, 6])
    np.testing.assert_allclose(data.mean, [2.5, 4.75], rtol=1e-15)
    assert data.y_mean == pytest.approx(3.75, rel=1e-15)
    # y = 1 + x0 / 2 + x1 / 3 - ... is no plane: the coefficients are rational numbers of the normal equations
    expected = exact_fit([[1, 2], [2, 3], [3, 5], [4, 9]], [2, 3, 4, 6])
    np.testing.assert_allclose(coefficients(data), expected, rtol=1e-14)


@pytest.mark.parametrize("lead", [(), (1,), (7,), (2, 3), (0,), (300,)])
@pytest.mark.parametrize("models", [(), (1,), (3,)])
@pytest.mark.parametrize("weighted", [False, True])
def test_shapes_against_lstsq(lead, models, weighted, rng):
    X, y, s = random_rows(rng, lead, 20, 3, models)
    data = TSQR.from_arrays(X, y, s if weighted else None)
    assert data.mean.shape == (*lead, 3)
    assert np.shape(data.y_mean) == (*lead, *models)
    assert np.shape(data.weight_sum) == lead
    assert data.factor.shape == (
        *lead,
        min(20, 4 + len(models) * sum(models) + (not models)) - 1,
        3 + sum(models or (1,)),
    )
    solution = data.solve(0.0, True)
    problems, k = int(np.prod(lead)), sum(models or (1,))
    assert solution.coef.shape == (problems, 3, k)
    assert solution.rank.shape == (problems,)
    assert solution.singular.shape == (problems, 3)
    assert solution.residual.shape == (problems, k)
    X, y, s = X.reshape(problems, 20, 3), y.reshape(problems, 20, k), s.reshape(problems, 20)
    for i in range(problems):
        root = np.sqrt(s[i] if weighted else np.ones(20))[:, None]
        A, b = root * np.column_stack([X[i], np.ones(20)]), root * y[i]
        w, squares, _, _ = np.linalg.lstsq(A, b)
        np.testing.assert_allclose(solution.coef[i], w[:3], rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(solution.residual[i], squares, rtol=1e-12)


def test_weights_count_repeated_rows(rng):
    X, y, _ = random_rows(rng, n=200)
    repeats = rng.integers(0, 4, 200)
    ours = TSQR.from_arrays(X, y, repeats)
    theirs = TSQR.from_arrays(np.repeat(X, repeats, axis=0), np.repeat(y, repeats))
    assert ours.weight_sum == theirs.weight_sum
    assert_same_to_rounding(ours, theirs)
    np.testing.assert_allclose(coefficients(ours), coefficients(theirs), rtol=1e-12)
    np.testing.assert_allclose(ours.solve(0.0, True).residual, theirs.solve(0.0, True).residual, rtol=RTOL)


def test_rows_of_weight_0_do_not_count(rng, small_blocks):
    X, y, s = random_rows(rng, n=400)
    s[:250] = s[300:310] = 0
    X[:250] = 1e200  # would swallow everything else, were it the origin
    data, kept = TSQR.from_arrays(X, y, s), TSQR.from_arrays(X[s > 0], y[s > 0], s[s > 0])
    assert_same_to_rounding(data, kept)
    np.testing.assert_allclose(coefficients(data), coefficients(kept), rtol=1e-12)


def test_no_weight_at_all(rng):
    X, y, _ = random_rows(rng, (2,), 9)
    data = TSQR.from_arrays(X, y, [[0] * 9, [1] * 9])
    np.testing.assert_array_equal(data.weight_sum, [0, 9])
    np.testing.assert_array_equal(data.mean[0], 0)
    solution = data.solve(0.5, True)
    assert solution.rank.tolist() == [0, 3]
    assert not solution.coef[0].any()
    assert not solution.residual[0].any()


@pytest.mark.parametrize("chunk", [1, 7, 31, 32, 33, 100, 999])
@pytest.mark.parametrize("weighted", [False, True])
def test_chunks_cannot_be_seen(chunk, weighted, rng, small_blocks):
    X, y, s = random_rows(rng, (2,))
    s = s if weighted else None
    one, many = TSQR.from_arrays(X, y, s), TSQR()
    for start in range(0, 1000, chunk):
        rows = np.s_[:, start : start + chunk]
        many.update(X[rows].copy(), y[rows].copy(), None if s is None else s[rows].copy())
    assert_same_bits(one, many)


@pytest.mark.parametrize("part", ["TASK_BYTES", "SLAB_BYTES"])
def test_the_division_of_work_cannot_be_seen(part, rng, small_blocks, monkeypatch):
    X, y, s = random_rows(rng, (3,))
    one = TSQR.from_arrays(X, y, s)
    for size in (1, 1000, 10_000):
        monkeypatch.setattr(tsqr, part, size)
        assert_same_bits(TSQR.from_arrays(X, y, s), one)


def test_layouts_cannot_be_seen(rng, small_blocks):
    X, y, s = random_rows(rng, (2,), 500, 4)
    one = TSQR.from_arrays(X, y, s)
    wide = np.zeros((2, 500, 8))
    wide[:, :, ::2] = X
    raw = np.zeros(X.nbytes + 1, np.uint8)
    misaligned = raw[1:].view(float).reshape(X.shape)
    misaligned[...] = X
    for same in (
        np.asfortranarray(X),
        wide[:, :, ::2],
        X[:, ::-1].copy()[:, ::-1],
        misaligned,
        X.astype(">f8"),
    ):
        assert_same_bits(TSQR.from_arrays(same, y, s), one)
    assert_same_bits(TSQR.from_arrays(X, np.asfortranarray(y), np.asfortranarray(s)), one)
    assert_same_bits(
        TSQR.from_arrays(X, np.repeat(y, 2, axis=1)[:, ::2], np.repeat(s, 2, axis=1)[:, ::2]), one
    )


THREADS = """
import hashlib, numpy as np
from vecprod_gpu.linreg.tsqr import TSQR
rng = np.random.default_rng(0)
factor = TSQR.from_arrays(rng.random((40_000, 9)), rng.random(40_000)).summary.triangle
print(hashlib.sha256(factor.tobytes()).hexdigest())
"""


def test_threads_cannot_be_seen():
    ended = [
        run_python(THREADS, NUMBA_NUM_THREADS=ours, OPENBLAS_NUM_THREADS=theirs)
        for ours, theirs in (("1", "1"), ("3", "1"), ("2", "2"))
    ]
    assert all(one.returncode == 0 for one in ended), ended[0].stderr
    assert len({one.stdout for one in ended}) == 1


def test_merge(rng, small_blocks):
    X, y, s = random_rows(rng, (2,), 700)
    X += 1e6 * rng.standard_normal(3)
    whole = TSQR.from_arrays(X, y, s)
    parts = [TSQR.from_arrays(X[:, at], y[:, at], s[:, at]) for at in (np.s_[:2], np.s_[2:300], np.s_[300:])]
    before = [part.summary for part in parts]
    left = parts[0].merge(parts[1]).merge(parts[2])
    right = parts[0].merge(parts[1].merge(parts[2]))
    for merged in (left, right):
        assert merged.n_samples == 700
        assert_same_to_rounding(merged, whole, 1e-12)
    assert_same_to_rounding(TSQR().merge(whole), whole)
    assert all(part.summary is earlier for part, earlier in zip(parts, before, strict=True))
    with pytest.raises(vp.errors.ShapeError, match=r"other was read from X \(2, n, 3\) and no y"):
        whole.merge(TSQR.from_arrays(X))


@pytest.mark.parametrize("read", [0, 1, 3, 100, 640])
def test_a_saved_one_goes_on_with_the_same_bits(read, rng, small_blocks, tmp_path):
    X, y, s = random_rows(rng)
    data = TSQR()
    if read:
        data.update(X[:read], y[:read], s[:read])
    data.save(tmp_path / "data.npz")
    loaded = TSQR.load(tmp_path / "data.npz")
    for one in (data, loaded):
        one.update(X[read:], y[read:], s[read:])
    assert_same_bits(loaded, data)
    with pytest.raises(vp.errors.ArchiveError, match="vecprod-co-moments"):
        vp.CoMoments.load(tmp_path / "data.npz")


def test_archives_that_fit_nothing_are_refused(rng, small_blocks, tmp_path):
    file = tmp_path / "data.npz"
    X, y, s = random_rows(rng, (2,), 600)
    TSQR.from_arrays(X, y, s).save(file)
    with np.load(file) as archive:
        arrays = dict(archive)
    name = next(name for name in arrays if name.endswith(".triangle"))
    triangle, header = arrays[name], str(arrays["header"])
    for wrong in (
        {name: triangle[:, :0]},
        {name: triangle[..., 1:]},
        {name: triangle[:1]},
        {name: np.vstack([triangle, triangle])},
        {name: triangle[0]},
        {name: triangle.astype(np.float32)},
        {"header": np.array(header.replace('"d": 3', '"d": 4'))},
    ):
        np.savez(file, **{**arrays, **wrong})
        with pytest.raises(vp.errors.ArchiveError, match="cannot be loaded as vecprod-tsqr"):
            TSQR.load(file)


def test_collinear_columns_give_the_shortest_coefficients(rng):
    base = rng.standard_normal((300, 3))
    X = np.column_stack([base, base @ [1.0, 2.0, -1.0], base[:, 0]]) + 5
    y = rng.standard_normal(300)
    for fit_intercept in (True, False):
        solution = TSQR.from_arrays(X, y).solve(0.0, fit_intercept)
        A, b = (X - X.mean(axis=0), y - y.mean()) if fit_intercept else (X, y)
        w, _, rank, singular = np.linalg.lstsq(A, b, rcond=1e-12)
        assert solution.rank.tolist() == [rank]
        np.testing.assert_allclose(solution.coef[0, :, 0], w, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(solution.singular[0], singular, rtol=1e-12, atol=1e-11)
        np.testing.assert_allclose(solution.residual[0, 0], np.sum((b - A @ w) ** 2), rtol=1e-12)


def test_rcond_decides_what_counts(rng):
    X, y, _ = random_rows(rng)
    X[:, 1] *= 1e-6
    data = TSQR.from_arrays(X, y)
    assert data.solve(0.0, True).rank.tolist() == [3]
    cut = data.solve(0.0, True, rcond=1e-3)
    assert cut.rank.tolist() == [2]
    np.testing.assert_allclose(
        cut.coef[0, [0, 2], 0], TSQR.from_arrays(X[:, [0, 2]], y).solve(0.0, True).coef[0, :, 0], rtol=1e-6
    )


def test_a_constant_column_counts_for_nothing(rng):
    X, y, _ = random_rows(rng)
    X[:, 1] = 0.1
    solution = TSQR.from_arrays(X, y).solve(0.0, True)
    assert solution.rank.tolist() == [2]
    assert solution.coef[0, 1, 0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("mean", [1e4, 1e6, 1e8, 1e12])
def test_means_far_from_zero_cost_nothing(mean, rng, small_blocks):
    X, y, s = random_rows(rng, n=80)
    X += mean
    y += mean
    ours, exact = coefficients(TSQR.from_arrays(X, y, s)), exact_fit(X, y, s)
    # The rows are exact about their origin: what is left are roundings of well-conditioned columns.
    np.testing.assert_allclose(ours, exact, rtol=1e-12)


def test_nearly_collinear_columns_keep_their_digits(rng):
    X, y, _ = random_rows(rng, n=60)
    X[:, 1] = X[:, 0] + 1e-7 * X[:, 1]  # condition number 1e7, whose square is 1e14
    ours, exact = coefficients(TSQR.from_arrays(X, y)), exact_fit(X, y)
    np.testing.assert_allclose(ours[:3], exact[:3], rtol=1e7 * 1e-15)


def test_longley():
    solution = TSQR.from_arrays(longley.X, longley.y).solve(0.0, True)
    np.testing.assert_allclose(solution.coef[0, :, 0], longley.COEF, rtol=1e-12)
    assert solution.intercept[0, 0] == pytest.approx(longley.INTERCEPT, rel=1e-12)
    assert solution.residual[0, 0] == pytest.approx(longley.RESIDUAL, rel=1e-12)
    exact = exact_fit(longley.X, longley.y)  # holds the table itself to the certificate
    np.testing.assert_allclose(exact, [*longley.COEF, longley.INTERCEPT], rtol=1e-14)


@pytest.mark.parametrize(("n", "d"), [(5, 9), (1, 3), (2, 2), (40, 120)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_more_columns_than_rows(n, d, fit_intercept, rng):
    X, y, _ = random_rows(rng, n=n, d=d)
    data = TSQR.from_arrays(X, y)
    solution = data.solve(0.0, fit_intercept)
    A, b = (X - X.mean(axis=0), y - y.mean()) if fit_intercept else (X, y)
    assert solution.singular.shape == (1, min(n, d))
    assert solution.rank.tolist() == [min(n - fit_intercept, d)]
    w = np.linalg.lstsq(A, b, rcond=1e-12)[0]
    np.testing.assert_allclose(solution.coef[0, :, 0], w, rtol=1e-10, atol=1e-11)
    if n - fit_intercept <= d:
        np.testing.assert_allclose(solution.residual, 0, atol=1e-22 * n)


@pytest.mark.parametrize("weighted", [False, True])
def test_without_an_intercept(weighted, rng, small_blocks):
    X, y, s = random_rows(rng, n=90)
    s = s if weighted else np.ones(90)
    data = TSQR.from_arrays(X, y, s)
    np.testing.assert_allclose(
        coefficients(data, 0.0, False), exact_fit(X, y, s, fit_intercept=False), rtol=1e-12
    )
    solution = data.solve(0.0, False)
    assert not solution.x_mean.any()
    assert not solution.y_mean.any()
    assert not solution.intercept.any()
    misfit = y - X @ solution.coef[0, :, 0]
    np.testing.assert_allclose(solution.residual[0, 0], np.sum(s * misfit**2), rtol=1e-12)


@pytest.mark.parametrize("l2", [1e-9, 0.3, 1e6])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_ridge(l2, fit_intercept, rng):
    X, y, s = random_rows(rng, n=50, models=(2,))
    solution = TSQR.from_arrays(X, y, s).solve(l2, fit_intercept)
    A, b = X, y
    if fit_intercept:
        A, b = X - np.average(X, axis=0, weights=s), y - np.average(y, axis=0, weights=s)
    root = np.sqrt(s)[:, None]
    with_penalty = np.vstack([root * A, np.sqrt(l2 * s.sum()) * np.eye(3)])
    w = np.linalg.lstsq(with_penalty, np.vstack([root * b, np.zeros((3, 2))]))[0]
    np.testing.assert_allclose(solution.coef[0], w, rtol=1e-11)
    np.testing.assert_allclose(solution.residual[0], (s @ (b - A @ w) ** 2), rtol=1e-11)
    np.testing.assert_allclose(solution.gradient_norm, 0, atol=1e-14)
    cut = TSQR.from_arrays(X, y, s).solve(
        l2, fit_intercept, rcond=0.9
    )  # keeps one singular value: no minimum
    w = cut.coef[0]
    gradient = (s[:, None] * A).T @ (A @ w - b) / s.sum() + l2 * w
    np.testing.assert_allclose(cut.gradient_norm[0], np.linalg.norm(gradient, axis=0), rtol=1e-9)


def test_ridge_of_collinear_columns(rng):
    X, y, _ = random_rows(rng)
    twice = TSQR.from_arrays(np.column_stack([X, X]), y).solve(0.5, True)
    np.testing.assert_allclose(twice.coef[0, :3], twice.coef[0, 3:], rtol=1e-12)
    once = TSQR.from_arrays(X, y).solve(0.25, True)  # of w in two halves the squares add up to half
    np.testing.assert_allclose(2 * twice.coef[0, :3], once.coef[0], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["f4", "f2", "i1", "u8", "?", ">f4"])
def test_narrow_data_are_widened(dtype, rng):
    X, y, _ = random_rows(rng, n=100)
    X, y = X.astype(dtype), y.astype(dtype)
    data = TSQR.from_arrays(X, y)
    assert_same_bits(data, TSQR.from_arrays(X.astype(float), y.astype(float)))
    assert data.factor.dtype == np.float64


def test_sums_of_squares_may_leave_the_range(rng):
    X, y, _ = random_rows(rng)
    scale = 2.0**600
    np.testing.assert_allclose(
        TSQR.from_arrays(X * scale, y).solve(0.0, True).coef * scale,
        TSQR.from_arrays(X, y).solve(0.0, True).coef,
        rtol=1e-12,
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_named(value, rng, small_blocks):
    X, y, _ = random_rows(rng)
    data = TSQR.from_arrays(X[:300], y[:300])
    before = data.summary
    X[770, 2] = value
    with pytest.raises(vp.errors.NotFiniteError, match=f"X holds {value} at row 770, column 2"):
        data.update(X[300:], y[300:])
    with pytest.raises(vp.errors.NotFiniteError, match=f"X holds {value} at row 770, column 2"):
        TSQR.from_arrays(X, y)
    assert data.summary is before
    assert data.n_samples == 300


def test_empty_ones_say_so(rng):
    with pytest.raises(vp.errors.ArgumentError, match="the TSQR is empty: give it rows with update"):
        TSQR().mean  # noqa: B018
    data = TSQR.from_arrays(rng.random((5, 2)))
    with pytest.raises(vp.errors.ArgumentError, match="the TSQR was read without y"):
        data.solve(0.0, True)
    assert data.factor.shape == (2, 2)
    assert repr(data) == "TSQR(5 rows of X (n, 2) and no y)"
    assert repr(TSQR()) == "TSQR()"


@pytest.mark.parametrize(("convert", "backend"), [(as_cupy, "cupy"), (as_numba, "numba-cuda")])
def test_device_arrays_are_read_on_the_host(convert, backend, rng, monkeypatch):
    X, y, s = random_rows(rng, (2,), 100)
    monkeypatch.setattr(tsqr, "BLOCK_ELEMENTS", 32)
    host = TSQR.from_arrays(X, y, s)
    monkeypatch.setattr(tsqr, "SLAB_BYTES", 1000)
    with vp.use_backend(backend):
        assert_same_bits(TSQR.from_arrays(convert(X), convert(y), convert(s)), host)
