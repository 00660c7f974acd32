"""The choice of a ridge penalty: on rows left out one by one, or on folds."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params

from ..linreg._search.result import rank
from ..linreg._streaming.rows import on_host
from ._closed import ridge
from ._leave_one_out import LeaveOneOut, leave_one_out
from ._means import Means
from ._observations import Observations, Validated, set_coefficients
from ._splits import Splits

Host = np.ndarray[Any, Any]

FROM_ERRORS = {None: "r2", "r2": "r2", "neg_mean_squared_error": "mse", "neg_root_mean_squared_error": "rmse"}
"""Scorings that are functions of the mean squared errors, which co-moments give."""


@dataclass(frozen=True)
class Choice:
    """The best penalty and its fit.

    Attributes
    ----------
    alpha : float or (k,) ndarray
    score : float or (k,) ndarray
    coef : (d, k) ndarray
    intercept : (k,) ndarray
    values : (n, k, m) ndarray or None
        Squared errors, or predictions for a scorer, of each row left out.
    """

    alpha: Any
    score: Any
    coef: Host
    intercept: Host
    values: Host | None = None


class _Predicted(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Stands for a fitted regressor where a scorer asks for one; its X is what that predicted."""

    def predict(self, X: Any) -> Any:
        """X."""
        return X


@dataclass(frozen=True)
class Scoring:
    """How predictions are scored.

    Attributes
    ----------
    name : str, callable or None
        As the caller gave it; None is the usual one.
    scorer : callable
        Of scikit-learn.
    params : dict
        What it is given beside.
    """

    name: Any
    scorer: Any
    params: dict[str, Any]

    @property
    def from_errors(self) -> str | None:
        """Which function of the mean squared errors it is, if it is one."""
        is_other = bool(set(self.params) - {"sample_weight"})
        return FROM_ERRORS.get(self.name) if isinstance(self.name, str | None) and not is_other else None


def choose_by_rows(
    inputs: Validated, alphas: Host, fit_intercept: bool, scoring: Scoring, *, per_target: bool, stores: bool
) -> Choice:
    """The penalty with the least mean of squared errors on rows left out, or the best score of a scorer."""
    observations = Observations.of(inputs, fit_intercept)
    fits = leave_one_out(observations, alphas)
    per_target = per_target and observations.targets > 1
    if scoring.name is None:
        scores, values = _scores_of_errors(fits, observations, len(alphas), stores)
        scores = scores if per_target else scores.mean(axis=0, keepdims=True)
    else:
        values = _predictions(fits, observations, len(alphas))
        scores = np.stack([_scores(inputs, one, scoring, per_target) for one in np.moveaxis(values, 2, 0)], 1)
    best = np.argmax(scores, axis=1)
    of_target = np.broadcast_to(best, observations.targets)[:, np.newaxis, np.newaxis]
    coef = np.take_along_axis(fits.coef(), of_target, axis=2)[:, :, 0].T
    intercept = Means.of(observations).intercept(coef)
    alpha, score = alphas[best], np.take_along_axis(scores, best[:, np.newaxis], axis=1)[:, 0]
    if not per_target:
        alpha, score = alpha[0], score[0]
    return Choice(alpha, score, coef, intercept, values if stores else None)


def _scores_of_errors(
    fits: LeaveOneOut, observations: Observations, penalties: int, stores: bool
) -> tuple[Host, Host | None]:
    """Negative means ``(k, m)`` of the squared errors, and these ``(n, k, m)`` where they are to be kept."""
    n, k = observations.given.n, observations.targets
    values = np.empty((n, k, penalties)) if stores else None
    sums = np.zeros((k, penalties))
    for rows, errors in fits.errors():
        squares = np.square(errors)
        sums += squares.sum(axis=0)
        if values is not None:
            values[rows] = squares
    return -sums / n, values


def _predictions(fits: LeaveOneOut, observations: Observations, penalties: int) -> Host:
    """What is predicted for each row that is left out, ``(n, k, m)``."""
    given = observations.given
    values = np.empty((given.n, observations.targets, penalties))
    for rows, errors in fits.errors():
        part = given.require_rows("auto").part(rows.start, rows.stop)
        if part.weights is not None:
            with np.errstate(divide="ignore", invalid="ignore"):  # nothing is known of rows without weight
                errors = errors / np.sqrt(on_host(part.weights))[:, np.newaxis, np.newaxis]
        values[rows] = on_host(part.y).reshape(len(errors), -1)[:, :, np.newaxis] - errors
    return values


def _scores(inputs: Validated, predictions: Host, scoring: Scoring, per_target: bool) -> Host:
    """Scores of the predictions ``(n, k)`` of one penalty: of each target, or a single one."""

    def score(y: Any, of_y: Host) -> Any:
        return scoring.scorer(_Predicted(), inputs.place.send(of_y, np.float64), y, **scoring.params)

    if per_target:
        return np.array([score(inputs.y[:, j], column) for j, column in enumerate(predictions.T)])
    return np.array([score(inputs.y, predictions.reshape(tuple(inputs.y.shape)))])


def choose_by_folds(
    inputs: Validated,
    alphas: Host,
    fit_intercept: bool,
    scoring: Scoring,
    *,
    cv: Any,
    groups: dict[str, Any],
    model: Any,
) -> Choice:
    """The penalty with the best mean score on the folds; `model` is what a scorer is shown."""
    weighs_tests = "sample_weight" in scoring.params
    splits = Splits.read(inputs, cv, fit_intercept, weighs_tests=weighs_tests, groups=groups)
    if scoring.from_errors is not None and splits.shortest_test > 1:
        scores = _scores_by_errors(splits, alphas, scoring.from_errors)
    else:
        scores = _scores_by_predictions(splits, alphas, scoring, model)
    means = scores.mean(axis=0)
    best = int(np.argmin(rank(means, "r2")))
    found = ridge(splits.whole, alphas[best : best + 1], "auto")
    return Choice(alphas[best], means[best], found.coef, found.intercept)


def _scores_by_errors(splits: Splits, alphas: Host, name: str) -> Host:
    """Scores ``(F, m)`` by the mean squared errors; greater is better."""
    errors = splits.errors(splits.ridge(alphas), len(alphas))
    scores = np.stack([splits.tests.score(name, split, one) for split, one in enumerate(errors)])
    return scores if name == "r2" else -scores


def _scores_by_predictions(splits: Splits, alphas: Host, scoring: Scoring, model: Any) -> Host:
    """Scores ``(F, m)`` by a scorer that is shown a fitted model and the rows held out."""
    inputs, candidates = splits.whole.inputs, splits.ridge(alphas)
    scores = np.empty((len(splits.pairs), len(alphas)))
    for split, (_, test) in enumerate(splits.pairs):
        X, y = _safe_indexing(inputs.X, test), _safe_indexing(inputs.y, test)
        params = _check_method_params(inputs.X, scoring.params, indices=test)
        for points, coef in candidates.blocks(split):
            for point, one in zip(points.tolist(), np.moveaxis(coef, 2, 0), strict=True):
                intercept = splits.train.y_mean[split] - splits.train.x_mean[split] @ one.T
                set_coefficients(model, inputs, one.T, intercept, is_flat=True)
                scores[split, point] = scoring.scorer(model, X, y, **params)
    return scores
