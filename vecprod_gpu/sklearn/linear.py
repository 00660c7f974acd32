"""Least squares and ridge regression from co-moments."""

from typing import Any

import numpy as np
from sklearn import linear_model

from ..linreg.moments import CoMoments
from ._arrays import Place
from ._base import OnDevices, checking_parameters
from ._closed import Solution, least_squares, nonnegative_ridge, ridge
from ._observations import Observations, Validated, set_coefficients

Host = np.ndarray[Any, Any]


class _ByCoMoments(OnDevices):
    """``fit`` and ``partial_fit`` of what is fitted from co-moments in closed form."""

    fit_intercept: bool
    _co_moments: CoMoments | None

    def _fit_all(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Fit rows that are all there."""
        observations = Observations.of(Validated.of(self, X, y, sample_weight), self.fit_intercept)
        self._fit(observations)
        self._co_moments = observations.kept()

    def _fit_more(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Fit rows together with those of earlier calls."""
        is_first = not hasattr(self, "coef_")
        moments = CoMoments() if is_first else self._co_moments
        if moments is None:
            raise ValueError(
                f"this {type(self).__name__} was fitted to so many columns that no co-moments were kept: "
                "give the first rows to partial_fit, too"
            )
        inputs = Validated.of(self, X, y, sample_weight, is_first=is_first)
        with inputs.telling_of_nan():
            moments.update(*inputs.arrays)
        self._co_moments = moments
        self._fit(Observations.of_moments(inputs, moments, self.fit_intercept))

    def _fit(self, observations: Observations) -> None:
        raise NotImplementedError


class LinearRegression(_ByCoMoments, linear_model.LinearRegression):  # type: ignore[misc]
    """Ordinary least squares, from co-moments in one read of X.

    Minimises ``sum_i s_i (x_i·w + b - y_i)²``; of several solutions it takes the one of least norm.

    Parameters
    ----------
    fit_intercept : bool, default=True
        Whether to fit b.
    copy_X : bool, default=True
        Without effect: X is neither copied nor changed.
    tol : float, default=1e-6
        Singular values of the centred X up to `tol` times the largest count as zero.
    n_jobs : int, default=None
        Without effect: threads share the rows.
    positive : bool, default=False
        Whether coefficients must not be negative.

    Attributes
    ----------
    coef_ : array of shape (n_features,) or (n_targets, n_features)
        Coefficients, in the dtype of X (float64 for integers), where X lives.
    intercept_ : float or array of shape (n_targets,)
        Intercept; 0.0 without one.
    rank_ : int
        Singular values that count; not with `positive`.
    singular_ : array of shape (min(n_samples, n_features),)
        Singular values of the weighted and centred X, the largest first; not with `positive`.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has names that are all strings.

    See Also
    --------
    Ridge : With a penalty on the squares of the coefficients.
    vecprod_gpu.linreg_fit : Whole batches of regressions, and every solver.

    Notes
    -----
    Normal equations are solved by Cholesky factors where they keep ten digits, that is for a scaled Gram
    matrix of a condition number up to 4.5e5. Else, and where X has no more rows than columns, it is the
    singular values of a QR factor of the data, for one more read of X; on a GPU it is copied to the host for
    that, part by part.

    A fitted model keeps the co-moments that `partial_fit` goes on with, (n_features + n_targets)² numbers.
    Sparse X is refused: centred sums of outer products would be dense.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for
       computing sample variances", COMPSTAT 1982.

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu.sklearn import LinearRegression
    >>> X = np.array([[1.0, 1], [1, 2], [2, 2], [2, 3]])
    >>> y = X @ [1.0, 2.0] + 3
    >>> model = LinearRegression().fit(X, y)
    >>> model.coef_.round(9), model.intercept_.round(9), model.rank_
    (array([1., 2.]), np.float64(3.0), 2)
    >>> model.predict([[3, 5]]).round(9)
    array([16.])
    """

    @checking_parameters
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LinearRegression":
        """Fit the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations in rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            One target, or several.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight s of each row, not negative.

        Returns
        -------
        LinearRegression
            This object.

        Raises
        ------
        ValueError
            If shapes do not fit, or X, y or the weights hold NaN or infinity.
        TypeError
            If X is sparse.
        """
        self._fit_all(X, y, sample_weight)
        return self

    @checking_parameters
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LinearRegression":
        """Fit more rows together with all those since the last `fit`, its own included.

        Equal to `fit` of all rows up to rounding, in whatever chunks and order they come, while the scaled
        Gram matrix has a condition number up to 4.5e5. Beyond that co-moments lose digits that `fit`, which
        reads the data again, keeps.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations in rows; those of the last chunk may be few.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            As many targets as before.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; 1 in calls without.

        Returns
        -------
        LinearRegression
            This object.

        Raises
        ------
        ValueError
            As `fit`; and after a `fit` of more than 4096 columns, or thousands on as many rows, of which no
            co-moments are kept.
        """
        self._fit_more(X, y, sample_weight)
        return self

    def _fit(self, observations: Observations) -> None:
        if self.positive:
            found = nonnegative_ridge(observations, np.zeros(1))
        else:
            found = least_squares(observations, self.tol)
            self.rank_ = found.rank
            self.singular_ = observations.inputs.send(found.singular)
        set_coefficients(self, observations.inputs, found.coef, found.intercept, is_flat=False)


class Ridge(_ByCoMoments, linear_model.Ridge):  # type: ignore[misc]
    """Least squares with a penalty on the squares of the coefficients, from co-moments in one read of X.

    Minimises ``sum_i s_i (x_i·w + b - y_i)² + alpha |w|²``, always in closed form.

    Parameters
    ----------
    alpha : float or array-like of shape (n_targets,), default=1.0
        Penalty, not negative; a number for each target, or one for all.
    fit_intercept : bool, default=True
        Whether to fit b, which is not penalised.
    copy_X : bool, default=True
        Without effect: X is neither copied nor changed.
    max_iter, tol : default=None, 1e-4
        Without effect: nothing is iterated.
    solver : str, default="auto"
        ``"svd"`` takes the singular values of a QR factor of the data. All other names of scikit-learn's
        mean ``"auto"``: Cholesky factors where they keep ten digits, else singular values.
    positive : bool, default=False
        Whether coefficients must not be negative.
    random_state : default=None
        Without effect: nothing is random.

    Attributes
    ----------
    coef_ : array of shape (n_features,) or (n_targets, n_features)
        Coefficients, in the dtype of X (float64 for integers), where X lives.
    intercept_ : float or array of shape (n_targets,)
        Intercept; 0.0 without one.
    n_iter_ : int
        1: a closed form.
    solver_ : str
        What found the solution: ``"cholesky"``, ``"svd"``, ``"eigh"`` (`partial_fit` alone), or, with
        `positive`, ``"nnls"``.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has names that are all strings.

    See Also
    --------
    RidgeCV : Chooses alpha by cross-validation.

    Notes
    -----
    See `LinearRegression` for the solvers, and for why sparse X is refused.

    References
    ----------
    .. [1] A. E. Hoerl, R. W. Kennard, "Ridge regression: biased estimation for nonorthogonal problems",
       Technometrics 12 (1970).

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu.sklearn import Ridge
    >>> X, y = np.array([[0.0, 0], [0, 1], [1, 1], [3, 2]]), np.array([0.0, 0.1, 1, 3])
    >>> model = Ridge(alpha=0.5).fit(X, y)
    >>> model.coef_.round(4), model.intercept_.round(4), model.solver_
    (array([0.7931, 0.2483]), np.float64(-0.0164), 'cholesky')
    >>> chunks = Ridge(alpha=0.5).partial_fit(X[2:], y[2:]).partial_fit(X[:2], y[:2])
    >>> bool(np.allclose(chunks.coef_, model.coef_))
    True
    """

    @checking_parameters
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Ridge":
        """Fit the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations in rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            One target, or several.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weight s of each row, not negative; or one for all.

        Returns
        -------
        Ridge
            This object.

        Raises
        ------
        ValueError
            If shapes do not fit, or X, y or the weights hold NaN or infinity.
        TypeError
            If X is sparse.
        """
        self._fit_all(X, y, sample_weight)
        return self

    @checking_parameters
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Ridge":
        """Fit more rows together with all those since the last `fit`, its own included.

        Equal to `fit` of all rows up to rounding, in whatever chunks and order they come, while the scaled
        and penalised Gram matrix has a condition number up to 4.5e5. Beyond that co-moments lose digits that
        `fit`, which reads the data again, keeps.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations in rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            As many targets as before.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weight of each row; 1 in calls without.

        Returns
        -------
        Ridge
            This object.

        Raises
        ------
        ValueError
            As `fit`; and after a `fit` of more than 4096 columns, or thousands on as many rows, of which no
            co-moments are kept.
        """
        self._fit_more(X, y, sample_weight)
        return self

    def _fit(self, observations: Observations) -> None:
        self._check_solver()
        alpha = penalties(self.alpha, observations.targets)
        found: Solution = (
            nonnegative_ridge(observations, alpha)
            if self.positive
            else ridge(observations, alpha, self.solver)
        )
        self.n_iter_, self.solver_ = 1, found.solver
        set_coefficients(self, observations.inputs, found.coef, found.intercept, is_flat=True)

    def _check_solver(self) -> None:
        """As scikit-learn has it: one solver is for coefficients that must not be negative, and no other."""
        if self.solver == "lbfgs" and not self.positive:
            raise ValueError("the solver 'lbfgs' can be used only when positive=True; choose another one")
        if self.positive and self.solver not in ("auto", "lbfgs"):
            raise ValueError(
                f"solver='{self.solver}' does not support positive fitting; with positive=True it is 'auto' "
                "or 'lbfgs'"
            )


def penalties(alpha: Any, targets: int) -> Host:
    """One penalty for all targets, or one for each."""
    if hasattr(alpha, "__dlpack__"):
        alpha = Place.of(alpha).fetch(alpha)
    array = np.asarray(alpha, np.float64).ravel()
    if len(array) not in (1, targets):
        raise ValueError(
            f"Number of targets and number of penalties do not correspond: {len(array)} != {targets}"
        )
    return array
