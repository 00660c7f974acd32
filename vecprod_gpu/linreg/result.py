"""What a fit returns."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from .. import _checks
from .._arrays import Array, as_arrays, common_kind
from .._libraries import takes_any_library
from ..errors import DeviceError, ShapeError

Host = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted linear regression.

    Attributes
    ----------
    coef : (..., d) or (..., d, k) array
        Coefficients, of the kind and promoted dtype of the data.
    intercept : (...) or (..., k) array
        Intercepts; zeros where none was fitted.
    solver : str
        The solver that found them.
    reason : str
        Why it was this one.
    n_iter : int
        Steps of a descent; epochs of ``sgd``, sweeps of ``cd``; 0 for closed forms.
    converged : bool
        Whether the tolerance was met, in every problem and model.
    learning_rate : float, (k,) ndarray or None
        The step length used, where steps were taken.
    gradient_norm : float, (...) or (..., k) array of float64
        Norm of the proximal gradient at the coefficients; on the host.
    rank : int, (...) array of int or None
        Columns of X that are independent of the others (and of the intercept), where that was found out.
    loss : float, (...) or (..., k) array of float64
        The objective at the coefficients, penalties included; on the host.
    loss_history : (n_iter + 1,) or (n_iter + 1, ..., k) array of float64
        The objective, penalties included, before the first step and after each one; on the host. Of
        ``cd`` and the closed forms, a single entry for the solution.
    """

    coef: Array
    intercept: Array
    solver: str
    reason: str = field(repr=False)
    n_iter: int
    converged: bool
    learning_rate: Any
    rank: Any
    _loss: Callable[[], Host] = field(repr=False)
    _losses: Callable[[], Host] = field(repr=False)
    _norm: Callable[[], Host] = field(repr=False)
    _has_models: bool = field(default=False, repr=False)

    @cached_property
    def loss(self) -> Any:
        """The objective at the coefficients."""
        return self._loss()[()]

    @cached_property
    def loss_history(self) -> Host:
        """The objective before the first step and after each one."""
        return self._losses()

    @cached_property
    def gradient_norm(self) -> Any:
        """Norm of the proximal gradient at the coefficients."""
        return self._norm()[()]

    def with_arrays(self, convert: Callable[[Array], Array]) -> "FitResult":
        """The same fit with the coefficients and intercepts that `convert` makes of these."""
        return replace(self, coef=convert(self.coef), intercept=convert(self.intercept))

    def predict(self, X: Array) -> Array:
        """Predictions ``X @ coef + intercept``.

        Parameters
        ----------
        X : (..., m, d) array_like
            Observations in rows, where the coefficients live.

        Returns
        -------
        (..., m) or (..., m, k) array
            A prediction for each row.

        Raises
        ------
        ShapeError
            If X has not d columns.
        DeviceError
            If X and the coefficients live on different devices, or are Numba device arrays, which have
            no arithmetic: give them to ``cupy.asarray`` first.
        """
        return _predictions(X, self.coef, self.intercept, self._has_models)

    def score(self, X: Array, y: Array, sample_weight: Array | None = None) -> float:
        """Coefficient of determination: ``R² = 1 - sum(s (y - p)²) / sum(s (y - mean(y))²)``.

        Parameters
        ----------
        X : (..., m, d) array_like
            Observations in rows.
        y : (..., m) or (..., m, k) array_like
            What should have been predicted for each row.
        sample_weight : (..., m) array_like, optional
            Weight s of each row.

        Returns
        -------
        float
            The mean over targets and problems. A constant target counts 1 where it is met exactly, else 0.

        Raises
        ------
        ShapeError
            If y has not the shape of the predictions, or sample_weight has not a weight for each row.
        """
        return _determination(self.predict(X), y, sample_weight, self._has_models)


@takes_any_library
def _predictions(X: Array, coef: Array, intercept: Array, has_models: bool) -> Array:
    """``X @ coef + intercept``, where the coefficients live."""
    kind = common_kind(X=X, coef=coef)
    if kind == "numba":
        raise DeviceError("Numba device arrays have no arithmetic: fit and predict with cupy.asarray(X)")
    (X,) = as_arrays(kind, X)
    d = coef.shape[-2 if has_models else -1]
    if X.ndim < 2 or X.shape[-1] != d:
        raise ShapeError(
            f"X has shape {tuple(X.shape)}; needed is (..., m, {d}), a column for each coefficient"
        )
    if has_models:
        return X @ coef + intercept[..., None, :]
    return (X @ coef[..., None])[..., 0] + intercept[..., None]


@takes_any_library
def _determination(predictions: Array, y: Array, sample_weight: Array | None, has_models: bool) -> float:
    """R², as `FitResult.score` has it."""
    kind = common_kind(predictions=predictions, y=y, sample_weight=sample_weight)
    (y,) = as_arrays(kind, y)
    _checks.shape_is("y", tuple(y.shape), tuple(predictions.shape), "the shape of the predictions")
    # Squares and counts overflow float16, and integers cannot be subtracted safely.
    wide = np.result_type(predictions.dtype, y.dtype, np.float32)
    y, predictions = y.astype(wide), predictions.astype(wide)
    rows = -2 if has_models else -1
    weight = y * 0 + 1
    if sample_weight is not None:
        (sample_weight,) = as_arrays(kind, sample_weight)
        needed = tuple(y.shape[:-1]) if has_models else tuple(y.shape)
        _checks.shape_is("sample_weight", tuple(sample_weight.shape), needed, "one weight for each row of X")
        weight = weight * (sample_weight[..., None] if has_models else sample_weight)
    # Less the first row, a constant target is exactly zero, and so is its spread.
    shifted = y - (y[..., :1, :] if has_models else y[..., :1])
    mean = (weight * shifted).sum(axis=rows, keepdims=True) / weight.sum(axis=rows, keepdims=True)
    residual = (weight * (y - predictions) ** 2).sum(axis=rows)
    spread = (weight * (shifted - mean) ** 2).sum(axis=rows)
    constant = spread == 0
    ratio = residual / (spread + constant)
    return float((1.0 - (ratio * ~constant + (residual != 0) * constant)).mean())
