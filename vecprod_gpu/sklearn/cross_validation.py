"""Ridge, lasso and elastic net with penalties chosen by cross-validation, in one read of X."""

import warnings
from inspect import signature
from numbers import Real
from typing import Any

import numpy as np
from sklearn import linear_model
from sklearn.utils import check_scalar
from sklearn.utils.metadata_routing import _raise_for_params, _routing_enabled, process_routing

from ._base import OnDevices, checking_parameters
from ._observations import Validated, set_coefficients
from ._path_choice import EMPTY_ALPHAS, ChosenOnPaths
from ._ridge_choice import Scoring, choose_by_folds, choose_by_rows
from .linear import Ridge

Host = np.ndarray[Any, Any]


class RidgeCV(OnDevices, linear_model.RidgeCV):  # type: ignore[misc]
    """Ridge regression whose penalty is chosen by cross-validation, from co-moments.

    Minimises ``sum_i s_i (x_i·w + b - y_i)² + alpha |w|²`` for the alpha that does best on rows held out.

    Parameters
    ----------
    alphas : array-like of shape (n_alphas,), default=(0.1, 1.0, 10.0)
        Penalties to try; more than 0 where `cv` is None, else not negative.
    fit_intercept : bool, default=True
        Whether to fit b, which is not penalised.
    scoring : str or callable, default=None
        A scorer. None is the negative mean squared error where `cv` is None, else R².
    cv : int, splitter or iterable, default=None
        Folds, as scikit-learn's `check_cv` takes them; None leaves out each row in turn.
    gcv_mode : default=None
        Without effect.
    store_cv_results : bool, default=False
        Whether to keep ``cv_results_``; with `cv` None only.
    alpha_per_target : bool, default=False
        Whether each target has a penalty of its own; with `cv` None only.

    Attributes
    ----------
    cv_results_ : array of shape (n_samples, n_alphas) or (n_samples, n_targets, n_alphas)
        The weighted squared error on each row left out, or what was predicted for it where there is a
        `scoring`.
    coef_ : array of shape (n_features,) or (n_targets, n_features)
        Coefficients, in the dtype of X (float64 for integers), where X lives.
    intercept_ : float or array of shape (n_targets,)
        Intercept; 0.0 without one.
    alpha_ : float or array of shape (n_targets,)
        The penalty chosen.
    best_score_ : float or array of shape (n_targets,)
        Its score.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has names that are all strings.

    See Also
    --------
    Ridge : With a given penalty.
    vecprod_gpu.linreg_search : Grids of all penalties, learning rates and iteration counts.

    Notes
    -----
    On folds X is read once, however many penalties there are: the error on rows held out is a quadratic form
    of the coefficients, made of the co-moments of those rows. Other scorings than R² and the (root) mean
    squared error take predictions, and so a read for each penalty. Where metadata routing asks for weights in
    the fits but not in the scores, X is read twice.

    Rows left out one by one take a second read of X, for the leverage of each. Where X has no more rows than
    columns, the products of its rows are sent to the host.

    Sparse X is refused: centred sums of outer products would be dense.

    References
    ----------
    .. [1] R. M. Rifkin, R. A. Lippert, "Notes on Regularized Least Squares", MIT-CSAIL-TR-2007-025.

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu.sklearn import RidgeCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 3))
    >>> y = X @ [1.0, 0.5, 0.0] + rng.normal(size=60)
    >>> model = RidgeCV(alphas=np.geomspace(0.1, 100, 4)).fit(X, y)
    >>> float(model.alpha_), model.coef_.round(2)
    (1.0, array([0.86, 0.66, 0.4 ]))
    >>> float(RidgeCV(alphas=np.geomspace(0.1, 100, 4), cv=5).fit(X, y).alpha_)
    10.0
    """

    @checking_parameters
    def fit(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> "RidgeCV":
        """Choose the penalty, and fit the rows of X with it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations in rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            One target, or several, whose scores are averaged.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weight s of each row, not negative; or one for all.
        **params : dict
            For the scorer and the splitter, under scikit-learn's metadata routing.

        Returns
        -------
        RidgeCV
            This object.

        Raises
        ------
        ValueError
            If shapes do not fit, X, y or the weights hold NaN or infinity, parameters exclude each other, or
            there is no penalty to try.
        TypeError
            If X is sparse.
        """
        _raise_for_params(params, self, "fit")
        alphas = self._checked_alphas()
        inputs = Validated.of(self, X, y, sample_weight)
        scorer = self._get_scorer()
        score_params, groups = self._routed(inputs, scorer, params)
        scoring = Scoring(self.scoring, scorer, score_params)
        if self.cv is None:
            choice = choose_by_rows(
                inputs,
                alphas,
                self.fit_intercept,
                scoring,
                per_target=self.alpha_per_target,
                stores=self.store_cv_results,
            )
        else:
            self._require_folds_alone()
            model = Ridge(fit_intercept=self.fit_intercept)
            model.n_features_in_ = self.n_features_in_
            choice = choose_by_folds(
                inputs, alphas, self.fit_intercept, scoring, cv=self.cv, groups=groups, model=model
            )
        send = inputs.place.send
        self.alpha_, self.best_score_ = (
            send(one, np.float64) if np.ndim(one) else one for one in (choice.alpha, choice.score)
        )
        if choice.values is not None:
            self.cv_results_ = inputs.send(choice.values[:, 0] if inputs.y.ndim == 1 else choice.values)
        set_coefficients(self, inputs, choice.coef, choice.intercept, is_flat=True)
        return self

    def _checked_alphas(self) -> Host:
        """The penalties; of rows left out one by one they must not be 0."""
        alphas = list(self.alphas) if np.ndim(self.alphas) else [self.alphas]
        if not alphas:
            raise ValueError(EMPTY_ALPHAS)
        boundaries = "neither" if self.cv is None else "left"
        for i, alpha in enumerate(alphas):
            name = "alphas" if len(alphas) == 1 else f"alphas[{i}]"
            check_scalar(alpha, name, target_type=Real, min_val=0.0, include_boundaries=boundaries)
        return np.array(alphas, np.float64)

    def _require_folds_alone(self) -> None:
        for name in ("store_cv_results", "alpha_per_target"):
            if getattr(self, name):
                raise ValueError(f"cv!=None and {name}=True are incompatible")

    def _routed(
        self, inputs: Validated, scorer: Any, params: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the scorer and the splitter are given."""
        weights = {} if inputs.sample_weight is None else {"sample_weight": inputs.sample_weight}
        if _routing_enabled():
            routed = process_routing(self, "fit", **params, **weights)
            return routed.scorer.score, routed.splitter.split
        if weights and self.cv is not None and not _accepts_weights(scorer):
            warnings.warn(
                f"The scoring {scorer} does not support sample_weight: the weights count in the fits alone",
                stacklevel=4,
            )
            weights = {}
        return weights, {}


def _accepts_weights(scorer: Any) -> bool:
    """Whether a scorer takes weights without being asked."""
    accepts = getattr(scorer, "_accept_sample_weight", None)
    return "sample_weight" in signature(scorer).parameters if accepts is None else bool(accepts())


class LassoCV(ChosenOnPaths, linear_model.LassoCV):  # type: ignore[misc]
    """The lasso whose penalty is chosen by cross-validation, in one read of X.

    Minimises ``sum_i s_i (x_i·w + b - y_i)² / (2 W) + alpha |w|_1``, with ``W = sum(s)``, for the alpha of
    the least mean squared error on rows held out.

    Parameters
    ----------
    eps : float, default=1e-3
        The smallest alpha of an automatic grid, over the largest.
    alphas : int or array-like of shape (n_alphas,), default=100
        Penalties to try, or how many; these are spread evenly by their logarithms.
    fit_intercept : bool, default=True
        Whether to fit b, which is not penalised.
    precompute : default="auto"
        Without effect: Gram matrices are always computed.
    max_iter : int, default=1000
        Most sweeps over the coefficients.
    tol : float, default=1e-4
        Sweeps end when the duality gap is at most `tol` times the mean square of y.
    copy_X : bool, default=True
        Without effect: X is neither copied nor changed.
    cv : int, splitter or iterable, default=None
        Folds, as scikit-learn's `check_cv` takes them; None is five.
    verbose, n_jobs : default=False, None
        Without effect.
    positive : bool, default=False
        Whether coefficients must not be negative.
    random_state, selection : default=None, "cyclic"
        Without effect: coefficients take turns in their order.

    Attributes
    ----------
    alpha_ : float
        The penalty chosen.
    coef_ : array of shape (n_features,)
        Coefficients, in the dtype of X (float64 for integers), where X lives.
    intercept_ : float
        Intercept; 0.0 without one.
    mse_path_ : array of shape (n_alphas, n_folds)
        Mean squared errors on the rows held out.
    alphas_ : array of shape (n_alphas,)
        Penalties tried, from the largest on.
    dual_gap_ : float
        A bound on how far the objective of the final fit is above its minimum.
    n_iter_ : int
        Sweeps of the final fit.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has names that are all strings.

    See Also
    --------
    Lasso : With a given penalty.
    vecprod_gpu.linreg_search : Grids of all penalties, and of several targets.

    Notes
    -----
    X is read once: the co-moments of each fold give all fits, and the error on rows held out is a quadratic
    form of the coefficients. Only where a fit is nearly exact rows held out are read again. Sparse X is
    refused: centred sums of outer products would be dense.

    References
    ----------
    .. [1] J. Friedman, T. Hastie, R. Tibshirani, "Regularization Paths for Generalized Linear Models via
       Coordinate Descent", J. Stat. Softw. 33 (2010).

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu.sklearn import LassoCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 4))
    >>> y = X @ [1.0, 0.5, 0.0, 0.0] + rng.normal(size=100)
    >>> model = LassoCV(cv=5).fit(X, y)
    >>> round(float(model.alpha_), 3), model.coef_.round(2) + 0.0, model.mse_path_.shape
    (0.039, array([ 0.88,  0.64,  0.02, -0.05]), (100, 5))
    """


class ElasticNetCV(ChosenOnPaths, linear_model.ElasticNetCV):  # type: ignore[misc]
    """The elastic net whose penalties are chosen by cross-validation, in one read of X.

    Minimises, with ``W = sum(s)``, for the alpha and the l1_ratio of the least mean squared error on rows
    held out::

        sum_i s_i (x_i·w + b - y_i)² / (2 W) + alpha l1_ratio |w|_1 + alpha (1 - l1_ratio) / 2 |w|²

    Parameters
    ----------
    l1_ratio : float or array-like of shape (n_l1_ratio,), default=0.5
        Shares of the penalty on the absolute values to try, from 0 to 1.
    eps : float, default=1e-3
        The smallest alpha of an automatic grid, over the largest.
    alphas : int or array-like of shape (n_alphas,), default=100
        Penalties to try, or how many for each l1_ratio; these are spread evenly by their logarithms.
    fit_intercept : bool, default=True
        Whether to fit b, which is not penalised.
    precompute : default="auto"
        Without effect: Gram matrices are always computed.
    max_iter : int, default=1000
        Most sweeps over the coefficients.
    tol : float, default=1e-4
        Sweeps end when the duality gap is at most `tol` times the mean square of y.
    cv : int, splitter or iterable, default=None
        Folds, as scikit-learn's `check_cv` takes them; None is five.
    copy_X : bool, default=True
        Without effect: X is neither copied nor changed.
    verbose, n_jobs : default=0, None
        Without effect.
    positive : bool, default=False
        Whether coefficients must not be negative.
    random_state, selection : default=None, "cyclic"
        Without effect: coefficients take turns in their order.

    Attributes
    ----------
    alpha_, l1_ratio_ : float
        The penalty and share chosen.
    coef_ : array of shape (n_features,)
        Coefficients, in the dtype of X (float64 for integers), where X lives.
    intercept_ : float
        Intercept; 0.0 without one.
    mse_path_ : array of shape (n_l1_ratio, n_alphas, n_folds) or (n_alphas, n_folds)
        Mean squared errors on the rows held out.
    alphas_ : array of shape (n_alphas,) or (n_l1_ratio, n_alphas)
        Penalties tried, from the largest on.
    dual_gap_ : float
        A bound on how far the objective of the final fit is above its minimum.
    n_iter_ : int
        Sweeps of the final fit.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has names that are all strings.

    See Also
    --------
    ElasticNet : With given penalties.
    LassoCV : With an l1_ratio of 1; its notes hold here.

    References
    ----------
    .. [1] H. Zou, T. Hastie, "Regularization and variable selection via the elastic net", J. R. Stat.
       Soc. B 67 (2005).

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu.sklearn import ElasticNetCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 4))
    >>> y = X @ [1.0, 0.5, 0.0, 0.0] + rng.normal(size=100)
    >>> model = ElasticNetCV(l1_ratio=[0.2, 0.9], cv=5).fit(X, y)
    >>> float(model.l1_ratio_), model.mse_path_.shape
    (0.9, (2, 100, 5))
    """
