"""Co-moments and Gram matrices of small problems, each in a lane: of few columns and of more."""

import numpy as np
import pytest

from tests.workers import run_with_narrow_registers
from vecprod_gpu.backends import cpu
from vecprod_gpu.backends._cpu.moments.lane_triangles import MOST_COLUMNS
from vecprod_gpu.backends._cpu.moments.lanes import fits_lanes

SPLITS = [(p, columns - p) for columns in range(1, MOST_COLUMNS + 3) for p in {0, 1, columns - 1, columns}]


def frozen(*arrays):
    """Read-only, as the dispatcher hands them over."""
    for array in arrays:
        array.flags.writeable = False
    return arrays


def draw(rng, problems, rows, split, stored, summed, is_weighted):
    """X, Y and weights, some of them 0; the data are far from zero."""
    X, Y = (rng.standard_normal((problems, rows, columns)).astype(stored) + 50 for columns in split)
    weights = rng.uniform(0.5, 2, (problems, rows)) if is_weighted else np.empty((problems, 0))
    weights[:, 1::4] = 0
    return frozen(X, Y, weights.astype(summed))


def expected(X, Y, weights):
    """By the definition, in float64: the weights' sums, the means, co-moments and Gram matrices."""
    Z = np.concatenate([X, Y], axis=2).astype(np.float64)
    s = weights.astype(np.float64) if weights.size else np.ones(Z.shape[:2])
    total = s.sum(axis=1)
    means = (s[..., np.newaxis] * Z).sum(axis=1) / total[:, np.newaxis]
    centred = Z - means[:, np.newaxis]
    products = [(s[..., np.newaxis] * z).transpose(0, 2, 1) @ z for z in (centred, Z)]
    return total, means, *products


def check(rng, problems, rows, split, stored, summed, is_weighted):
    """Both kinds of sums against the definition, with results that hold NaN before."""
    columns = sum(split)
    assert fits_lanes(rows, columns, 8)
    X, Y, weights = draw(rng, problems, rows, split, stored, summed, is_weighted)
    exact = expected(X, Y, weights)
    total = np.full(problems, np.nan)
    means, matrix, gram = (np.full(array.shape, np.nan, summed) for array in exact[1:])
    cpu.co_moments(X, Y, weights, scale=1.0, correlation=False, total=total, means=means, out=matrix)
    cpu.gram(X, Y, weights, gram)
    rounding = 40 * np.finfo(summed).eps * rows
    for ours, exactly in zip((total, means, gram), (exact[0], exact[1], exact[3]), strict=True):
        np.testing.assert_allclose(ours, exactly, rtol=rounding)
    np.testing.assert_allclose(matrix, exact[2], rtol=0, atol=rounding * 50)
    assert (matrix == matrix.transpose(0, 2, 1)).all()


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize(("stored", "summed"), ["ff", "fd", "dd"])
@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_sums_are_those_of_the_definition(split, stored, summed, is_weighted, rng):
    for problems, rows in ((1, 1), (7, 2), (8, 5), (17, 32)):
        check(rng, problems, rows, split, stored, summed, is_weighted)


@pytest.mark.parametrize("columns", [1, MOST_COLUMNS, MOST_COLUMNS + 1])
def test_a_gram_matrix_knows_nothing_of_co_moments_before(columns, rng):
    """Both work in the same memory, one after the other."""
    for _ in range(2):
        check(rng, 9, 4, (columns, 0), "d", "d", True)


def test_a_problem_without_weight_is_none(rng):
    X, Y, weights = draw(rng, 9, 6, (3, 1), "d", "d", True)
    exact = expected(X, Y, weights)[2]
    weights = weights.copy()
    weights[4] = 0
    matrix, total, means = np.empty((9, 4, 4)), np.empty(9), np.empty((9, 4))
    with np.errstate(invalid="ignore"):
        cpu.co_moments(
            X, Y, *frozen(weights), scale=1.0, correlation=False, total=total, means=means, out=matrix
        )
    assert total[4] == 0
    assert np.isnan(matrix[4]).all()
    np.testing.assert_allclose(np.delete(matrix, 4, axis=0), np.delete(exact, 4, axis=0), atol=1e-12)


def test_what_is_not_a_number_stays_in_its_problem(rng):
    X, Y, weights = draw(rng, 9, 6, (3, 1), "d", "d", False)
    exact = expected(X, Y, weights)[2]
    X = X.copy()
    X[4, 2, 1] = np.nan
    matrix, total, means = np.empty((9, 4, 4)), np.empty(9), np.empty((9, 4))
    cpu.co_moments(*frozen(X, Y, weights), scale=1.0, correlation=False, total=total, means=means, out=matrix)
    assert np.isnan(matrix[4, 1]).all()
    assert np.isnan(matrix[4, :, 1]).all()
    np.testing.assert_allclose(np.delete(matrix, 4, axis=0), np.delete(exact, 4, axis=0), atol=1e-12)


def test_with_narrow_registers(tmp_path):
    """As on processors without 64-byte vectors, which hold fewer sums."""
    ended = run_with_narrow_registers(NARROW, tmp_path)
    assert ended.returncode == 0, ended.stderr


NARROW = """
import numpy as np
from tests import test_moment_lanes as tests

rng = np.random.default_rng(3)
for split in ((1, 0), (1, 1), (2, 1), (0, 4), (5, 1)):
    for is_weighted in (False, True):
        tests.check(rng, 9, 12, split, "f", "d", is_weighted)
"""
