"""CoMoments: sums over rows that are updated, merged and saved, with the same bits in however many calls."""

import io
import pickle
import sys

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.conftest import BACKENDS, REAL_GPU
from tests.test_device_arrays import KINDS
from tests.workers import run_python
from vecprod_gpu import TSQR, CoMoments
from vecprod_gpu.linreg._streaming import streamed
from vecprod_gpu.linreg._streaming.rows import Rows

# Sums of some hundred centred products in float64, against the largest of them.
RTOL = 1e-13

# Numba's simulator takes seconds for a launch; it is held to one problem and to chunks below.
not_simulated = pytest.mark.parametrize(
    "backend", [name for name in BACKENDS if name != "numba-cuda" or REAL_GPU], indirect=True
)


def random_rows(rng, lead=(), n=100, d=3, models=()):
    """Rows whose means are some spreads from zero, and weights of which some are 0."""
    X = rng.standard_normal((*lead, n, d)) + rng.integers(-9, 9, d)
    s = rng.random((*lead, n))
    s[..., 1::5] = 0
    return X, rng.standard_normal((*lead, n, *models)) + 2, s


def sums_of(data):
    """All that an object holds, as arrays of the batch's shape."""
    layout = data._layout
    names = ("weight_sum", "mean", "xx") + (("y_mean", "xy", "yy") if layout.targets else ())
    return {name: np.asarray(getattr(data, name)) for name in names}


def expected(X, y=None, s=None):
    """The same in longdouble, of one problem, rounded at the end."""
    X = np.asarray(X, np.longdouble)
    s = np.ones(len(X), np.longdouble) if s is None else np.asarray(s, np.longdouble)
    total = s.sum()
    mean = s @ X / total
    centred = X - mean
    sums = {"weight_sum": total, "mean": mean, "xx": (s[:, None] * centred).T @ centred}
    if y is not None:
        y = np.asarray(y, np.longdouble)
        y_mean = s @ y / total
        sums["y_mean"], sums["xy"] = y_mean, (s[:, None] * centred).T @ (y - y_mean)
        sums["yy"] = s @ (y - y_mean) ** 2
    return {name: np.asarray(value, float) for name, value in sums.items()}


def assert_close(ours, theirs, rtol=RTOL):
    for name, value in theirs.items():
        scale = abs(value).max() if value.size else 0
        np.testing.assert_allclose(ours[name], value, rtol=rtol, atol=rtol * scale, err_msg=name)


def assert_same_bits(ours, theirs):
    a, b = sums_of(ours), sums_of(theirs)
    for name in b:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert (ours.n_samples, ours.layout) == (theirs.n_samples, theirs.layout)


@pytest.fixture
def small_segments(monkeypatch):
    """Segments of 16 rows of 4 columns, so that trees of several levels arise from little data."""
    monkeypatch.setattr(streamed, "SEGMENT_BYTES", 16 * 4 * 8)


