"""The splits of a cross-validation, each known by its co-moments: X is read once for all of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.model_selection import check_cv

from ..linreg._search import scores
from ..linreg._search.candidates import Block, Candidates, ClosedForms, Training
from ..linreg._search.folds import Folds, Reader, length
from ..linreg._search.grid import USUAL_MAX_ITER, Grid
from ..linreg._solvers.data import Given
from ..linreg._solvers.quadratic import Quadratic
from ._observations import Observations, Validated

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Splits:
    """What each split fits, what it holds out, and all rows.

    Attributes
    ----------
    whole : Observations
        All rows.
    pairs : list of (ndarray, ndarray)
        Row numbers fitted and held out.
    train : Quadratic
        Half the mean squared error on what each split fits.
    weights : (F,) ndarray
        W of it.
    tests : scores.TestSets
    """

    whole: Observations
    pairs: list[tuple[Host, Host]]
    train: Quadratic
    weights: Host
    tests: scores.TestSets
    _folds: Folds
    _reader: Reader

    @classmethod
    def read(
        cls,
        inputs: Validated,
        cv: Any,
        fit_intercept: bool,
        *,
        weighs_tests: bool = True,
        groups: dict[str, Any],
    ) -> "Splits":
        """Cut the rows as scikit-learn's `check_cv` says, and read them.

        Without `weighs_tests` weights count in the fits alone, for one more read of X.
        """
        given = Given.read(*inputs.arrays)
        rows = given.require_rows("auto")
        pairs = list(check_cv(cv).split(inputs.X, inputs.y, **groups))
        folds = Folds.read(pairs, None, rows)
        reader = Reader(rows)
        with inputs.telling_of_nan():
            moments = folds.moments(reader)
        test = moments.test
        if rows.weights is not None and not weighs_tests:
            reader = Reader(replace(rows, weights=None))
            test = folds.moments(reader).test
        d = given.layout.d
        train = Quadratic.of(moments.train, d, fit_intercept)
        whole = Observations(inputs, replace(given, given_moments=moments.total), fit_intercept)
        tests = scores.TestSets.of(train, test, d, fit_intercept)
        return cls(whole, pairs, train, moments.train.total, tests, folds, reader)

    def errors(self, candidates: Candidates, count: int) -> Iterator[Host]:
        """For each split the mean squared errors ``(k, count)`` of candidates on what it holds out."""
        for split, one in enumerate(self._folds.splits):
            yield scores.errors_of_split([candidates], split, count, self.tests, one.test, self._reader)

    def ridge(self, alphas: Host) -> Candidates:
        """Ridge regressions with penalties ``alpha |w|²`` beside the sum of the squared errors, not the mean.

        Splits of other weights have other penalties beside the mean: here the mean is rescaled instead.
        """
        reference = self.weights.mean()
        share = (self.weights / reference)[:, np.newaxis, np.newaxis]
        rescaled = replace(
            self.train,
            hessian=self.train.hessian * share,
            linear=self.train.linear * share,
            square=self.train.square * share[:, 0],
        )
        grid = Grid.read(l1=0.0, l2=alphas / reference, learning_rate="auto", max_iter=USUAL_MAX_ITER)
        return ClosedForms(Training(rescaled), grid, "auto")

    @property
    def shortest_test(self) -> int:
        """Rows of the smallest set that is held out."""
        return min(length(split.test) for split in self._folds.splits)


@dataclass(frozen=True)
class Path:
    """Fits of a single target along a path of m penalties on F splits.

    Attributes
    ----------
    coef : (F, d, m) ndarray
    """

    coef: Host

    def basis(self, split: int) -> None:
        """None: the coefficients are plain."""

    def blocks(self, split: int) -> Iterator[Block]:
        """All of one split."""
        yield np.arange(self.coef.shape[2]), self.coef[split][np.newaxis]
