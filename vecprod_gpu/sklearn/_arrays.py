"""Where the caller's arrays live, and how results go back there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import assert_all_finite
from sklearn.utils._array_api import get_namespace_and_device, move_to

from .._arrays import Array
from ..errors import DeviceError, NotFiniteError
from ..linreg._streaming.rows import on_host

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Place:
    """The array library and the device of an estimator's X.

    That is NumPy, unless ``array_api_dispatch`` is set: then CuPy, torch, or whatever else scikit-learn
    takes under it. X itself never changes its device.

    Attributes
    ----------
    xp : module
        The namespace that scikit-learn found.
    device : object
        As the namespace names it.
    is_dispatched : bool
        Whether scikit-learn was asked to compute where the arrays live.
    is_numpy : bool
        Whether results are NumPy arrays.
    """

    xp: Any
    device: Any
    is_dispatched: bool
    is_numpy: bool

    @classmethod
    def of(cls, X: Array) -> "Place":
        """The place of X, validated or not."""
        xp, is_dispatched, device = get_namespace_and_device(X)
        return cls(xp, device, is_dispatched, not is_dispatched or isinstance(X, np.ndarray))

    def follow(self, array: Any) -> Any:
        """Another input beside X: under ``array_api_dispatch`` it follows X, as all scikit-learn has it."""
        is_array = self.is_dispatched and hasattr(array, "__dlpack__")
        return move_to(array, xp=self.xp, device=self.device) if is_array else array

    def bring(self, array: Array) -> Array:
        """An array of this place as the core takes it, without a copy: NumPy's, or on a GPU CuPy's.

        Raises
        ------
        DeviceError
            If it lives where the core cannot compute.
        """
        if isinstance(getattr(array, "dtype", None), np.dtype):
            return array
        detached = array.detach() if hasattr(array, "detach") else array
        if getattr(self.device, "type", None) == "cuda":
            return _cupy().from_dlpack(detached)
        try:
            return np.from_dlpack(detached)
        except (BufferError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise DeviceError(
                f"an array of {type(array).__module__} on {self.device} can be shared neither with NumPy "
                f"nor with CuPy ({error}); move it to the CPU or to a CUDA GPU first"
            ) from None

    def fetch(self, array: Array) -> Host:
        """A small array of this place, on the host."""
        host: Host = on_host(self.bring(array))
        return host

    def send(self, host: Any, dtype: Any) -> Array:
        """A result of the host in the caller's library, on the caller's device; a scalar has no axes."""
        result = np.array(host, dtype, order="C")
        return result[()] if self.is_numpy else self.xp.asarray(result, device=self.device)


@contextmanager
def telling_of_nan(X: Array, estimator_name: str | None) -> Iterator[None]:
    """Where the core finds NaN or infinity, scikit-learn says so; but squares alone may overflow, too."""
    try:
        yield
    except NotFiniteError:
        assert_all_finite(X, estimator_name=estimator_name, input_name="X")
        raise


def _cupy() -> Any:
    """CuPy, through which every array on a CUDA GPU reaches the core."""
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            "arrays on a CUDA GPU are computed through CuPy, which is missing: "
            'pip install "vecprod-gpu[cuda13]", or [cuda12]'
        ) from error
    return cupy
