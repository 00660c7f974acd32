"""The lasso and the elastic net, by coordinate descent on co-moments."""

import warnings
from numbers import Number
from typing import Any

import numpy as np
from sklearn import linear_model

from ..errors import NotFiniteError
from ._base import OnDevices, checking_parameters
from ._observations import Observations, Validated, set_coefficients, start_from
from ._sweeps import Minimum, Sweeps

Host = np.ndarray[Any, Any]


NOT_FINITE = (
    "Coordinate descent iterations resulted in non-finite parameter values. The input data may contain large "
    "values and need to be preprocessed."
)


class _CoordinateDescent(OnDevices):
    """``fit`` of the lasso and the elastic net."""

    alpha: float
    l1_ratio: float
    fit_intercept: bool
    max_iter: int | None
    tol: float
    warm_start: bool
    positive: bool
    precompute: Any
    coef_: Any

    @checking_parameters
    def fit(self, X: Any, y: Any, sample_weight: Any = None, check_input: bool = True) -> Any:
        """Fit the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations in rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            One target, or several, each fitted by itself.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weight s of each row, not negative. One for all changes nothing.
        check_input : bool, default=True
            Without effect: the checks copy nothing.

        Returns
        -------
        estimator
            This object.

        Raises
        ------
        ValueError
            If shapes do not fit, those of a warm start's last fit included, X, y or the weights hold NaN
            or infinity, or a given Gram matrix is not that of X.
        TypeError
            If X is sparse.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` sweeps were too few.
        """
        if self.alpha == 0:
            warnings.warn(
                "With alpha=0, this algorithm does not converge well. You are advised to use the "
                "LinearRegression estimator",
                stacklevel=2,
            )
        if isinstance(sample_weight, Number):
            sample_weight = None
        observations = Observations.of(Validated.of(self, X, y, sample_weight), self.fit_intercept)
        if hasattr(self.precompute, "__array__"):
            self._check_gram(observations)
        l1, l2 = np.full((2, observations.targets), [[self.l1_ratio], [1 - self.l1_ratio]]) * self.alpha
        sweeps = Sweeps(self.max_iter, self.tol, self.positive)
        try:
            set_minimum(self, observations, sweeps, l1, l2, self._start(observations))
        except NotFiniteError as error:  # the squares of finite numbers
            raise ValueError(NOT_FINITE) from error
        return self

    def _start(self, observations: Observations) -> Host | None:
        """Where a warm start begins, ``(1, d, k)``."""
        if not self.warm_start or not hasattr(self, "coef_"):
            return None
        return np.ascontiguousarray(start_from(self, observations)[np.newaxis])

    def _check_gram(self, observations: Observations) -> None:
        """A Gram matrix of the caller's is not needed, but a wrong one tells of a mistake.

        As in scikit-learn it is that of rows whose weights add up to their number.
        """
        if self.fit_intercept and not np.allclose(observations.quadratic.x_mean, 0.0):
            warnings.warn(
                "Gram matrix was provided but X was centered to fit intercept: recomputing Gram matrix.",
                stacklevel=4,
            )
            return
        gram = observations.given.n * observations.quadratic.hessian[0]
        rtol = 1e-4 if observations.inputs.dtype == np.float32 else 1e-7
        given = np.asarray(self.precompute, np.float64)
        if given.shape != gram.shape or not np.allclose(given, gram, rtol=rtol, atol=1e-5):
            raise ValueError(
                f"Gram matrix passed in via 'precompute', of shape {given.shape}, did not pass validation: "
                "it is not that of X"
            )


def set_minimum(
    estimator: Any, observations: Observations, sweeps: Sweeps, l1: Host, l2: Host, start: Host | None = None
) -> None:
    """Fit with penalties ``(k,)`` for k targets, and set all that an estimator tells of it."""
    found = sweeps.minimise(observations.quadratic, l1, l2, start)
    if not np.isfinite(found.coef).all():
        raise ValueError(NOT_FINITE)
    found.warn()
    set_found(estimator, observations, found)


def set_found(estimator: Any, observations: Observations, found: Minimum) -> None:
    """Set all that an estimator tells of a minimum."""
    inputs, quadratic = observations.inputs, observations.quadratic
    is_single = observations.targets == 1
    estimator.n_iter_ = int(found.n_iter[0, 0]) if is_single else found.n_iter[0].tolist()
    estimator.dual_gap_ = inputs.send(found.gap[0, 0] if is_single else found.gap[0])
    set_coefficients(estimator, inputs, found.coef[0], quadratic.intercept(found.coef)[0], is_flat=True)


