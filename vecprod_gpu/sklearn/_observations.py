"""The arguments of ``fit``: validated by scikit-learn, and brought to where the core reads them."""

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import (
    _check_sample_weight,
    column_or_1d,
    validate_data,
)

from .._arrays import Array
from ..errors import NotFiniteError
from ..linreg._solvers.data import Given
from ..linreg._solvers.quadratic import Quadratic
from ..linreg._streaming.rows import on_host
from ..linreg._streaming.streamed import segment_rows
from ..linreg.moments import CoMoments, MomentSums
from ..linreg.tsqr import TSQR
from ._arrays import Place, telling_of_nan

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Validated:
    """Inputs as scikit-learn has validated them, but for the finiteness of X.

    That is found out by whoever reads X: a pass for it alone would take as long as the whole fit.

    Attributes
    ----------
    name : str
        Of the estimator, for messages.
    place : Place
    dtype : numpy.dtype
        Of the results: that of X.
    X, y, sample_weight : array
        In the caller's library; y and the weights follow X.
    """

    name: str
    place: Place
    dtype: np.dtype[Any]
    X: Array
    y: Array
    sample_weight: Array | None

    @classmethod
    def of(
        cls, estimator: Any, X: Any, y: Any, sample_weight: Any, *, is_first: bool = True, **checks: Any
    ) -> "Validated":
        """Validate them; `is_first` sets, and else compares, the number and names of the features."""
        place = Place.of(X)
        X, y = validate_data(
            estimator,
            X,
            place.follow(y),
            reset=is_first,
            dtype=[place.xp.float64, place.xp.float32],
            ensure_all_finite=False,
            y_numeric=True,
            **{"multi_output": True, **checks},
        )
        if sample_weight is not None:
            sample_weight = _check_sample_weight(place.follow(sample_weight), X, ensure_non_negative=True)
        place = Place.of(X)
        if y.dtype not in (place.xp.float64, place.xp.float32):
            y = place.xp.astype(y, X.dtype)
        dtype = np.dtype(place.bring(X[:1, :]).dtype)
        return cls(type(estimator).__name__, place, dtype, X, y, sample_weight)

    @property
    def arrays(self) -> tuple[Array, Array, Array | None]:
        """X, y and the weights as the core takes them."""
        bring, weights = self.place.bring, self.sample_weight
        return bring(self.X), bring(self.y), None if weights is None else bring(weights)

    def telling_of_nan(self) -> AbstractContextManager[None]:
        """Where the core finds NaN or infinity in X, scikit-learn says so."""
        return telling_of_nan(self.X, self.name)

    def split(self, fraction: float, random: Any) -> "tuple[Validated, Validated]":
        """Copies of the rows that are fitted, and of a random share of them that is held out."""
        n = int(self.X.shape[0])
        order, count = random.permutation(n), max(1, round(fraction * n))
        if count == n:
            raise ValueError(f"of {n} rows none are left to fit when a share of {fraction} is held out")
        held_out, fitted = np.sort(order[:count]), np.sort(order[count:])
        return self._take(fitted), self._take(held_out)

    def _take(self, rows: Host) -> "Validated":
        X, y, weights = (
            None if array is None else _safe_indexing(array, rows)
            for array in (self.X, self.y, self.sample_weight)
        )
        return replace(self, X=X, y=y, sample_weight=weights)

    def send(self, host: Any) -> Any:
        """A result where X lives, in its dtype."""
        return self.place.send(host, self.dtype)