class TestSums:
    @pytest.mark.parametrize("weighted", [False, True])
    def test_one_problem(self, backend, weighted, rng):
        X, y, s = random_rows(rng)
        s = s if weighted else None
        data = CoMoments.from_arrays(X, y, s)
        assert_close(sums_of(data), expected(X, y, s))
        np.testing.assert_array_equal(data.xx, data.xx.T)
        assert data.n_samples == 100
        assert (data.xx.dtype, data.mean.dtype) == (np.float64, np.float64)

    @not_simulated
    @pytest.mark.parametrize("lead", [(), (1,), (4,), (2, 3), (0,), (2, 0)])
    @pytest.mark.parametrize("models", [None, (), (1,), (2,)])
    def test_shapes(self, backend, lead, models, rng):
        X, y, s = random_rows(rng, lead, 20, 3, models or ())
        if models is None:
            y = None
        sums = sums_of(CoMoments.from_arrays(X, y, s))
        shapes = {"weight_sum": lead, "mean": (*lead, 3), "xx": (*lead, 3, 3)}
        if y is not None:
            shapes |= {"y_mean": (*lead, *models), "xy": (*lead, 3, *models), "yy": (*lead, *models)}
        assert {name: value.shape for name, value in sums.items()} == shapes
        for at in np.ndindex(lead):
            problem = expected(X[at], None if y is None else y[at], s[at])
            assert_close({name: value[at] for name, value in sums.items()}, problem)

    def test_one_number_is_a_scalar(self, rng):
        X, y, s = random_rows(rng)
        data = CoMoments.from_arrays(X, y, s)
        assert all(isinstance(value, float) for value in (data.weight_sum, data.y_mean, data.yy))

    @not_simulated
    def test_small_numbers_are_exact(self, backend):
        data = CoMoments.from_arrays([[1, 2], [3, 6]], [5, 7], [1, 1])
        assert data.mean.tolist() == [2, 4]
        assert data.xx.tolist() == [[2, 4], [4, 8]]
        assert data.xy.tolist() == [2, 4]
        assert (data.y_mean, data.yy, data.weight_sum) == (6, 2, 2)

    def test_results_are_copies(self, rng):
        X, y, s = random_rows(rng, (2,))
        data = CoMoments.from_arrays(X, y, s)
        before = sums_of(data)
        for name in before:
            getattr(data, name)[...] = 0
        assert_close(sums_of(data), before, 0)

    @not_simulated
    @pytest.mark.parametrize(
        ("dtype", "promoted"),
        [("f4", "f4"), ("f2", "f2"), ("i2", "f8"), ("u8", "f8"), ("?", "f8"), (">f8", "f8"), (">f4", "f4")],
    )
    def test_dtypes(self, backend, dtype, promoted, rng):
        X, y, s = random_rows(rng)
        X, y = X.astype(dtype), y.astype(dtype)
        data = CoMoments.from_arrays(X, y, s)
        assert_close(sums_of(data), expected(X.astype(float), y.astype(float), s))
        assert data.dtype == np.float64  # as the weights are
        assert CoMoments.from_arrays(X, y).dtype == promoted

    @not_simulated
    @pytest.mark.parametrize("mean", [1e4, 1e8])
    def test_means_far_from_zero(self, backend, mean, rng):
        X, y, s = random_rows(rng, n=60)
        # Centred on their own means: the rounding of the mean, not of the squares, is what remains.
        assert_close(
            sums_of(CoMoments.from_arrays(X + mean, y, s)), expected(X + mean, y, s), 1e-7 * mean / 1e8 + RTOL
        )


class TestWeights:
    @not_simulated
    def test_they_count_repeated_rows(self, backend, rng):
        X, y, _ = random_rows(rng)
        repeats = rng.integers(0, 4, 100)
        ours = sums_of(CoMoments.from_arrays(X, y, repeats))
        theirs = sums_of(CoMoments.from_arrays(np.repeat(X, repeats, axis=0), np.repeat(y, repeats)))
        assert_close(ours, theirs)

    @not_simulated
    def test_rows_of_weight_0_do_not_count(self, backend, rng, small_segments):
        X, y, s = random_rows(rng)
        s[:40] = 0  # whole segments
        assert_close(sums_of(CoMoments.from_arrays(X, y, s)), expected(X[s > 0], y[s > 0], s[s > 0]))

    @not_simulated
    def test_no_weight_at_all(self, backend, rng):
        X, y, s = random_rows(rng, (2,))
        s[0] = 0
        sums = sums_of(CoMoments.from_arrays(X, y, s))
        assert not any(value[0].any() for value in sums.values())
        assert_close({name: value[1] for name, value in sums.items()}, expected(X[1], y[1], s[1]))

    def test_some_chunks_may_have_none(self, rng, small_segments):
        X, y, s = random_rows(rng)
        s[:50] = 1
        one = CoMoments.from_arrays(X, y, s)
        assert_same_bits(CoMoments.from_arrays(X[:50], y[:50]).update(X[50:], y[50:], s[50:]), one)
        assert_close(sums_of(one), expected(X, y, s))


