"""The choice of the penalties of lasso and elastic net, along paths of them on folds."""

from dataclasses import replace
from numbers import Integral, Number, Real
from typing import Any

import numpy as np
from sklearn.utils import check_scalar
from sklearn.utils.metadata_routing import _raise_for_params, _routing_enabled, process_routing

from ._base import OnDevices, checking_parameters
from ._observations import Observations, Validated, single_target
from ._splits import Path, Splits
from ._sweeps import Sweeps
from .coordinate import set_minimum

Host = np.ndarray[Any, Any]

EMPTY_ALPHAS = "alphas is empty; needed is at least one penalty to try"


class ChosenOnPaths(OnDevices):
    """``fit`` of the lasso and the elastic net along paths of penalties."""

    eps: float
    alphas: Any
    cv: Any
    fit_intercept: bool
    max_iter: int
    tol: float
    positive: bool

    @checking_parameters
    def fit(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> Any:
        """Choose the penalty, and fit the rows of X with it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations in rows.
        y : array-like of shape (n_samples,)
            The target.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weight s of each row, not negative, for the fits and for the errors. One for all changes nothing.
        **params : dict
            For the splitter, under scikit-learn's metadata routing.

        Returns
        -------
        estimator
            This object.

        Raises
        ------
        ValueError
            If shapes do not fit, y has several targets, X, y or the weights hold NaN or infinity, or there is
            no penalty to try.
        TypeError
            If X is sparse.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` sweeps were too few, on a fold or on all rows.
        """
        _raise_for_params(params, self, "fit")
        if isinstance(sample_weight, Number):
            sample_weight = None
        inputs = Validated.of(self, X, y, sample_weight)
        inputs = replace(inputs, y=single_target(inputs.y, type(self).__name__))
        groups = process_routing(self, "fit", **params).splitter.split if _routing_enabled() else {}
        splits = Splits.read(inputs, self.cv, self.fit_intercept, groups=groups)
        ratios = np.atleast_1d(np.asarray(getattr(self, "l1_ratio", 1.0), np.float64))
        if not ratios.size:
            raise ValueError("l1_ratio is empty; needed is at least one ratio to try")
        alphas = self._grids(splits.whole, ratios)
        errors = np.stack([self._errors(splits, *one) for one in zip(alphas, ratios.tolist(), strict=True)])
        means = errors.mean(axis=2)
        ratio, alpha = np.unravel_index(np.argmin(means), means.shape)
        self.alpha_ = alphas[ratio, alpha]
        if hasattr(self, "l1_ratio"):
            self.l1_ratio_ = ratios[ratio]
        send = inputs.place.send
        self.mse_path_ = send(np.squeeze(errors), np.float64)
        is_shared = not isinstance(self.alphas, Integral) or len(ratios) == 1
        self.alphas_ = send(alphas[0] if is_shared else alphas, np.float64)
        l1, l2 = self.alpha_ * ratios[[ratio]], self.alpha_ * (1 - ratios[[ratio]])
        set_minimum(self, splits.whole, self._sweeps, l1, l2)
        return self

    @property
    def _sweeps(self) -> Sweeps:
        return Sweeps(self.max_iter, self.tol, self.positive)

    def _grids(self, whole: Observations, ratios: Host) -> Host:
        """Penalties from the largest on, for each l1_ratio."""
        if not isinstance(self.alphas, Integral):
            for i, alpha in enumerate(self.alphas):
                check_scalar(alpha, f"alphas[{i}]", target_type=Real, min_val=0.0, include_boundaries="left")
            if not len(self.alphas):
                raise ValueError(EMPTY_ALPHAS)
            return np.tile(np.sort(np.asarray(self.alphas, np.float64))[::-1], (len(ratios), 1))
        if not ratios.all():
            raise ValueError(
                "Automatic alpha grid generation is not supported for l1_ratio=0. Please supply a grid by "
                "providing your estimator with the appropriate `alphas=` argument."
            )
        slopes = whole.quadratic.linear[0]
        # From this penalty on all coefficients are 0.
        largest = max(0.0, float(slopes.max())) if self.positive else float(np.abs(slopes).max())
        least = float(np.finfo(np.float64).resolution)
        tops = largest / ratios
        return np.stack(
            [
                np.geomspace(top, top * self.eps, self.alphas)
                if top > least
                else np.full(int(self.alphas), least)
                for top in tops.tolist()
            ]
        )

    def _errors(self, splits: Splits, alphas: Host, ratio: float) -> Host:
        """Mean squared errors ``(alphas, F)`` on the rows held out."""
        found = self._sweeps.minimise(splits.train, alphas * ratio, alphas * (1 - ratio), is_path=True)
        found.warn()
        return np.concatenate(list(splits.errors(Path(found.coef), len(alphas)))).T
