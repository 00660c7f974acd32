"""What is computed of a stream has the bits of the same call on all rows in memory, however it is cut."""

import numpy as np
import pytest

import vecprod_gpu as vp
from vecprod_gpu import stream
from vecprod_gpu.linreg._streaming import streamed
from vecprod_gpu.stream._memory import resident_bytes

FIELDS = ("coef", "intercept", "loss", "loss_history", "gradient_norm")


@pytest.fixture
def small_segments(monkeypatch):
    """Segments of few rows, so that small data have many of them."""
    monkeypatch.setattr(streamed, "SEGMENT_BYTES", 1 << 12)


@pytest.fixture
def data():
    """Rows of five columns far from the origin, a target, and weights of which some are 0."""
    rng = np.random.default_rng(11)
    X = rng.normal(size=(3001, 5)) * [1, 2, 3, 4, 5] + 100
    y = X @ [1.0, -2, 0.5, 0, 3] + rng.normal(size=3001)
    return X, y, rng.integers(0, 4, 3001) * 0.5


def cut(rng, *arrays):
    """The arrays as a list of batches of random lengths."""
    stops = np.unique(rng.integers(1, len(arrays[0]), rng.integers(1, 40)))
    return list(zip(*(np.split(array, stops) for array in arrays), strict=True))


def equal(found, wanted, fields=FIELDS):
    for name in fields:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), strict=True, err_msg=name)