class TestTheSameBits:
    @not_simulated
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("lead", [(), (2,)])
    def test_in_chunks_of_any_size(self, backend, weighted, lead, rng, small_segments):
        n = 400
        X, y, s = random_rows(rng, lead, n)
        s = s if weighted else None
        one = CoMoments.from_arrays(X, y, s)
        for longest in (2, 40):
            many, start = CoMoments(), 0
            while start < n:
                stop = start + int(rng.integers(1, longest + 1))
                part = (..., slice(start, stop))
                many.update(X[(*part, slice(None))], y[part], None if s is None else s[part])
                start = stop
            assert_same_bits(many, one)
            assert_same_bits(many, one)  # what was folded is kept

    def test_on_every_backend(self, backend, rng, small_segments):
        X, y, s = random_rows(rng, n=20)
        one = CoMoments.from_arrays(X, y, s)
        assert_same_bits(CoMoments.from_arrays(X[:9], y[:9], s[:9]).update(X[9:], y[9:], s[9:]), one)

    def test_after_looks_between_the_chunks(self, rng, small_segments):
        X, y, s = random_rows(rng, n=300)
        looked_at = CoMoments()
        for start in range(0, 300, 25):
            part = slice(start, start + 25)
            looked_at.update(X[part], y[part], s[part])
            assert_close(sums_of(looked_at), expected(X[: part.stop], y[: part.stop], s[: part.stop]))
        assert_same_bits(looked_at, CoMoments.from_arrays(X, y, s))

    def test_in_any_layout(self, host_backend, rng, small_segments):
        X, y, s = random_rows(rng, (2,), 90)
        one = CoMoments.from_arrays(X, y, s)
        wide = np.zeros((2, 90, 6))
        wide[..., ::2] = X
        misaligned = np.zeros(X.nbytes + 1, np.uint8)[1:].view(float).reshape(X.shape)
        misaligned[...] = X
        for same in (
            np.asfortranarray(X),
            wide[..., ::2],
            X[:, ::-1].copy()[:, ::-1],
            misaligned,
            X.tolist(),
        ):
            assert_same_bits(CoMoments.from_arrays(same, y, s), one)
        assert_same_bits(CoMoments.from_arrays(X, np.asfortranarray(y), np.asfortranarray(s)), one)

    def test_on_any_number_of_threads(self):
        ended = [run_python(THREADS, NUMBA_NUM_THREADS=threads) for threads in ("1", "2", "5")]
        assert all(one.returncode == 0 for one in ended), [one.stderr for one in ended]
        assert len({one.stdout for one in ended}) == 1

    def test_without_a_copy_of_the_last_rows(self, rng, small_segments):
        X, y, s = random_rows(rng)
        assert_same_bits(CoMoments.from_rows(Rows.read(X, y, s)), CoMoments.from_arrays(X, y, s))


THREADS = """
import hashlib, numpy as np, vecprod_gpu as vp
rng = np.random.default_rng(0)
X, y, s = rng.random((60_000, 50), np.float32), rng.random(60_000), rng.random(60_000)
with vp.use_backend("cpu"):
    data = vp.CoMoments.from_arrays(X, y, s)
    data.mean
print(hashlib.sha256(data.xx.tobytes() + data.xy.tobytes() + data.mean.tobytes()).hexdigest())
"""


class TestChunks:
    def test_what_waits_is_copied(self, rng, small_segments):
        X, y, s = random_rows(rng)
        data, buffers = CoMoments(), (np.empty((9, 3)), np.empty(9), np.empty(9))
        for start in range(0, 99, 9):
            for buffer, whole in zip(buffers, (X, y, s), strict=True):
                buffer[...] = whole[start : start + 9]
            data.update(*buffers)
        assert_same_bits(data, CoMoments.from_arrays(X[:99], y[:99], s[:99]))

    def test_what_waits_is_gathered(self, rng):
        """So that rows that come one by one do not take a time that grows with their square."""
        X, y, s = random_rows(rng, n=300)
        data = CoMoments()
        for i in range(300):
            data.update(X[i : i + 1], y[i : i + 1], s[i : i + 1] if i % 3 else None)
            assert len(data._waiting) <= 1 + np.log2(i + 1)
        assert_same_bits(data, CoMoments.from_arrays(X, y, np.where(np.arange(300) % 3, s, 1)))

    def test_float32_and_float64_may_follow_each_other(self, rng, small_segments):
        X, y, _ = random_rows(rng)
        data = CoMoments.from_arrays(X[:30].astype(np.float32), y[:30].astype(np.float32))
        assert data.dtype == np.float32
        data.update(X[30:], y[30:])
        assert data.dtype == np.float64
        X[:30], y[:30] = X[:30].astype(np.float32), y[:30].astype(np.float32)
        assert_close(sums_of(data), expected(X, y))

    def test_float32_then_float64_in_one_segment_loses_nothing(self, rng):
        X, y, _ = random_rows(rng)
        data = CoMoments.from_arrays(X[:1].astype(np.float32), y[:1]).update(X[1:], y[1:])
        assert_close(sums_of(data), expected(np.vstack([X[:1].astype(np.float32), X[1:]]), y))

    def test_update_returns_the_object(self, rng):
        data = CoMoments()
        assert data.update(rng.random((4, 2))) is data


