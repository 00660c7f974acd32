"""Which rows a search fits and holds out, and their co-moments, against plain indices."""

import numpy as np
import pytest
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneOut,
    PredefinedSplit,
    RepeatedKFold,
    ShuffleSplit,
    TimeSeriesSplit,
)

from vecprod_gpu.errors import ArgumentError, DTypeError
from vecprod_gpu.linreg._search import folds
from vecprod_gpu.linreg._search.atoms import find_atoms
from vecprod_gpu.linreg._search.folds import Folds, Reader
from vecprod_gpu.linreg._streaming.rows import Rows


def draw(rng, n=47, d=3, k=1, weighted=False):
    X, y = rng.standard_normal((n, d)) + 3, rng.standard_normal((n, k)) - 5
    return Rows.read(X, y, rng.uniform(0.5, 2, n) if weighted else None)


def indices(part, n):
    return np.arange(n)[part]


def oracle(rows, chosen):
    """Weight, means and centred sums of products of the chosen rows."""
    Z = np.column_stack([rows.X, rows.y])[chosen]
    s = np.ones(len(Z)) if rows.weights is None else rows.weights[chosen]
    mean = (s[:, None] * Z).sum(0) / s.sum()
    return s.sum(), mean, (Z - mean).T @ (s[:, None] * (Z - mean))


@pytest.mark.parametrize(("n", "cv"), [(10, 2), (11, 3), (47, 5), (7, 7)])
@pytest.mark.parametrize("seed", [None, 0, 42])
def test_a_number_gives_the_folds_of_scikit_learn(rng, n, cv, seed):
    folds = Folds.read(cv, seed, draw(rng, n))
    assert folds.is_partition
    theirs = KFold(cv, shuffle=seed is not None, random_state=seed).split(np.zeros(n))
    for split, (_, test) in zip(folds.splits, theirs, strict=True):
        assert split.train is None
        assert isinstance(split.test, slice) == (seed is None)
        np.testing.assert_array_equal(indices(split.test, n), test)


