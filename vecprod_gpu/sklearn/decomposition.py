"""Principal component analysis from co-moments."""

from numbers import Integral
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn import decomposition
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_is_fitted

from .._arrays import Array
from ..linreg.moments import CoMoments
from ._arrays import Place
from ._base import checking_parameters
from ._co_moments import FittedFromCoMoments, read_co_moments
from ._spectrum import Spectrum, count_by_evidence, count_by_share

NARROW_FEATURES = 1000
"""Up to here all eigenvalues take less time than the passes over X that a truncated solver makes."""

MOST_FEATURES = 4096
"""Up to here co-moments, 128 MiB of them then, are less work than an SVD of more rows than columns."""


class PCA(FittedFromCoMoments, decomposition.PCA):  # type: ignore[misc]
    """Principal component analysis, from co-moments in one read of X.

    With the mean m of n rows, ``sum_i (x_i - m) ⊗ (x_i - m) = Vᵀ S² V``: the rows of V are the
    components, and S the singular values of the centred X.

    Parameters
    ----------
    n_components : int, float or 'mle', default=None
        How many components to keep: all min(n_samples, n_features) if None; for a float between 0 and
        1 as many as explain more than that share of the variance; for 'mle' as Minka estimates [1]_.
    copy : bool, default=True
        Whether the solvers of scikit-learn leave X as it is; those from co-moments always do.
    whiten : bool, default=False
        Whether `transform` scales each component to unit variance.
    svd_solver : {'auto', 'full', 'covariance_eigh', 'arpack', 'randomized'}, default='auto'
        'auto'
            From co-moments, where X is dense and has more rows than columns: up to 1000 of them, or up
            to 4096 where scikit-learn would not truncate. Where they do not keep the digits of a
            component that is wanted, X is read again, as for 'full'. All else, wide X above all, is
            left to scikit-learn's 'auto', which for some components of a large X is not exact.
        'covariance_eigh'
            From co-moments, whatever the shape and the digits.
        'full'
            Exact SVD. On the host, more rows than columns are first reduced to a triangular factor,
            in one read and without a centred copy.
        'arpack', 'randomized'
            scikit-learn's.
    tol : float, default=0.0
        Of 'arpack'.
    iterated_power : int or 'auto', default='auto'
        Of 'randomized'.
    n_oversamples : int, default=10
        Of 'randomized'.
    power_iteration_normalizer : {'auto', 'QR', 'LU', 'none'}, default='auto'
        Of 'randomized'.
    random_state : int, RandomState instance or None, default=None
        Of 'arpack' and 'randomized'.

    Attributes
    ----------
    components_ : array of shape (n_components, n_features)
        Principal axes in rows, by decreasing variance; of each, the entry of largest size is positive.
    explained_variance_ : array of shape (n_components,)
        ``singular_values_**2 / (n_samples_ - 1)``.
    explained_variance_ratio_ : array of shape (n_components,)
        Shares of the variance of X.
    singular_values_ : array of shape (n_components,)
        Of the centred X.
    mean_ : array of shape (n_features,)
        Of the rows.
    n_components_ : int
        How many there are.
    n_samples_ : int
        Rows read.
    noise_variance_ : float
        Mean of the variances that are left out: the noise of the probabilistic model [2]_.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has some and all are strings.

    See Also
    --------
    sklearn.decomposition.PCA : What this is a subclass of.
    sklearn.decomposition.IncrementalPCA : An approximation, also with ``partial_fit``.

    Notes
    -----
    Arrays of CuPy and torch are computed where they live, and give attributes and results of their kind,
    under ``sklearn.config_context(array_api_dispatch=True)``; the eigenvalues are computed on the host.
    Attributes have the dtype of X, float32 or float64; the sums are in float64.

    **Digits.** Co-moments know singular values to an error of about ``1e-16 s_1² / s``: of those below
    some 1e-8 of the largest nothing is left. Where the columns are only of different size, a Cholesky
    factor of the co-moments keeps the digits none the less, and is used. Otherwise 'auto' goes back to
    X where ten digits of a wanted variance (seven for float32) cannot be had; `partial_fit`, which has
    no X to go back to, and 'covariance_eigh' do not. `noise_variance_` may have fewer.

    `partial_fit` and `merge` fit from co-moments, whatever `svd_solver` is. As long as fewer rows are read
    than `n_components`, there are as many components as rows. After a `fit` by 'full' or
    by a solver of scikit-learn no co-moments are kept, and rows cannot be added.

    **Sparse X** is left to scikit-learn, which never makes it dense. `partial_fit` refuses it.

    References
    ----------
    .. [1] T. P. Minka, "Automatic choice of dimensionality for PCA", NIPS 2000.
    .. [2] M. E. Tipping, C. M. Bishop, "Probabilistic principal component analysis", Journal of the
       Royal Statistical Society B 61 (1999).
    .. [3] T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for
       computing sample variances", COMPSTAT 1982.

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu.sklearn.decomposition import PCA
    >>> X = np.array([[-1.0, -1], [-2, -1], [-3, -2], [1, 1], [2, 1], [3, 2]])
    >>> pca = PCA(n_components=2).fit(X)
    >>> pca.explained_variance_ratio_.round(4)
    array([0.9924, 0.0076])
    >>> pca.transform([[4.0, 3.0]]).round(4)
    array([[4.9887, 0.3358]])
    >>> parts = PCA(n_components=2).partial_fit(X[4:]).partial_fit(X[:4])
    >>> bool(np.allclose(parts.components_, pca.components_))
    True
    >>> halves = PCA(n_components=2).fit(X[:3]).merge(PCA().fit(X[3:]))
    >>> bool(np.allclose(halves.singular_values_, pca.singular_values_))
    True
    """

    @checking_parameters
    def fit(self, X: Any, y: Any = None) -> "PCA":
        """Find the principal components of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
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
            If X holds NaN or infinity, or the solver cannot give `n_components`.
        """
        validated = self._validated_for_own_solver(X)
        if validated is None:
            self._co_moments = None
            return super().fit(X)  # type: ignore[no-any-return]
        self._fit_validated(validated)
        return self

    @checking_parameters
    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Find the principal components of X, and project X on them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Observations in rows.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        X_new : array of shape (n_samples, n_components)
            As of `transform`.
        """
        validated = self._validated_for_own_solver(X)
        if validated is None:
            self._co_moments = None
            return super().fit_transform(X)  # which alone knows how X was overwritten, with copy=False
        self._fit_validated(validated)
        return self.transform(X)

    def get_precision(self) -> Array:
        """Inverse of the covariance of the probabilistic model, which `get_covariance` gives.

        Returns
        -------
        precision : array of shape (n_features, n_features)
            Where no noise makes the covariance invertible, its pseudo-inverse.
        """
        check_is_fitted(self)
        place, axes, noise = self._place(), self.components_, self.noise_variance_
        xp = place.xp
        signal = self.explained_variance_ - noise
        signal = xp.where(signal > 0, signal, xp.zeros_like(signal))
        if self.whiten:
            signal = signal * self.explained_variance_  # scikit-learn's model of whitened components
        if noise == 0:
            return (axes.T * _reciprocals(signal, axes.shape[1], xp)) @ axes
        # Of s v⊗v + σ² I, for orthonormal axes v: I / σ² - s / (σ² (s + σ²)) v⊗v
        precision = (axes.T * (-signal / (noise * (signal + noise)))) @ axes
        return precision + xp.eye(axes.shape[1], dtype=axes.dtype, device=place.device) / noise

    def _validated_for_own_solver(self, X: Any) -> Array | None:
        """X as validated; None where scikit-learn's solvers are to take it."""
        if issparse(X) or self.svd_solver in ("arpack", "randomized"):
            return None
        validated = self._validated(X, reset=True)
        n, d = validated.shape
        if self.svd_solver == "auto":
            is_truncated = self._wanted is not None and 1 <= self._wanted < 0.8 * d
            is_own = d < n and d <= (NARROW_FEATURES if is_truncated else MOST_FEATURES)
        else:
            is_own = d < n or self.svd_solver == "covariance_eigh"
        return validated if is_own else None

    def _fit_validated(self, X: Array) -> None:
        """Fit by the solver of ours that the parameters ask for."""
        self._require_components(*X.shape)
        if self.svd_solver == "full":
            self._fit_to_data(X)
        else:
            moments = read_co_moments(X, estimator_name=type(self).__name__)
            self._fit_to(moments, Place.of(X), X if self.svd_solver == "auto" else None)

    @property
    def _wanted(self) -> int | None:
        """`n_components` where it is a number of them."""
        return int(self.n_components) if isinstance(self.n_components, Integral) else None

    def _require_components(self, n: int, d: int) -> None:
        """Raise as scikit-learn does where n rows of d columns do not have that many."""
        wanted = self._wanted
        if self.n_components == "mle" and n < d:
            raise ValueError("n_components='mle' is only supported if n_samples >= n_features")
        if wanted is not None and not 0 <= wanted <= min(n, d):
            solver = "full" if self.svd_solver == "auto" else self.svd_solver
            raise ValueError(
                f"n_components={wanted} must be between 0 and "
                f"min(n_samples, n_features)={min(n, d)} with svd_solver={solver!r}"
            )

    def _fit_to(self, moments: CoMoments, place: Place, X: Array | None = None) -> None:
        """Fit to co-moments; where they lose digits, to X, if it is there."""
        n, d, dtype = moments.n_samples, moments.layout.d, moments.dtype
        # Rows may be yet to come, as many as n_components needs; but Minka's estimate needs them now.
        self._require_components(n if self.n_components == "mle" else d, d)
        spectrum = Spectrum.of_co_moments(moments)
        count = d if self.n_components == "mle" else self._count(spectrum, n)
        solver = "covariance_eigh"
        if not spectrum.resolves(count, dtype):
            finer = Spectrum.of_triangle(moments, dtype) if n > d else None
            if finer is None and X is not None:
                finer, solver = Spectrum.of_data(X, place), "full"
            spectrum = finer or spectrum
        self._set_spectrum(spectrum, n, dtype, place)
        self._co_moments, self._fit_svd_solver = moments, solver  # the latter for scikit-learn's tags

    def _fit_to_data(self, X: Array) -> None:
        """Fit to singular values of X."""
        assert_all_finite(X, estimator_name=type(self).__name__, input_name="X")
        place = Place.of(X)
        self._set_spectrum(Spectrum.of_data(X, place), X.shape[0], place.bring(X).dtype, place)
        self._co_moments, self._fit_svd_solver = None, "full"

    def _count(self, spectrum: Spectrum, n: int) -> int:
        """How many components to keep."""
        squares = spectrum.singular_values**2
        if self.n_components is None:
            return len(squares)
        if self.n_components == "mle":
            return count_by_evidence(squares / (n - 1), n)
        if self._wanted is not None:
            return min(self._wanted, len(squares))
        return count_by_share(squares / squares.sum(), self.n_components)

    def _set_spectrum(self, spectrum: Spectrum, n: int, dtype: np.dtype[Any], place: Place) -> None:
        """Set the fitted attributes."""
        count = self._count(spectrum, n)
        variances = spectrum.singular_values**2 / np.float64(n - 1)
        left_out = variances[count:]

        def send(host: Any) -> Any:
            return place.send(host, dtype)

        self.mean_ = send(spectrum.mean)
        self.components_ = send(spectrum.oriented_axes(count))
        self.singular_values_ = send(spectrum.singular_values[:count])
        self.explained_variance_ = send(variances[:count])
        self.explained_variance_ratio_ = send(variances[:count] / variances.sum())
        self.noise_variance_ = send(left_out.mean()) if len(left_out) else 0.0
        self.n_components_, self.n_samples_ = count, n

    def _adds_rows(self) -> bool:
        if self.svd_solver not in ("auto", "covariance_eigh"):
            raise AttributeError(
                f"svd_solver={self.svd_solver!r} keeps no co-moments, which rows could be added to"
            )
        return True

    def _place(self) -> Place:
        return Place.of(self.components_)


def _reciprocals(variances: Array, d: int, xp: Any) -> Array:
    """Inverse of each variance, and 0 of those that are rounding of the largest."""
    counts = variances > d * xp.finfo(variances.dtype).eps * xp.max(variances)
    zero = xp.zeros_like(variances)
    return xp.where(counts, 1 / xp.where(counts, variances, zero + 1), zero)