class TestMerge:
    @not_simulated
    def test_is_associative_to_rounding(self, backend, rng, small_segments):
        X, y, s = random_rows(rng, (2,))
        cuts = (np.s_[:, :1], np.s_[:, 1:37], np.s_[:, 37:])
        a, b, c = (CoMoments.from_arrays(X[cut], y[cut], s[cut]) for cut in cuts)
        before = [sums_of(one) for one in (a, b, c)]
        whole = sums_of(CoMoments.from_arrays(X, y, s))
        for merged in (a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a).merge(b)):
            assert_close(sums_of(merged), whole)
            assert merged.n_samples == 100
        for one, earlier in zip((a, b, c), before, strict=True):
            assert_close(sums_of(one), earlier, 0)

    def test_with_an_empty_one(self, rng):
        X, y, s = random_rows(rng)
        data = CoMoments.from_arrays(X, y, s)
        assert_same_bits(data.merge(CoMoments()), data)
        assert_same_bits(CoMoments().merge(data), data)
        assert repr(CoMoments().merge(CoMoments())) == "CoMoments()"

    def test_goes_on(self, rng, small_segments):
        X, y, s = random_rows(rng)
        parts = [CoMoments.from_arrays(X[cut], y[cut], s[cut]) for cut in (np.s_[:21], np.s_[21:60])]
        merged = parts[0].merge(parts[1]).update(X[60:], y[60:], s[60:])
        assert_close(sums_of(merged), expected(X, y, s))
        assert [one.n_samples for one in parts] == [21, 39]

    def test_needs_the_same_shapes(self, rng):
        with pytest.raises(
            vp.errors.ShapeError, match=r"other was read from X \(n, 4\) and no y; needed is X \(n, 3\)"
        ):
            CoMoments.from_arrays(rng.random((5, 3))).merge(CoMoments.from_arrays(rng.random((5, 4))))
        with pytest.raises(TypeError, match="cannot merge a CoMoments with a TSQR"):
            CoMoments().merge(vp.TSQR())


class TestErrors:
    @pytest.mark.parametrize(
        ("shapes", "words"),
        [
            (((5,), None, None), ["X", "(5,)"]),
            (((5, 3), (4,), None), ["y", "(4,)", "(5"]),
            (((5, 3), (5, 2, 2), None), ["y", "(5, 2, 2)"]),
            (((5, 3), (5, 0), None), ["y"]),
            (((5, 3), (5,), (4,)), ["sample_weight", "(4,)", "(5"]),
            (((2, 5, 3), (3, 5), None), ["y", "(3, 5)"]),
            (((2, 5, 3), (2, 5), (5,)), ["sample_weight", "(5,)"]),
        ],
    )
    def test_shapes(self, shapes, words):
        arrays = [None if shape is None else np.ones(shape) for shape in shapes]
        with pytest.raises(vp.errors.ShapeError) as raised:
            CoMoments().update(*arrays)
        assert all(word in str(raised.value) for word in words), raised.value

    def test_other_shapes_than_before(self, rng):
        data = CoMoments.from_arrays(rng.random((5, 3)), rng.random(5))
        for X, y, words in (
            (rng.random((5, 4)), rng.random(5), r"X \(n, 4\) and y \(n\); needed is X \(n, 3\) and y \(n\)"),
            (rng.random((5, 3)), None, r"X \(n, 3\) and no y; needed"),
            (rng.random((5, 3)), rng.random((5, 1)), r"y \(n, 1\); needed"),
            (rng.random((2, 5, 3)), rng.random((2, 5)), r"X \(2, n, 3\) and y \(2, n\); needed"),
        ):
            with pytest.raises(vp.errors.ShapeError, match=words):
                data.update(X, y)
        assert data.n_samples == 5

    @pytest.mark.parametrize("dtype", [complex, object, "U3", "M8[s]"])
    def test_dtypes(self, dtype):
        with pytest.raises(vp.errors.DTypeError, match="X"):
            CoMoments().update(np.zeros((5, 3), dtype))
        with pytest.raises(vp.errors.DTypeError, match="y"):
            CoMoments().update(np.zeros((5, 3)), np.zeros(5, dtype))

    @pytest.mark.parametrize("weight", [-1.0, np.nan])
    def test_weights(self, weight, rng):
        X, y, s = random_rows(rng)
        data = CoMoments.from_arrays(X, y, s)
        before = sums_of(data)
        s[7] = weight
        with pytest.raises(vp.errors.ArgumentError, match="sample_weight"):
            data.update(X, y, s)
        assert_close(sums_of(data), before, 0)

    def test_empty_ones_say_so(self):
        for name in ("mean", "xx", "xy", "weight_sum"):
            with pytest.raises(
                vp.errors.ArgumentError, match="the CoMoments is empty: give it rows with update"
            ):
                getattr(CoMoments(), name)
        assert CoMoments().n_samples == 0
        assert repr(CoMoments()) == "CoMoments()"

    def test_no_target(self, rng):
        data = CoMoments.from_arrays(rng.random((5, 2)))
        for name in ("y_mean", "xy", "yy"):
            with pytest.raises(vp.errors.ArgumentError, match="was read without y"):
                getattr(data, name)
        assert repr(data) == "CoMoments(5 rows of X (n, 2) and no y)"


