"""Linear regression by gradient steps."""

import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model._base import LinearModel
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from ..linreg.fit import linreg_fit
from ..linreg.result import FitResult
from ._base import OnDevices, checking_parameters
from ._means import Means
from ._observations import Observations, Validated, set_coefficients, start_from
from ._stopping import EarlyStopping

Host = np.ndarray[Any, Any]

LARGEST_SEED = np.iinfo(np.int32).max


class GDRegressor(OnDevices, MultiOutputMixin, RegressorMixin, LinearModel):  # type: ignore[misc]
    """Linear regression by gradient descent: fused passes over X, or the same steps from co-moments.

    Minimises, with ``W = sum(s)``::

        sum_i s_i (x_i·w + b - y_i)² / (2 W) + alpha l1_ratio |w|_1 + alpha (1 - l1_ratio) / 2 |w|²

    A step goes along the gradient; the penalty on absolute values acts through its proximal step. X counts
    less its means, without a centred copy, so that b needs no steps of its own.

    Parameters
    ----------
    alpha : float, default=0.0001
        Penalty, not negative.
    l1_ratio : float, default=0.0
        Share of the penalty on the absolute values, from 0 to 1.
    fit_intercept : bool, default=True
        Whether to fit b, which is not penalised.
    learning_rate : float or "auto", default="auto"
        Step length. Descent converges below ``2 / L`` with L the largest curvature of the objective;
        ``"auto"`` is ``1 / L``, and less for batches, the more the rows differ.
    max_iter : int, default=1000
        Most steps; epochs where there is a `batch_size`.
    tol : float, default=1e-6
        Steps end when the norm of the proximal gradient is at most `tol` times the first one; 0 takes all.
        With `early_stopping` also the least gain of a validation score that counts.
    batch_size : int, default=None
        Rows of a step, in a random order that takes each row once in an epoch; None takes all rows at once.
    momentum : float, default=0.0
        Share of the last step's velocity that the next one keeps, less than 1.
    nesterov : bool, default=False
        Whether to look ahead along the velocity.
    early_stopping : bool, default=False
        Whether to hold out rows, and to end when their R² has not grown for `n_iter_no_change` steps.
    validation_fraction : float, default=0.1
        Share of the rows that are held out.
    n_iter_no_change : int, default=5
        Steps (epochs) without a gain before `early_stopping` ends the fit.
    warm_start : bool, default=False
        Whether to begin where the last call ended.
    random_state : int, RandomState or None, default=None
        Order of the rows in batches, and the choice of those held out.

    Attributes
    ----------
    coef_ : array of shape (n_features,) or (n_targets, n_features)
        Coefficients, in the dtype of X (float64 for integers), where X lives.
    intercept_ : float or array of shape (n_targets,)
        Intercept; 0.0 without one.
    n_iter_ : int
        Steps taken; epochs where there is a `batch_size`.
    learning_rate_ : float
        Step length used.
    loss_curve_ : array of shape (n_iter_ + 1,) or (n_iter_ + 1, n_targets)
        The objective, penalties included, from the start on.
    validation_scores_ : list of float
        R² on the rows held out after each step, with `early_stopping`.
    best_validation_score_ : float
        The largest of them; NaN where no step was needed.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has names that are all strings.

    See Also
    --------
    Ridge, ElasticNet : The minimum itself.
    vecprod_gpu.linreg_fit : Whole batches of descents, and a callback.

    Notes
    -----
    Without batches and momentum the steps are taken on the co-moments, which are read once, however many
    steps there are; with momentum, and for more than 4096 columns or no more rows than columns, each step is
    one fused pass over X. Sparse X is refused.

    scikit-learn's SGDRegressor takes a step for each single row, at rates that fall by schedule, and has
    other losses.

    References
    ----------
    .. [1] I. Daubechies, M. Defrise and C. De Mol, "An iterative thresholding algorithm for linear
       inverse problems with a sparsity constraint", Comm. Pure Appl. Math. 57 (2004).

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu.sklearn import GDRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 3))
    >>> y = X @ [1.0, -2.0, 0.0] + 3
    >>> model = GDRegressor().fit(X, y)
    >>> model.coef_.round(2) + 0.0, model.intercept_.round(2)
    (array([ 1., -2.,  0.]), np.float64(3.0))
    >>> len(model.loss_curve_) == model.n_iter_ + 1
    True
    >>> chunks = GDRegressor(batch_size=20, random_state=0)
    >>> for _ in range(20):
    ...     for start in range(0, 200, 50):
    ...         chunks = chunks.partial_fit(X[start:start + 50], y[start:start + 50])
    >>> chunks.coef_.round(1) + 0.0
    array([ 1., -2.,  0.])
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012 - scikit-learn reads it off the class
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "fit_intercept": ["boolean"],
        "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterov": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        alpha: float = 0.0001,
        *,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        learning_rate: Any = "auto",
        max_iter: int = 1000,
        tol: float = 1e-6,
        batch_size: int | None = None,
        momentum: float = 0.0,
        nesterov: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        random_state: Any = None,
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.tol = tol
        self.batch_size = batch_size
        self.momentum = momentum
        self.nesterov = nesterov
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state

    @checking_parameters
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "GDRegressor":
        """Descend on the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations in rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            One target, or several.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weight s of each row, not negative. In batches a row comes once in an epoch, and s times as
            strongly.

        Returns
        -------
        GDRegressor
            This object.

        Raises
        ------
        ValueError
            If shapes do not fit, those of a warm start's last fit included, or X, y or the weights hold NaN
            or infinity.
        TypeError
            If X is sparse.
        DivergenceError
            If the descent runs away; the message names the largest stable learning rate.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` steps were too few for `tol`.
        """
        inputs = Validated.of(self, X, y, sample_weight)
        random = check_random_state(self.random_state)
        stopping = None
        if self.early_stopping:
            inputs, held_out = inputs.split(self.validation_fraction, random)
            stopping = EarlyStopping(held_out, patience=self.n_iter_no_change, least_gain=self.tol)
        observations = Observations.of(inputs, self.fit_intercept)
        goes_on = self.warm_start and hasattr(self, "coef_")
        start = start_from(self, observations) if goes_on else None
        if stopping is not None:
            stopping.watch(observations)
        found = self._descend(observations, start, random, self.max_iter, self.tol, stopping)
        self._means = Means.of(observations)
        self._set(observations, found, self._means)
        self.loss_curve_ = inputs.place.send(found.loss_history, np.float64)
        if stopping is not None:
            self.validation_scores_ = stopping.scores
            self.best_validation_score_ = max(stopping.scores, default=float("nan"))
        if self.tol and not found.converged and not (stopping is not None and stopping.has_stopped):
            warnings.warn(
                f"the descent has not met tol={self.tol:g} within max_iter={self.max_iter}: "
                "allow more steps, or scale the columns alike",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    @checking_parameters
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "GDRegressor":
        """Take one step, or one epoch of batches, on some rows.

        Unlike that of what is fitted from co-moments this depends on the order of the chunks: each step
        follows the gradient of its own chunk, centred on its own means. The intercept is that of the means
        of all rows since the last `fit`, its own included.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations in rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            As many targets as before.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        GDRegressor
            This object.

        Raises
        ------
        ValueError
            As `fit`; and with `early_stopping`.
        DivergenceError
            If a single step shows that the descent runs away.
        """
        if self.early_stopping:
            raise ValueError("partial_fit takes one step, and so knows no early_stopping")
        is_first = not hasattr(self, "coef_")
        inputs = Validated.of(self, X, y, sample_weight, is_first=is_first)
        observations = Observations.of(inputs, self.fit_intercept)
        start = None if is_first else start_from(self, observations)
        found = self._descend(observations, start, check_random_state(self.random_state), 1, 0.0, None)
        means = Means.of(observations)
        self._means = means if is_first else self._means.merge(means)
        self._set(observations, found, self._means)
        return self

    def _descend(
        self,
        observations: Observations,
        start: Host | None,
        random: Any,
        max_iter: int,
        tol: float,
        callback: Any,
    ) -> FitResult:
        """The descent that the parameters ask for, from coefficients ``(d, k)`` or zeros."""
        inputs, moments = observations.inputs, observations.given.given_moments
        takes_batches = self.batch_size is not None
        is_plain = moments is not None and not takes_batches and not self.momentum
        data: Any = (moments,) if is_plain else inputs.arrays[:2]
        return self._fitted(
            inputs,
            data,
            solver="sgd" if takes_batches else "comoments" if is_plain else "gd",
            sample_weight=None if is_plain else inputs.arrays[2],
            w0=None if start is None else _as_start(observations, start, on_host=is_plain),
            random_state=int(random.randint(LARGEST_SEED)) if takes_batches else None,
            max_iter=max_iter,
            tol=tol,
            callback=callback,
        )

    def _fitted(self, inputs: Validated, data: tuple[Any, ...], **how: Any) -> FitResult:
        with inputs.telling_of_nan():
            return linreg_fit(
                *data,
                learning_rate=self.learning_rate,
                l1=self.alpha * self.l1_ratio,
                l2=self.alpha * (1 - self.l1_ratio),
                fit_intercept=self.fit_intercept,
                batch_size=self.batch_size,
                momentum=self.momentum,
                nesterov=self.nesterov and self.momentum > 0,
                **how,
            )

    def _set(self, observations: Observations, found: FitResult, means: Means) -> None:
        """Set what every fit leaves behind."""
        coef = observations.host(found.coef)
        self.n_iter_, self.learning_rate_ = found.n_iter, float(found.learning_rate)
        set_coefficients(self, observations.inputs, coef, means.intercept(coef), is_flat=False)


def _as_start(observations: Observations, coef: Host, *, on_host: bool) -> Any:
    """Coefficients as the core takes them beside the data."""
    place, models = observations.inputs.place, observations.given.layout.models
    shaped = np.ascontiguousarray(coef.reshape(observations.features, *models))
    return shaped if on_host else place.bring(place.send(shaped, observations.inputs.dtype))