@dataclass(frozen=True)
class Observations:
    """What a fit reads, in one pass: the rows, or the co-moments that were kept of them.

    Attributes
    ----------
    inputs : Validated
        Of the last call.
    given : Given
        The same, or all that was read so far, for the core's solvers.
    fit_intercept : bool
    is_wide : bool
        Whether co-moments would be larger than X, or too large, or overflow, and are left alone.
    """

    inputs: Validated
    given: Given
    fit_intercept: bool
    is_wide: bool = False

    @classmethod
    def of(cls, inputs: Validated, fit_intercept: bool) -> "Observations":
        """The rows of one call; X is read here, unless it is wide."""
        given = Given.read(*inputs.arrays)
        rows = given.require_rows("auto")
        if given.layout.d < given.n and given.has_gram:
            with suppress(NotFiniteError), inputs.telling_of_nan():  # squares of finite numbers may overflow
                return cls(inputs, replace(given, given_moments=CoMoments.from_rows(rows)), fit_intercept)
        return cls(inputs, given, fit_intercept, is_wide=True)

    @classmethod
    def of_moments(cls, inputs: Validated, moments: CoMoments, fit_intercept: bool) -> "Observations":
        """All rows that co-moments were read from."""
        return cls(inputs, Given.read(moments, None, None), fit_intercept)

    @property
    def features(self) -> int:
        """Columns of X."""
        return int(self.given.layout.d)

    @property
    def targets(self) -> int:
        """Columns of y."""
        return int(self.given.layout.targets)

    @cached_property
    def weight_sum(self) -> float:
        """W; the number of rows without weights."""
        if not self.is_wide:
            return float(self.given.sums.total[0])
        weights = self.given.require_rows("auto").weights
        return float(self.given.n if weights is None else weights.astype(np.float64).sum())

    def kept(self) -> CoMoments | None:
        """What more rows can be added to; None where that would cost more than the fit."""
        if self.given.given_moments is not None:
            return CoMoments().merge(self.given.given_moments)
        rows = self.given.require_rows("auto")
        return CoMoments().update(rows.X, rows.y, rows.weights) if rows.n < segment_rows(rows) else None

    @property
    def quadratic(self) -> Quadratic:
        """Half the mean squared error as a function of the coefficients."""
        with self.inputs.telling_of_nan():
            return self.given.quadratic(self.fit_intercept)

    @property
    def sums(self) -> MomentSums:
        """The co-moments."""
        with self.inputs.telling_of_nan():
            return self.given.sums

    @property
    def factor(self) -> TSQR:
        """The triangular factor of the rows."""
        with self.inputs.telling_of_nan():
            return self.given.factor

    def triangle(self) -> tuple[Host, Host]:
        """X' and y' of few rows, with ``X'ᵀX' = XᵀSX`` and ``X'ᵀy' = XᵀSy`` of the centred data."""
        factor, d = self.factor.summary, self.features
        both = factor.centred() if self.fit_intercept else factor.about(np.zeros(1))[:, :, 1:]
        return both[0, :, :d], both[0, :, d:]

    def host(self, coef: Array) -> Host:
        """Coefficients of the core, ``(d, k)`` on the host in float64."""
        return on_host(coef).astype(np.float64).reshape(self.features, self.targets)


def single_target(y: Any, name: str) -> Any:
    """The target as a vector; scikit-learn's words for more than one."""
    if y.ndim > 1 and y.shape[1] > 1:
        raise ValueError(f"For multi-task outputs, use MultiTask{name}")
    return column_or_1d(y, warn=True)


def set_coefficients(
    estimator: Any, inputs: Validated, coef: Host, intercept: Host, *, is_flat: bool
) -> None:
    """Set ``coef_`` and ``intercept_`` from ``(d, k)`` and ``(k,)``.

    `is_flat` says whether coefficients of a single target have one axis even where y has two.
    """
    is_vector = inputs.y.ndim == 1
    if is_vector or (is_flat and coef.shape[1] == 1):
        estimator.coef_ = inputs.send(coef[:, 0])
    else:
        estimator.coef_ = inputs.send(coef.T)
    estimator.intercept_ = (
        inputs.send(intercept[0] if is_vector else intercept) if estimator.fit_intercept else 0.0
    )


def start_from(estimator: Any, observations: Observations) -> Host:
    """``coef_`` of a fitted estimator as ``(d, k)``, on the host in float64, where these can go on from it.

    Raises
    ------
    ValueError
        If it was fitted to other numbers of features or targets.
    """
    coef: Host = np.atleast_2d(Place.of(estimator.coef_).fetch(estimator.coef_).astype(np.float64)).T
    needed = observations.features, observations.targets
    if coef.shape != needed:
        raise ValueError(
            f"the fit to go on from has (features, targets) {coef.shape}; X and y have {needed}: begin with "
            "a new estimator, or without warm_start"
        )
    return coef