class TestWhatIsNotFinite:
    @not_simulated
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("row", [30, 43, 95, 99])
    def test_is_named_by_row_and_column(self, backend, value, row, rng, small_segments):
        X, y, s = random_rows(rng)
        data = CoMoments.from_arrays(X[:30], y[:30], s[:30])
        before = sums_of(data)
        X[row, 2] = X[-1, 1] = value
        column = 1 if row == 99 else 2
        with pytest.raises(vp.errors.NotFiniteError, match=f"X holds {value} at row {row}, column {column};"):
            data.update(X[30:], y[30:], s[30:])
        assert_close(sums_of(data), before, 0)
        assert data.n_samples == 30
        X[30:] = 1  # goes on as if nothing had been
        data.update(X[30:], y[30:], s[30:])
        assert_same_bits(data, CoMoments.from_arrays(X, y, s))

    def test_without_a_copy_of_the_last_rows(self, rng, small_segments):
        X, y, s = random_rows(rng)
        for row in (20, 99):
            X[row, 1] = np.nan
            with pytest.raises(vp.errors.NotFiniteError, match=f"X holds nan at row {row}, column 1;"):
                CoMoments.from_rows(Rows.read(X, y, s))
            X[row, 1] = 0

    def test_in_a_row_of_weight_0(self, host_backend, rng, small_segments):
        X, y, s = random_rows(rng)
        s[21], X[21, 1] = 0, np.nan
        with pytest.raises(vp.errors.NotFiniteError, match="X holds nan at row 21, column 1;"):
            CoMoments.from_arrays(X, y, s)

    def test_in_a_target_of_a_batch(self, rng, small_segments):
        X, y, s = random_rows(rng, (2, 3), 50, 2, (2,))
        y[1, 2, 37, 1] = y[0, 0, 38, 0] = np.nan
        with pytest.raises(
            vp.errors.NotFiniteError, match=r"y holds nan at row 37, column 1 of problem 1, 2;"
        ):
            CoMoments.from_arrays(X, y, s)

    def test_in_a_target_that_is_a_vector(self, rng, small_segments):
        X, y, s = random_rows(rng)
        y[61] = np.inf
        with pytest.raises(vp.errors.NotFiniteError, match="y holds inf at row 61;"):
            CoMoments.from_arrays(X, y, s)

    def test_overflow_is_told_from_infinity(self, host_backend, rng):
        X, y, _ = random_rows(rng)
        for arrays in ((X * 1e200, y), (X, y * 1e200)):
            with pytest.raises(vp.errors.NotFiniteError, match="overflow float64; scale the data down"):
                CoMoments.from_arrays(*arrays).mean  # noqa: B018

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("kind", [CoMoments, TSQR])
    def test_weights_that_overflow_are_told_from_data_that_do(self, host_backend, rng, kind):
        X, y, _ = random_rows(rng)
        with pytest.raises(
            vp.errors.NotFiniteError, match="sample_weight adds up to more than float64 holds"
        ):
            kind.from_arrays(X, y, np.full(len(X), 1e308)).weight_sum  # noqa: B018


@pytest.fixture
def saved(rng, small_segments, tmp_path):
    """An object whose tree has gaps and whose last rows wait, and its file."""
    X, y, s = random_rows(rng, (2,), 90)
    data = CoMoments.from_arrays(X[:, :60], y[:, :60], s[:, :60]).update(X[:, 60:], y[:, 60:], s[:, 60:])
    data.save(tmp_path / "data.npz")
    return data, tmp_path / "data.npz"