@pytest.mark.usefixtures("small_segments")
class TestCuts:
    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize(("made", "kind"), [(stream.co_moments, vp.CoMoments), (stream.tsqr, vp.TSQR)])
    def test_cannot_be_seen_in_sums(self, data, made, kind, seed):
        rng = np.random.default_rng(seed)
        wanted = kind.from_arrays(*data)
        found = made(cut(rng, *data))
        assert (found.n_samples, found.weight_sum) == (wanted.n_samples, wanted.weight_sum)
        names = ["mean", "y_mean", *(["xx", "xy", "yy"] if kind is vp.CoMoments else ["factor"])]
        equal(found, wanted, names)

    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16])
    @pytest.mark.parametrize(
        "asked",
        [
            {},
            {"solver": "svd", "l2": 0.1},
            {"solver": "eigh", "fit_intercept": False},
            {"l1": [0.01, 0.1]},
            {"learning_rate": 1e-4, "max_iter": 20, "w0": np.arange(5.0)},
            {"solver": "comoments", "l1": 0.1, "max_iter": 30},
        ],
        ids=str,
    )
    def test_cannot_be_seen_in_a_fit(self, data, asked, dtype):
        X, y, s = data[0].astype(dtype), data[1].astype(dtype), data[2]
        wanted = vp.linreg_fit(X, y, sample_weight=s, **asked)
        found = stream.linreg_fit(cut(np.random.default_rng(1), X, y, s), **asked)
        equal(found, wanted)
        assert (found.solver, found.reason.replace("reading X", "")) == (
            wanted.solver,
            wanted.reason.replace("reading X", ""),
        )
        assert found.rank == wanted.rank
        np.testing.assert_array_equal(found.predict(X), wanted.predict(X))

    def test_nor_in_one_that_reads_the_rows_again(self, data):
        X, y, s = data
        X = np.column_stack([X, X[:, 0] + 1e-9 * X[:, 1]])
        for target in (y, X @ np.arange(6.0)):
            wanted = vp.linreg_fit(X, target, sample_weight=s)
            assert wanted.solver == "svd"
            equal(stream.linreg_fit(cut(np.random.default_rng(2), X, target, s)), wanted)
        exact = data[0] @ np.arange(5.0)
        wanted = vp.linreg_fit(data[0], exact, solver="cholesky")
        equal(stream.linreg_fit(cut(np.random.default_rng(3), data[0], exact), solver="cholesky"), wanted)

    @pytest.mark.parametrize(
        "asked",
        [
            {"l2": [0.0, 0.1, 10.0], "cv": 3},
            {"l1": [0.01, 0.1], "cv": 7, "scoring": "mse"},
            {"learning_rate": [1e-5, "auto"], "max_iter": [3, 30], "cv": 2, "scoring": "rmse"},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("is_exact", [False, True])
    def test_cannot_be_seen_in_a_search(self, data, asked, is_exact):
        X, y, s = data
        y = X @ np.arange(5.0) if is_exact else y
        s = s + 0.25
        wanted = vp.linreg_search(X, y, sample_weight=s, **asked)
        found = stream.linreg_search(cut(np.random.default_rng(4), X, y, s), **asked)
        equal(found.fit, wanted.fit)
        assert found.best_params == wanted.best_params
        assert found.reads == wanted.reads
        mine, theirs = found.to_dict(), wanted.to_dict()
        for name, values in theirs.items():
            if not name.startswith("params"):
                np.testing.assert_array_equal(mine[name], values, err_msg=name)


def test_files_give_the_bits_of_the_arrays(tmp_path, data):
    X, y, s = data
    for name, array in (("X", X), ("y", y), ("s", s)):
        np.save(tmp_path / f"{name}.npy", array)
    beside = {"target": tmp_path / "y.npy", "sample_weight": tmp_path / "s.npy"}
    found = stream.linreg_fit(tmp_path / "X.npy", **beside, memory=resident_bytes() + 10**9)
    equal(found, vp.linreg_fit(X, y, sample_weight=s))
    moments = vp.CoMoments.from_arrays(X, None, s)
    at = {"sample_weight": tmp_path / "s.npy"}
    np.testing.assert_array_equal(stream.cov(tmp_path / "X.npy", ddof=0, **at), moments.cov(0))
    np.testing.assert_array_equal(stream.corrcoef(tmp_path / "X.npy", **at), moments.corrcoef())


@pytest.mark.usefixtures("small_segments")
def test_neither_threads_nor_memory_can_be_seen(tmp_path, data):
    X, y, _ = data
    np.save(tmp_path / "X.npy", X)
    wanted = vp.linreg_fit(X, y)
    threads = vp.get_num_threads()
    try:
        for count in range(1, threads + 1):
            vp.set_num_threads(count)
            for memory in (None, resident_bytes() + 10**9):
                equal(stream.linreg_fit(tmp_path / "X.npy", target=y, memory=memory), wanted)
    finally:
        vp.set_num_threads(threads)


def test_what_cannot_stream_is_named(data):
    X, y, _ = data
    for solver in ("gd", "sgd"):
        with pytest.raises(vp.errors.ArgumentError, match=f"{solver} steps .* comoments, cd, cholesky"):
            stream.linreg_fit(X, target=y, solver=solver)
    with pytest.raises(vp.errors.ArgumentError, match="target is missing"):
        stream.linreg_fit(X)
    with pytest.raises(vp.errors.ArgumentError, match="4096"):
        stream.linreg_fit(np.ones((3, 4097)), target=np.ones(3))
    with pytest.raises(vp.errors.ArgumentError, match="function"):
        stream.linreg_search(X, target=y, scoring=lambda *_: 1.0)
    with pytest.raises(vp.errors.DTypeError, match="cv must be a number"):
        stream.linreg_search(X, target=y, cv=[(np.arange(5), np.arange(5, 9))])
    with pytest.raises(vp.errors.ArgumentError, match="add up to 0"):
        stream.linreg_fit(X, target=y, sample_weight=np.zeros(len(X)))
    with pytest.raises(vp.errors.ArgumentError, match="memory is 1000"):
        stream.linreg_fit(X, target=y, memory=1000)
    with pytest.raises(vp.errors.ArgumentError, match="iterator"):
        stream.co_moments(iter([X]), checkpoint="file")
    with pytest.raises(vp.errors.ArgumentError, match="iterator"):
        stream.linreg_search(iter([(X, y)]))


def test_an_iterator_is_read_once(data):
    X, y, _ = data
    found = stream.linreg_fit(iter([(X[:9], y[:9]), (X[9:], y[9:])]))
    equal(found, vp.linreg_fit(vp.CoMoments.from_arrays(X, y)))


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("row", [0, 700, 3000])
def test_what_is_not_finite_is_named_by_its_place(data, tmp_path, row):
    X, y, _ = data
    X[row, 3] = np.nan
    np.save(tmp_path / "late.npy", X)
    for call in (stream.linreg_fit, stream.linreg_search):
        with pytest.raises(vp.errors.BadInputError) as refusal:
            call(tmp_path / "late.npy", target=y)
        assert str(refusal.value) == f"{tmp_path / 'late.npy'}: [{row}, 3] is nan; needed are finite numbers"
