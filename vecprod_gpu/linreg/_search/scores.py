"""Mean squared errors of many fits on the rows that were held out, and scores made of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import ArgumentError
from .._solvers.quadratic import Quadratic
from .._solvers.residuals import NEARLY_EXACT, ROW_BYTES
from .._streaming.rows import Rows, on_host
from ..moments import MomentSums
from .atoms import Part
from .candidates import Candidates
from .folds import Reader

Host = np.ndarray[Any, Any]
Scorer = Callable[[Host, Host], float]

PREDICTION_BYTES = 1 << 27  # of one test set by several models
SERIAL_PRODUCT = 1 << 18  # multiplications: OpenBLAS wakes threads for more, which wait for each other
LEAST_COLUMNS = 64
ROUNDING = 16 * float(np.finfo(np.float64).eps)  # of a mean, by which a constant target seems to vary


@dataclass(frozen=True)
class ErrorForm:
    """Mean squared errors of k targets on a test set: ``(w - o)ᵀ A (w - o) - 2 gᵀ (w - o) + e``.

    The intercept that belongs to w is that of the training set.

    Attributes
    ----------
    matrix : (d, d) ndarray
    linear : (k, d) ndarray
    constant : (k,) ndarray
    origin : (k, d) ndarray or None
        Zeros where it is None.
    """

    matrix: Host
    linear: Host
    constant: Host
    origin: Host | None = None

    def at(self, coef: Host) -> Host:
        """The errors ``(k, m)`` of coefficients ``(k, d, m)``."""
        if self.origin is not None:
            coef = coef - self.origin[:, :, np.newaxis]
        slope = _product(self.matrix, coef)
        slope -= 2 * self.linear[:, :, np.newaxis]
        errors: Host = np.einsum("kdm,kdm->km", slope, coef)
        errors += self.constant[:, np.newaxis]
        return np.maximum(errors, 0.0, out=errors)

    def in_basis(self, basis: Host | None) -> "ErrorForm":
        """The same for coefficients that are given in the columns of an orthogonal matrix."""
        if basis is None:
            return self
        return replace(
            self,
            matrix=basis.T @ self.matrix @ basis,
            linear=self.linear @ basis,
            origin=None if self.origin is None else self.origin @ basis,
        )


def _product(matrix: Host, coef: Host) -> Host:
    """``matrix @ coef``, in parts for which no threads are started, where it is small."""
    columns = SERIAL_PRODUCT // matrix.size
    if columns < LEAST_COLUMNS:
        return matrix @ coef
    product = np.empty_like(coef)
    for first in range(0, coef.shape[2], columns):
        some = slice(first, first + columns)
        np.matmul(matrix, coef[:, :, some], out=product[:, :, some])
    return product


@dataclass(frozen=True)
class TestSets:
    """The held-out rows of F splits, as seen from the training sets.

    Attributes
    ----------
    train, test : Quadratic
        Of the two sets of each split.
    mean, spread : (F, k) ndarray
        Of the targets held out; the spread is their mean squared distance from the mean.
    """

    train: Quadratic
    test: Quadratic
    mean: Host
    spread: Host

    @classmethod
    def of(cls, train: Quadratic, sums: MomentSums, d: int, fit_intercept: bool) -> "TestSets":
        """From the co-moments of what is held out."""
        spread = np.einsum("bii->bi", sums.matrix)[:, d:] / sums.total[:, np.newaxis]
        return cls(train, Quadratic.of(sums, d, fit_intercept), sums.means[:, d:], spread)

    def form(self, split: int) -> ErrorForm:
        """The error as a function of the coefficients.

        A test set whose means differ from those of the training set adds the square of the difference.
        """
        x_shift, y_shift = (
            getattr(self.test, name)[split] - getattr(self.train, name)[split]
            for name in ("x_mean", "y_mean")
        )
        return ErrorForm(
            self.test.hessian[split] + np.outer(x_shift, x_shift),
            self.test.linear[split].T + y_shift[:, np.newaxis] * x_shift,
            self.test.square[split] + np.square(y_shift),
        )

    def r2(self, split: int, errors: Host) -> Host:
        """Coefficients of determination ``(k, m)``; of a constant target 1 if met exactly, else 0."""
        rounding = np.square(ROUNDING * self.mean[split])[:, np.newaxis]
        spread = self.spread[split][:, np.newaxis]
        is_constant = np.broadcast_to(spread <= rounding, errors.shape)
        scores: Host = 1 - np.divide(errors, spread, out=(errors > rounding) * 1.0, where=~is_constant)
        return scores

    def score(self, scoring: str, split: int, errors: Host) -> Host:
        """Scores ``(m,)``, averaged over the targets."""
        if scoring == "r2":
            errors = self.r2(split, errors)
        elif scoring == "rmse":
            errors = np.sqrt(errors)
        scores: Host = errors.mean(axis=0)
        return scores


def errors_of_split(
    families: list[Candidates], split: int, size: int, tests: TestSets, held_out: Part, reader: Reader | None
) -> Host:
    """Mean squared errors ``(k, size)`` of all points on the test set of a split.

    Those of nearly exact fits, of which the quadratic form has no digits, are found from the residuals of
    one such fit, at the price of one more read of the test set.
    """
    form = tests.form(split)
    errors = np.full((len(form.constant), size), np.nan)
    nearest = np.zeros_like(form.linear)
    least = np.full(len(form.constant), np.inf)
    for family in families:
        basis = family.basis(split)
        local = form.in_basis(basis)
        for points, coef in family.blocks(split):
            if not points.size:
                continue
            found = local.at(coef)
            errors[:, points] = found
            for target, best in enumerate(np.argmin(found, axis=1).tolist()):
                if found[target, best] < least[target]:
                    least[target] = found[target, best]
                    plain = coef[target, :, best]
                    nearest[target] = plain if basis is None else basis @ plain
    is_near = errors <= NEARLY_EXACT * form.constant[:, np.newaxis]
    if reader is not None and is_near.any():
        refined = _around(nearest, form, tests.train, split, held_out, reader)
        for family in families:
            local = refined.in_basis(family.basis(split))
            for points, coef in family.blocks(split):
                errors[:, points] = np.where(is_near[:, points], local.at(coef), errors[:, points])
    return errors


def _around(
    coef: Host, form: ErrorForm, train: Quadratic, split: int, held_out: Part, reader: Reader
) -> ErrorForm:
    """The form around coefficients ``(k, d)``, from their residuals on the test set."""
    linear, constant, total = np.zeros_like(form.linear), np.zeros_like(form.constant), 0.0
    rows = max(1, ROW_BYTES // (8 * (coef.shape[0] + coef.shape[1])))
    for block in reader.blocks(held_out, rows):
        X, y = _centred(block, train, split)
        weights = np.ones(block.n) if block.weights is None else on_host(block.weights).astype(np.float64)
        residuals = (y - X @ coef.T).T
        weighted = weights * residuals
        linear += weighted @ X
        constant += np.einsum("kn,kn->k", weighted, residuals)
        total += weights.sum()
        block.release()
    return ErrorForm(form.matrix, linear / total, constant / total, coef)


def callable_scores(
    scoring: Scorer,
    families: list[Candidates],
    split: int,
    size: int,
    train: Quadratic,
    held_out: Part,
    reader: Reader,
) -> Host:
    """Scores ``(size,)`` of all points by the caller's function, on predictions for the test set."""
    blocks = [(*_centred(block, train, split), block.y) for block in reader.blocks(held_out)]
    X, y = np.concatenate([block[0] for block in blocks]), np.concatenate([on_host(b[2]) for b in blocks])
    scores = np.full(size, np.nan)
    at_once = max(1, PREDICTION_BYTES // (8 * y.size))
    for family in families:
        basis = family.basis(split)
        for points, coef in family.blocks(split):
            for first in range(0, len(points), at_once):
                some = slice(first, first + at_once)
                plain = coef[:, :, some] if basis is None else basis @ coef[:, :, some]
                predictions = X @ plain + train.y_mean[split][:, np.newaxis, np.newaxis]
                for point, prediction in zip(points[some].tolist(), predictions.T, strict=True):
                    scores[point] = _called(scoring, y, prediction.reshape(y.shape))
    return scores


def _called(scoring: Scorer, y: Host, prediction: Host) -> float:
    score = scoring(y, prediction)
    try:
        return float(score)
    except (TypeError, ValueError):
        raise ArgumentError(f"scoring returned {score!r}; needed is a number, greater is better") from None


def _centred(rows: Rows, train: Quadratic, split: int) -> tuple[Host, Host]:
    """X ``(m, d)`` and y ``(m, k)`` in float64, less the means of the training set."""
    X = on_host(rows.X).astype(np.float64, order="C")
    y = on_host(rows.y).astype(np.float64, order="C").reshape(rows.n, -1)
    X -= train.x_mean[split]
    y -= train.y_mean[split]
    return X, y