class TestFiles:
    @pytest.mark.parametrize("read", [0, 1, 15, 16, 17, 48, 90])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("models", [None, (), (2,)])
    def test_go_on_with_the_same_bits(self, read, weighted, models, rng, small_segments, tmp_path):
        X, y, s = random_rows(rng, n=100, models=models or ())
        X = X.astype(np.float32)
        y, s = None if models is None else y, s if weighted else None

        def rows(part):
            return X[part], None if y is None else y[part], None if s is None else s[part]

        data = CoMoments()
        if read:
            data.update(*rows(np.s_[:read]))
        data.save(tmp_path / "data.npz")
        loaded = CoMoments.load(tmp_path / "data.npz")
        if read:
            assert_same_bits(loaded, data)
        assert loaded.dtype == data.dtype
        for one in (data, loaded):
            one.update(*rows(np.s_[read:]))
        assert_same_bits(loaded, data)
        assert_same_bits(loaded, CoMoments.from_arrays(*rows(np.s_[:])))
        assert [path.name for path in tmp_path.iterdir()] == ["data.npz"]

    def test_of_a_merged_one(self, rng, small_segments, tmp_path):
        X, y, s = random_rows(rng)
        halves = [CoMoments.from_arrays(X[cut], y[cut], s[cut]) for cut in (np.s_[:33], np.s_[33:70])]
        merged = halves[0].merge(halves[1])
        merged.save(str(tmp_path / "data.npz"))
        loaded = CoMoments.load(str(tmp_path / "data.npz"))
        assert_same_bits(loaded.update(X[70:], y[70:], s[70:]), merged.update(X[70:], y[70:], s[70:]))

    def test_hold_plain_arrays(self, saved):
        with np.load(saved[1], allow_pickle=False) as archive:
            assert '"format": "vecprod-co-moments"' in str(archive["header"])
            assert {archive[name].dtype.kind for name in archive if name != "header"} == {"f"}

    @pytest.mark.parametrize("kept", [0, 1, 100, 0.5, -1, -30])
    def test_truncated_ones_are_refused(self, saved, kept):
        whole = saved[1].read_bytes()
        saved[1].write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
        with pytest.raises(vp.errors.ArchiveError, match=r"data\.npz cannot be loaded as vecprod-co-moments"):
            CoMoments.load(saved[1])

    def test_damaged_ones_are_refused(self, saved):
        whole = bytearray(saved[1].read_bytes())
        place = whole.index(b"\x93NUMPY", len(whole) // 2) + 200  # among the numbers: the checksum tells
        whole[place] ^= 0xFF
        saved[1].write_bytes(whole)
        with pytest.raises(vp.errors.ArchiveError, match="cannot be loaded"):
            CoMoments.load(saved[1])

    def test_others_are_refused(self, saved, tmp_path):
        file = tmp_path / "other.npz"
        for content in (pickle.dumps({"a": 1}), b"text", _npy(np.ones(3)), _npy(np.array([{}]))):
            file.write_bytes(content)
            with pytest.raises(vp.errors.ArchiveError, match=r"other\.npz cannot be loaded"):
                CoMoments.load(file)
        np.savez(file, X=np.ones(3))
        with pytest.raises(vp.errors.ArchiveError, match="header"):
            CoMoments.load(file)
        np.savez(file, header=np.array([{}], object), allow_pickle=True)
        with pytest.raises(vp.errors.ArchiveError):
            CoMoments.load(file)
        with pytest.raises(FileNotFoundError):
            CoMoments.load(tmp_path / "none.npz")
        vp.TSQR.from_arrays(np.ones((3, 2))).save(file)
        with pytest.raises(vp.errors.ArchiveError, match="it is of format 'vecprod-tsqr', version 1"):
            CoMoments.load(file)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('"version": 1', '"version": 2'),
            ('"format": "vecprod-co-moments"', '"format": "vecprod-other"'),
            ('"d": 3', '"d": "x"'),
            ('"d": 3', '"d": 5'),
            ('"lead": [2]', '"lead": 2'),
            ('"n_samples": 90', '"n_samples": null'),
            ('"n_samples": 90', '"n_samples": 90.5'),
            ('"dtype": "<f8"', '"dtype": "nonsense"'),
            ('"levels": [', '"levels": [true, true, true, true, true, true, '),
            ("{", "["),
        ],
    )
    def test_headers_that_fit_nothing_are_refused(self, saved, old, new):
        with np.load(saved[1]) as archive:
            arrays = dict(archive)
        assert old in str(arrays["header"])
        arrays["header"] = np.array(str(arrays["header"]).replace(old, new))
        np.savez(saved[1], **arrays)
        with pytest.raises(vp.errors.ArchiveError, match="cannot be loaded as vecprod-co-moments"):
            CoMoments.load(saved[1])

    @pytest.mark.parametrize("name", ["waiting.X", "waiting.y", "level0.means", "level0.matrix"])
    def test_arrays_of_other_shapes_are_refused(self, saved, name):
        with np.load(saved[1]) as archive:
            arrays = dict(archive)
        assert name in arrays
        for wrong in (arrays[name][..., :1], arrays[name][:1], arrays[name].astype(complex)):
            np.savez(saved[1], **{**arrays, name: wrong})
            with pytest.raises(vp.errors.ArchiveError):
                CoMoments.load(saved[1])

    def test_an_earlier_one_survives_a_failed_write(self, saved, monkeypatch, rng):
        data, file = saved
        earlier = file.read_bytes()
        data.update(rng.random((2, 5, 3)), rng.random((2, 5)))

        def full(stream, **arrays):
            stream.write(b"half of it")
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(np, "savez", full)
            with pytest.raises(OSError, match="No space left"):
                data.save(file)
        assert file.read_bytes() == earlier
        assert [path.name for path in file.parent.iterdir()] == [file.name]
        data.save(file)
        assert_same_bits(CoMoments.load(file), data)

    def test_pickles(self, saved, rng):
        data, _ = saved
        again = pickle.loads(pickle.dumps(data))
        assert_same_bits(again, data)
        more = rng.random((2, 50, 3)), rng.random((2, 50))
        assert_same_bits(again.update(*more), data.update(*more))