SPLITTERS = {
    "KFold": lambda n: KFold(4),
    "KFold, shuffled": lambda n: KFold(4, shuffle=True, random_state=1),
    "GroupKFold": lambda n: list(GroupKFold(3).split(np.zeros(n), None, np.arange(n) % 7)),
    "masks": lambda n: [(np.arange(n) >= 9, np.arange(n) < 9), (np.arange(n) < 9, np.arange(n) >= 9)],
    "TimeSeriesSplit": lambda n: TimeSeriesSplit(4),
    "ShuffleSplit": lambda n: ShuffleSplit(3, test_size=0.3, random_state=0),
    "ShuffleSplit of some rows": lambda n: ShuffleSplit(3, test_size=0.3, train_size=0.3, random_state=0),
    "RepeatedKFold": lambda n: RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),
    "PredefinedSplit": lambda n: PredefinedSplit(np.arange(n) % 3 - 1),
    "bootstrap": lambda n: [
        (np.arange(n) // 2, np.arange(n // 2, n)),
        (np.arange(n) // 3, np.arange(n - 9, n)),
    ],
    "a test set within its training set": lambda n: [(np.arange(n), np.arange(5))],
}
PARTITIONS = ("KFold", "KFold, shuffled", "GroupKFold", "masks")


@pytest.mark.parametrize("name", SPLITTERS)
@pytest.mark.parametrize("weighted", [False, True])
def test_co_moments_of_every_split(rng, name, weighted):
    rows = draw(rng, k=2, weighted=weighted)
    cv = SPLITTERS[name](rows.n)
    folds = Folds.read(cv, None, rows)
    assert folds.is_partition == (name in PARTITIONS)
    reader = Reader(rows)
    moments = folds.moments(reader)
    pairs = list(cv.split(rows.X)) if hasattr(cv, "split") else cv
    for i, pair in enumerate(pairs):
        for sums, chosen in zip((moments.train, moments.test), pair, strict=True):
            total, mean, matrix = oracle(rows, chosen)
            # Sums of 47 terms in another order: some eps, of columns whose means are 5 deviations off.
            np.testing.assert_allclose(sums.total[i], total, rtol=1e-13)
            np.testing.assert_allclose(sums.means[i], mean, rtol=1e-13)
            np.testing.assert_allclose(sums.matrix[i], matrix, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(
        moments.total.summary.matrix[0], oracle(rows, slice(None))[2], rtol=1e-11, atol=1e-12
    )
    assert moments.total.n_samples == rows.n
    if name != "bootstrap":
        assert reader.reads == 1


def test_splits_without_common_sets_of_rows_are_gathered(rng, monkeypatch):
    monkeypatch.setattr(folds, "segment_rows", lambda rows: 16)  # gathered in several blocks
    rows = draw(rng, 400)
    cv = ShuffleSplit(9, test_size=0.5, random_state=0)
    pairs = list(cv.split(rows.X))
    assert find_atoms(pairs, rows.n) is None
    reader = Reader(rows)
    moments = Folds.read(cv, None, rows).moments(reader)
    assert reader.reads == 10  # all rows, and those of nine splits
    for i, (train, _) in enumerate(pairs):
        np.testing.assert_allclose(moments.train.matrix[i], oracle(rows, train)[2], rtol=1e-11, atol=1e-12)


def test_atoms_are_the_sets_that_all_splits_treat_alike():
    pairs = [(np.array([0, 1, 2, 3]), slice(4, 6)), (np.array([5, 4, 1]), np.array([0]))]
    atoms = find_atoms(pairs, 7)
    for i, pair in enumerate(pairs):
        for part, members in zip(pair, (atoms.in_train[i], atoms.in_test[i]), strict=True):
            joined = np.concatenate([rows for rows, is_in in zip(atoms.rows, members, strict=True) if is_in])
            assert sorted(joined.tolist()) == sorted(indices(part, 7).tolist())
    assert sorted(map(tuple, atoms.rows)) == [(0,), (1,), (2, 3), (4, 5), (6,)]


def test_leaving_one_row_out(rng):
    rows = draw(rng, 12)
    folds = Folds.read(LeaveOneOut(), None, rows)
    assert folds.is_partition
    moments = folds.moments(Reader(rows))
    for i in range(12):
        expected = oracle(rows, np.arange(12) != i)[2]
        np.testing.assert_allclose(moments.train.matrix[i], expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("cv", [1, 0, -3, 11])
def test_numbers_out_of_range(rng, cv):
    with pytest.raises(ArgumentError, match=rf"cv is {cv}; needed are at least 2 folds.*n_samples=10"):
        Folds.read(cv, None, draw(rng, 10))


@pytest.mark.parametrize("cv", [None, True, "5", 2.5, object()])
def test_other_types(rng, cv):
    with pytest.raises(DTypeError, match="cv must be a number of folds, a splitter or pairs of indices"):
        Folds.read(cv, None, draw(rng))


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        ([], "cv holds no split"),
        ([3], "split 0 of cv is 3; needed is a pair"),
        ([([0, 1], [2]), ([0], [])], "test in split 1 of cv has shape"),
        ([([0, 1], [47])], "test in split 0 of cv holds 47; needed are row numbers from 0 to 46"),
        ([([0, -1], [2])], "train in split 0 of cv holds -1"),
        ([([0.5], [2])], "train in split 0 of cv has shape .* float64; needed are row numbers"),
    ],
)
def test_bad_pairs(rng, cv, message):
    with pytest.raises(ArgumentError, match=message):
        Folds.read(cv, None, draw(rng))


def test_random_state(rng):
    rows = draw(rng)
    with pytest.raises(ArgumentError, match="random_state goes with a number of folds"):
        Folds.read(KFold(3), 0, rows)
    with pytest.raises(DTypeError, match="random_state must be an integer"):
        Folds.read(3, 0.5, rows)
    folds = Folds.read(3, np.random.default_rng(0), rows)
    joined = np.concatenate([split.test for split in folds.splits])
    np.testing.assert_array_equal(np.sort(joined), np.arange(rows.n))


def test_rows_without_weight(rng):
    rows = draw(rng, 10)
    s = np.ones(10)
    s[:5] = 0
    with pytest.raises(ArgumentError, match="sample_weight adds up to 0 over the rows fitted in split 1"):
        Folds.read(2, None, Rows.read(rows.X, rows.y, s)).moments(Reader(Rows.read(rows.X, rows.y, s)))