class ElasticNet(_CoordinateDescent, linear_model.ElasticNet):  # type: ignore[misc]
    """Least squares with penalties on coefficients and their squares; one read of X.

    Minimises, with ``W = sum(s)``::

        sum_i s_i (x_i·w + b - y_i)² / (2 W) + alpha l1_ratio |w|_1 + alpha (1 - l1_ratio) / 2 |w|²

    Parameters
    ----------
    alpha : float, default=1.0
        Penalty, not negative.
    l1_ratio : float, default=0.5
        Share of the penalty on the absolute values, from 0 to 1.
    fit_intercept : bool, default=True
        Whether to fit b, which is not penalised.
    precompute : bool or array-like of shape (n_features, n_features), default=False
        Without effect: the Gram matrix is always computed. One that is given is compared with it.
    max_iter : int or None, default=1000
        Most sweeps over the coefficients, those over the nonzero ones alone included; None is 1000.
    copy_X : bool, default=True
        Without effect: X is neither copied nor changed.
    tol : float, default=1e-4
        Sweeps end when the duality gap is at most `tol` times the mean square of y.
    warm_start : bool, default=False
        Whether to begin where the last call of fit ended.
    positive : bool, default=False
        Whether coefficients must not be negative.
    random_state, selection : default=None, "cyclic"
        Without effect: coefficients take turns in their order.

    Attributes
    ----------
    coef_ : array of shape (n_features,) or (n_targets, n_features)
        Coefficients, in the dtype of X (float64 for integers), where X lives.
    sparse_coef_ : sparse matrix of shape (n_features, 1) or (n_targets, n_features)
        The same.
    intercept_ : float or array of shape (n_targets,)
        Intercept; 0.0 without one.
    n_iter_ : int or list of int
        Sweeps, of each target.
    dual_gap_ : float or array of shape (n_targets,)
        A bound on how far the objective is above its minimum.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has names that are all strings.

    See Also
    --------
    ElasticNetCV : Chooses alpha and l1_ratio by cross-validation.
    Lasso : With l1_ratio 1.

    Notes
    -----
    The co-moments, (n_features + n_targets)² numbers, are computed where X lives; a sweep over them costs
    n_features² multiplications on the host, however many rows there are. Sparse X is refused: centred sums
    of outer products would be dense.

    References
    ----------
    .. [1] J. Friedman, T. Hastie, R. Tibshirani, "Regularization Paths for Generalized Linear Models via
       Coordinate Descent", J. Stat. Softw. 33 (2010).

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu.sklearn import ElasticNet
    >>> X = np.array([[0.0, 2], [1, 0], [2, 1], [3, 3]])
    >>> y = np.array([0.0, 1, 2, 3.2])
    >>> model = ElasticNet(alpha=0.1).fit(X, y)
    >>> model.coef_.round(3), model.intercept_.round(3)
    (array([0.969, 0.031]), np.float64(0.05))
    """


class Lasso(_CoordinateDescent, linear_model.Lasso):  # type: ignore[misc]
    """Least squares with a penalty on the absolute values of the coefficients; one read of X.

    Minimises ``sum_i s_i (x_i·w + b - y_i)² / (2 W) + alpha |w|_1`` with ``W = sum(s)``.

    Parameters
    ----------
    alpha : float, default=1.0
        Penalty, not negative.
    fit_intercept : bool, default=True
        Whether to fit b, which is not penalised.
    precompute : bool or array-like of shape (n_features, n_features), default=False
        Without effect: the Gram matrix is always computed. One that is given is compared with it.
    copy_X : bool, default=True
        Without effect: X is neither copied nor changed.
    max_iter : int or None, default=1000
        Most sweeps over the coefficients, those over the nonzero ones alone included; None is 1000.
    tol : float, default=1e-4
        Sweeps end when the duality gap is at most `tol` times the mean square of y.
    warm_start : bool, default=False
        Whether to begin where the last call of fit ended.
    positive : bool, default=False
        Whether coefficients must not be negative.
    random_state, selection : default=None, "cyclic"
        Without effect: coefficients take turns in their order.

    Attributes
    ----------
    coef_ : array of shape (n_features,) or (n_targets, n_features)
        Coefficients, in the dtype of X (float64 for integers), where X lives.
    sparse_coef_ : sparse matrix of shape (n_features, 1) or (n_targets, n_features)
        The same.
    intercept_ : float or array of shape (n_targets,)
        Intercept; 0.0 without one.
    n_iter_ : int or list of int
        Sweeps, of each target.
    dual_gap_ : float or array of shape (n_targets,)
        A bound on how far the objective is above its minimum.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has names that are all strings.

    See Also
    --------
    LassoCV : Chooses alpha by cross-validation.
    ElasticNet : With a penalty on the squares as well; its notes hold here.

    References
    ----------
    .. [1] R. Tibshirani, "Regression Shrinkage and Selection via the Lasso", J. R. Stat. Soc. B 58 (1996).

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu.sklearn import Lasso
    >>> X = np.array([[0.0, 2], [1, 0], [2, 1], [3, 3]])
    >>> y = np.array([0.0, 1, 2, 3.2])
    >>> model = Lasso(alpha=0.1).fit(X, y)
    >>> model.coef_.round(3), model.intercept_.round(3), model.predict([[4, 0]]).round(3)
    (array([0.98, 0.  ]), np.float64(0.08), array([4.]))
    """