def _npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


class TestCovariance:
    @not_simulated
    @pytest.mark.parametrize("ddof", [0, 1, 2])
    def test_cov_is_that_of_numpy(self, backend, ddof, rng):
        X, _, _ = random_rows(rng)
        repeats = rng.integers(0, 4, 100)
        ours = CoMoments.from_arrays(X, sample_weight=repeats)
        np.testing.assert_allclose(
            ours.cov(ddof), np.cov(X.T, fweights=repeats, ddof=ddof), rtol=1e-12, atol=1e-13
        )
        np.testing.assert_allclose(
            CoMoments.from_arrays(X).cov(), np.cov(X, rowvar=False), rtol=1e-12, atol=1e-13
        )

    @not_simulated
    def test_corrcoef_is_that_of_numpy(self, backend, rng):
        X, _, _ = random_rows(rng, (2,))
        ours = CoMoments.from_arrays(X).corrcoef()
        assert ours.shape == (2, 3, 3)
        for one, rows in zip(ours, X, strict=True):
            np.testing.assert_allclose(one, np.corrcoef(rows, rowvar=False), rtol=1e-12, atol=1e-13)
            np.testing.assert_allclose(np.diag(one), 1, rtol=1e-15)
        assert abs(ours).max() <= 1

    def test_nothing_to_divide_by(self):
        with pytest.warns(RuntimeWarning):
            assert np.isnan(CoMoments.from_arrays([[1.0, 2.0]]).cov()).all()
        with pytest.warns(RuntimeWarning):
            correlation = CoMoments.from_arrays([[1.0, 2.0], [1.0, 3.0]]).corrcoef()
        np.testing.assert_array_equal(np.isnan(correlation), [[True, True], [True, False]])

    def test_ddof_is_a_number(self):
        with pytest.raises(vp.errors.DTypeError, match="ddof"):
            CoMoments.from_arrays([[1.0, 2.0]]).cov(ddof="x")


