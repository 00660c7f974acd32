"""Maximum likelihood covariance from co-moments."""

import warnings
from typing import Any

import numpy as np
from scipy import linalg
from sklearn import covariance
from sklearn.utils._array_api import check_same_namespace
from sklearn.utils.extmath import fast_logdet
from sklearn.utils.validation import check_is_fitted, validate_data

from .._arrays import Array
from ..linreg.moments import CoMoments
from ._arrays import Place
from ._base import OnDevices, checking_parameters
from ._co_moments import FittedFromCoMoments, read_co_moments

Host = np.ndarray[Any, Any]
WIDE = np.dtype(np.float64)


class EmpiricalCovariance(FittedFromCoMoments, OnDevices, covariance.EmpiricalCovariance):  # type: ignore[misc]
    """Maximum likelihood estimate of a covariance, from co-moments in one read of X.

    ``covariance_ = 1/n sum_i (x_i - location_) ⊗ (x_i - location_)``.

    Parameters
    ----------
    store_precision : bool, default=True
        Whether to keep the inverse of the covariance.
    assume_centered : bool, default=False
        Whether `location_` is taken to be 0 instead of the mean of the rows.

    Attributes
    ----------
    location_ : array of shape (n_features,)
        Mean of the rows, or zeros.
    covariance_ : array of shape (n_features, n_features)
        The estimate.
    precision_ : array of shape (n_features, n_features) or None
        Its pseudo-inverse; None without `store_precision`.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has some and all are strings.

    See Also
    --------
    sklearn.covariance.EmpiricalCovariance : What this is a subclass of.

    Notes
    -----
    The attributes are float64, whatever the dtype of X. Under
    ``sklearn.config_context(array_api_dispatch=True)`` arrays of CuPy and torch are computed where they
    live, and give attributes and results of their kind; the inverse is computed on the host. Sparse X is
    refused, as by scikit-learn.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for
       computing sample variances", COMPSTAT 1982.

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu.sklearn.covariance import EmpiricalCovariance
    >>> X = np.array([[0.0, 2.0], [1.0, 1.0], [2.0, 0.0], [1.0, 3.0]])
    >>> estimate = EmpiricalCovariance().fit(X)
    >>> estimate.covariance_
    array([[ 0.5 , -0.5 ],
           [-0.5 ,  1.25]])
    >>> estimate.mahalanobis([[1.0, 1.5], [2.0, 1.5]]).round(6)
    array([0.      , 3.333333])
    >>> parts = EmpiricalCovariance().partial_fit(X[:1]).merge(EmpiricalCovariance().fit(X[1:]))
    >>> bool(np.allclose(parts.covariance_, estimate.covariance_))
    True
    """

    # scikit-learn calls this argument of `score` X_test: it is no metadata to be routed.
    __metadata_request__score = covariance.EmpiricalCovariance._EmpiricalCovariance__metadata_request__score

    @checking_parameters
    def fit(self, X: Any, y: Any = None) -> "EmpiricalCovariance":
        """Estimate the covariance of the columns of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations in rows.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X holds NaN or infinity.
        TypeError
            If X is sparse.

        Warns
        -----
        UserWarning
            If X has a single row.
        """
        X = self._validated(X, reset=True)
        if X.shape[0] == 1:
            warnings.warn("Only one sample available. You may want to reshape your data array", stacklevel=3)
        self._fit_to(read_co_moments(X, estimator_name=type(self).__name__), Place.of(X))
        return self

    def get_precision(self) -> Array:
        """The pseudo-inverse of the covariance.

        Returns
        -------
        precision_ : array of shape (n_features, n_features)
            As stored, or computed now.
        """
        if self.store_precision:
            return self.precision_
        return self._place().send(self._inverse(), WIDE)

    def score(self, X_test: Any, y: Any = None) -> float:
        """Mean log-likelihood of rows under a Gaussian of this location and covariance.

        With the mean T of ``(x - location_) ⊗ (x - location_)`` over the rows x, and the precision P, it
        is ``(log det P - sum(T * P) - d log 2π) / 2``. Of X_test no centred copy is made.

        Parameters
        ----------
        X_test : array-like of shape (n_samples, n_features)
            Observations in rows.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        res : float
            The mean log-likelihood.
        """
        X = self._validated_beside_fit(X_test, "score")
        moments = read_co_moments(X, estimator_name=type(self).__name__)
        precision = self._on_host(self.get_precision())
        about_location = _mean_outer(moments, self._on_host(self.location_))
        log_determinant = fast_logdet(precision) - len(precision) * np.log(2 * np.pi)
        return float(log_determinant - (about_location * precision).sum()) / 2

    def error_norm(
        self, comp_cov: Any, norm: str = "frobenius", scaling: bool = True, squared: bool = True
    ) -> float:
        """Size of the difference between another covariance and this one.

        Parameters
        ----------
        comp_cov : array-like of shape (n_features, n_features)
            The other one.
        norm : {'frobenius', 'spectral'}, default='frobenius'
            Root of the sum of squares, or the largest singular value.
        scaling : bool, default=True
            Whether the squared norm is divided by n_features.
        squared : bool, default=True
            Whether the norm is returned squared.

        Returns
        -------
        result : float
            The norm.

        Raises
        ------
        NotImplementedError
            If there is no such norm.
        """
        if norm not in ("frobenius", "spectral"):
            raise NotImplementedError("Only spectral and frobenius norms are implemented")
        error = self._on_host(self._place().follow(comp_cov)) - self._on_host(self.covariance_)
        size = float(np.linalg.norm(error, 2 if norm == "spectral" else "fro"))
        if scaling:
            size /= np.sqrt(len(error))
        return size**2 if squared else size

    def mahalanobis(self, X: Any) -> Array:
        """Squared Mahalanobis distances of rows: ``(x - location_)ᵀ P (x - location_)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Observations in rows.

        Returns
        -------
        dist : array of shape (n_samples,)
            One for each row.
        """
        X = self._validated_beside_fit(X, "mahalanobis")
        centred = X - self.location_
        return Place.of(X).xp.sum(centred @ self.get_precision() * centred, axis=1)

    def _fit_to(self, moments: CoMoments, place: Place) -> None:
        location = np.zeros(moments.layout.d) if self.assume_centered else moments.mean
        self.location_ = place.send(location, WIDE)
        self.covariance_ = place.send(_mean_outer(moments, location), WIDE)
        self.precision_ = place.send(self._inverse(), WIDE) if self.store_precision else None
        self._co_moments = moments

    def _inverse(self) -> Host:
        """Pseudo-inverse of the covariance."""
        inverse: Host = linalg.pinvh(self._on_host(self.covariance_), check_finite=False)
        return inverse

    def _validated_beside_fit(self, X: Any, method: str) -> Array:
        """Rows of the kind that the estimator was fitted to."""
        check_is_fitted(self)
        check_same_namespace(X, self, attribute="covariance_", method=method)
        xp = Place.of(X).xp
        return validate_data(self, X, reset=False, dtype=[xp.float64, xp.float32])

    def _on_host(self, array: Array) -> Host:
        return self._place().fetch(array)

    def _place(self) -> Place:
        return Place.of(self.covariance_)


def _mean_outer(moments: CoMoments, origin: Host) -> Host:
    """Mean of ``(x - origin) ⊗ (x - origin)`` over the rows x."""
    offset = moments.mean - origin
    mean: Host = moments.xx / moments.n_samples + np.outer(offset, offset)
    return mean
