"""What estimators that are fitted from the co-moments of X share: reading, further chunks, and merging."""

from typing import Any, TypeVar

from sklearn.base import clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from .._arrays import Array
from ..linreg._streaming.rows import Rows
from ..linreg.moments import CoMoments
from ._arrays import Place, telling_of_nan
from ._base import checking_parameters


def read_co_moments(X: Array, y: Array | None = None, *, estimator_name: str | None = None) -> CoMoments:
    """Co-moments of arrays that are validated but for NaN and infinity, which the same read finds.

    They hold no rows, so that whoever keeps or pickles them keeps none of the data.
    """
    place = Place.of(X)
    with telling_of_nan(X, estimator_name):
        rows = Rows.read(place.bring(X), None if y is None else place.bring(y), None)
        return CoMoments().merge(CoMoments.from_rows(rows))


Self = TypeVar("Self", bound="FittedFromCoMoments")


class FittedFromCoMoments:
    """Mixin of estimators whose fitted attributes follow from the co-moments of X alone."""

    _co_moments: CoMoments | None
    """Of all rows read; None where `fit` took a solver that reads none."""

    def _adds_rows(self) -> bool:
        """Whether the parameters leave the estimator to its co-moments."""
        return True

    @available_if(lambda self: self._adds_rows())  # type: ignore[untyped-decorator]
    @checking_parameters
    def partial_fit(self: Self, X: Any, y: Any = None) -> Self:
        """Read more rows, and fit to all rows read so far.

        Chunks in any order give what `fit` gives on all rows at once, to rounding.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            More rows, beside those of earlier calls and of `fit`. One row is enough.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X holds NaN or infinity, or has another number of features than before; or if `fit`
            took a solver that keeps no co-moments. The rows read before are still there.
        TypeError
            If X is sparse.
        """
        is_first = not hasattr(self, "_co_moments")
        held = None if is_first else _held(self)
        X = self._validated(X, reset=is_first)
        moments = read_co_moments(X, estimator_name=type(self).__name__)
        self._fit_to(moments if held is None else held.merge(moments), Place.of(X))
        return self

    @available_if(lambda self: self._adds_rows())  # type: ignore[untyped-decorator]
    def merge(self: Self, other: Self) -> Self:
        """A new estimator, fitted to the rows of both; neither is changed.

        Parameters
        ----------
        other : estimator of the same class
            Fitted to other rows of the same features, for example in another process.

        Returns
        -------
        merged : object
            With the parameters of this one; to rounding what `fit` gives on all rows.

        Raises
        ------
        NotFittedError
            If one of the two is not fitted.
        TypeError
            If `other` is of another class.
        ValueError
            If they were fitted to other features, or `fit` took a solver that keeps no co-moments.
        """
        if not isinstance(other, type(self)):
            raise TypeError(f"cannot merge a {type(self).__name__} with a {type(other).__name__}")
        for one in (self, other):
            check_is_fitted(one, "_co_moments")
        names, others = (getattr(one, "feature_names_in_", None) for one in (self, other))
        if names is not None and others is not None and list(names) != list(others):
            raise ValueError(f"other was fitted to the features {list(others)}, this one to {list(names)}")
        merged: Self = clone(self)
        merged._fit_to(_held(self).merge(_held(other)), self._place())
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self, name):
                setattr(merged, name, getattr(self, name))
        return merged

    def _validated(self, X: Any, *, reset: bool) -> Array:
        """X in float32 or float64, with all that scikit-learn checks but NaN and infinity."""
        xp = Place.of(X).xp
        return validate_data(self, X, reset=reset, dtype=[xp.float64, xp.float32], ensure_all_finite=False)

    def _fit_to(self, moments: CoMoments, place: Place) -> None:
        """Set the fitted attributes, `_co_moments` among them, as arrays of that place."""
        raise NotImplementedError

    def _place(self) -> Place:
        """Where the fitted attributes live."""
        raise NotImplementedError


def _held(estimator: FittedFromCoMoments) -> CoMoments:
    """The co-moments of a fitted estimator."""
    if estimator._co_moments is None:
        raise ValueError(
            f"this {type(estimator).__name__} was fitted by a solver that keeps no co-moments, which rows "
            "could be added to; fit a clone of it with partial_fit"
        )
    return estimator._co_moments