class TestDeviceArrays:
    @pytest.fixture(params=KINDS)
    def to_device(self, request):
        convert, backend = KINDS[request.param]
        with vp.use_backend(backend):
            yield convert

    def test_are_read_where_they_are(self, to_device, rng, monkeypatch):
        monkeypatch.setattr(streamed, "DEVICE_SEGMENT_BYTES", 8 * 4 * 8)
        monkeypatch.setattr(streamed, "SEGMENT_BYTES", 8 * 4 * 8)
        X, y, s = random_rows(rng, (2,), 11)
        data = CoMoments.from_arrays(*map(to_device, (X, y, s)))
        assert_same_bits(data, CoMoments.from_arrays(X, y, s))
        assert type(data.xx) is np.ndarray

    def test_may_be_views(self, to_device, rng):
        X, y, s = random_rows(rng, n=12)
        data = CoMoments.from_arrays(to_device(X.T.copy()).T, to_device(np.repeat(y, 2))[::2], to_device(s))
        assert_close(sums_of(data), expected(X, y, s))
        data = CoMoments.from_arrays(to_device(X), sample_weight=to_device(np.repeat(s, 2))[::2])
        assert_close(sums_of(data), expected(X, None, s))
        X[3, 1] = np.nan
        with pytest.raises(vp.errors.NotFiniteError, match="X holds nan at row 3, column 1;"):
            CoMoments.from_arrays(to_device(X.T.copy()).T)

    def test_may_be_changed_after_the_call(self, to_device, rng):
        X, y, s = random_rows(rng)
        on_device = [[to_device(part[cut].copy()) for part in (X, y, s)] for cut in (np.s_[:40], np.s_[40:])]
        data = CoMoments()
        for arrays in on_device:
            data.update(*arrays)
            arrays[0][:] = to_device(np.full(arrays[0].shape, np.nan))
        assert_close(sums_of(data), expected(X, y, s))

    def test_and_host_arrays_may_follow_each_other(self, to_device, rng, tmp_path):
        X, y, s = random_rows(rng)
        data = CoMoments.from_arrays(X[:30], y[:30], s[:30])
        data.update(*(to_device(part[30:60].copy()) for part in (X, y, s)))
        data.save(tmp_path / "data.npz")
        data = CoMoments.load(tmp_path / "data.npz").update(X[60:], y[60:], s[60:])
        assert_close(sums_of(data), expected(X, y, s))

    def test_what_is_not_finite_is_named(self, to_device, rng):
        X, y, s = random_rows(rng)
        data = CoMoments.from_arrays(*(to_device(part[:50].copy()) for part in (X, y, s)))
        before = sums_of(data)
        X[70, 1] = np.nan
        with pytest.raises(vp.errors.NotFiniteError, match="X holds nan at row 70, column 1;"):
            data.update(*(to_device(part[50:].copy()) for part in (X, y, s)))
        assert_close(sums_of(data), before, 0)

    def test_of_two_places_are_refused(self, to_device, rng):
        X, y, _ = random_rows(rng)
        with pytest.raises(vp.errors.DeviceError, match="y is a host array"):
            CoMoments.from_arrays(to_device(X), y)


READ_A_MAP = """
import os
import numpy as np
import vecprod_gpu as vp

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssFile")) * 1024

X = np.load(os.environ["FILE"], mmap_mode="r")
kind = getattr(vp, os.environ["KIND"])
most = 0

def watched(function):
    def call(rows):
        global most
        summary = function(rows)
        most = max(most, resident())
        return summary
    return staticmethod(call)

with vp.use_backend("cpu"):
    kind.from_arrays(X[:2000], X[:2000, 0]).mean
    before = resident()
    kind._summarise = watched(kind._summarise)
    assert kind().update(X, X[:, 0]).mean.shape == (50,)
print(most - before, resident() - before, X.nbytes)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
class TestMemoryMaps:
    @pytest.fixture(scope="class")
    @classmethod
    def file(cls, tmp_path_factory):
        path = tmp_path_factory.mktemp("maps") / "X.npy"
        X = np.lib.format.open_memmap(path, "w+", np.float64, (500_000, 50))
        X[...] = np.arange(50)
        X[::3] = 1
        X.flush()
        del X
        yield path
        path.unlink()

    @pytest.mark.parametrize("kind", ["CoMoments", "TSQR"])
    def test_do_not_stay_in_memory(self, file, kind):
        ended = run_python(READ_A_MAP, FILE=str(file), KIND=kind, NUMBA_NUM_THREADS="2")
        assert ended.returncode == 0, ended.stderr
        most, left, nbytes = map(int, ended.stdout.split())
        assert nbytes == 200_000_000
        assert most < nbytes / 2.5  # two segments of 26 MB and what the system reads ahead
        assert left < nbytes / 20

    def test_keep_what_the_caller_changed(self, host_backend, tmp_path):
        np.save(tmp_path / "X.npy", np.ones((150_000, 30)))
        X = np.load(tmp_path / "X.npy", mmap_mode="c")
        X[::2] = 7
        data = CoMoments.from_arrays(X)
        assert (X[::2] == 7).all()
        assert data.mean[0] == 4

    def test_keep_what_was_written_to_them(self, host_backend, tmp_path):
        path = tmp_path / "Y.npy"
        X = np.lib.format.open_memmap(path, "w+", np.float64, (300_000, 20))
        X[...] = 3
        X[::2] = 5
        CoMoments.from_arrays(X)
        assert (X[::2] == 5).all()
        assert (np.load(path, mmap_mode="r")[1::2] == 3).all()


def test_processes_can_merge(rng):
    """As tasks of a cluster do: each reads its part, and the pickles are merged."""
    X, y, s = random_rows(rng)
    parts = [pickle.dumps(CoMoments.from_arrays(X[cut], y[cut], s[cut])) for cut in (np.s_[:30], np.s_[30:])]
    merged = pickle.loads(parts[0]).merge(pickle.loads(parts[1]))
    assert_close(sums_of(merged), expected(X, y, s))
