"""What all estimators say of themselves, and what precedes every fit."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from sklearn.base import _fit_context

Method = TypeVar("Method", bound=Callable[..., Any])


class OnDevices:
    """Tags of estimators that compute where dense arrays live; it stands before scikit-learn's own bases."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.sparse = False
        tags.array_api_support = True
        return tags


def checking_parameters(fit: Method) -> Method:
    """A method of fitting, before which scikit-learn checks the parameters of its estimator."""
    return cast(Method, _fit_context(prefer_skip_nested_validation=True)(fit))
