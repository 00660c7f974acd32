"""What this package asks of another library: views of its arrays, and arrays of it from results."""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from .._arrays import Array
from ..errors import DeviceError

# DLPack's numbers for kinds of devices: memory of the host, pinned or not, and of CUDA, managed or not.
_HOST_DEVICES = frozenset({1, 3})
_CUDA_DEVICES = frozenset({2, 13})

OPTION_TYPES = frozenset({bool, int, float, str, type(None)})  # of what is certainly no array


class Library:
    """Adapter of one array library; its subclasses say what differs from plain DLPack.

    This class itself serves arrays that can be exported and no more: results are NumPy's, or CuPy's.

    Attributes
    ----------
    name : str
        As messages call it.
    has_mutable_arrays : bool
        Whether `out` may be one of its arrays.
    is_lazy : bool
        Whether its arrays are still to be computed: then `apply` makes the call, and nothing else is asked.
    """

    name = "DLPack"
    has_mutable_arrays = True
    is_lazy = False

    def apply(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A call with arrays that are still to be computed."""
        raise NotImplementedError

    def is_tracing(self) -> bool:
        """Whether the library follows this call to make a graph of it: then `traced` makes it."""
        return False

    def traced(self, call: Callable[..., Any], function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A call that goes into a graph; ``call(self, function, args, kwargs)`` is the one outside of it."""
        raise NotImplementedError

    def launching(self, array: Array) -> AbstractContextManager[Any]:
        """Context in which launches go on the stream that the library itself would use."""
        return nullcontext()

    def view(self, array: Array, function: str) -> Array:
        """NumPy or CuPy array over the same memory; `function` is whom a message tells of.

        Raises
        ------
        DeviceError
            If the array lies neither on the host nor on a CUDA GPU.
        """
        device, _ = array.__dlpack_device__()
        if device in _HOST_DEVICES:
            return np.from_dlpack(array)
        if device in _CUDA_DEVICES:
            return cupy_for(self.name).from_dlpack(array)
        raise DeviceError(
            f"an array of {self.name} on {getattr(array, 'device', device)} can be shared neither with NumPy "
            "nor with CuPy; move it to the CPU or to a CUDA GPU first"
        )

    def plain_views(self, values: Sequence[Any]) -> list[Any] | None:
        """The values with views of host arrays in their place, and nothing noted of which is whose.

        None unless all are of OPTION_TYPES or such arrays, whose numbers NumPy has a type for.
        """
        return None

    def is_copied(self, array: Array) -> bool:
        """Whether its view is a copy, since its numbers are not as they lie in memory."""
        return False

    def keep(self, views: Sequence[Array]) -> None:
        """See to it that the memory of device arrays is not reused while kernels read it."""
        HELD.until_read([view for view in views if not isinstance(view, np.ndarray)])

    def give(self, native: Array, like: Array) -> Array:
        """Array of this library, on the device of `like`, over a result's memory."""
        return native

    def is_bfloat16(self, array: Array) -> bool:
        """Whether the array holds numbers that NumPy has no type for."""
        return str(array.dtype) == "bfloat16"

    def is_floating(self, array: Array) -> bool:
        """Whether it holds real or complex numbers rather than integers."""
        return any(word in str(array.dtype) for word in ("float", "complex"))

    def widened(self, array: Array) -> Array:
        """A copy of bfloat16 numbers in float32."""
        raise NotImplementedError

    def narrowed(self, array: Array) -> Array:
        """A copy of float32 numbers, rounded to bfloat16."""
        raise NotImplementedError

    def write(self, out: Array, result: Array) -> None:
        """``out[...] = result``, between two arrays of this library."""
        out[...] = result

    def was_written(self, out: Array) -> None:
        """Tell the library that a kernel has written to one of its arrays."""


class _Held:
    """Device memory of libraries that cannot be told who reads it, kept until the readers are done.

    Such a library may use the memory again as soon as the last view is gone, on a stream of its own that
    does not wait for ours.
    """

    def __init__(self) -> None:
        self._pending: deque[tuple[Any, Sequence[Array]]] = deque()

    def until_read(self, views: Sequence[Array]) -> None:
        """Hold the views until all that was launched on CuPy's current stream so far is done."""
        while self._pending and self._pending[0][0].done:
            self._pending.popleft()
        if views:
            event = cupy_for("DLPack").cuda.Event(disable_timing=True)
            event.record()
            self._pending.append((event, views))


HELD = _Held()


def writable(native: Array) -> Array:
    """A result that another library may share: it has no notion of memory that is not to be written to."""
    if isinstance(native, np.ndarray | np.generic):
        host = np.asarray(native)
        return host if host.flags.writeable else host.copy()
    return native


def cupy_for(library: str) -> Any:
    """CuPy, through which every array on a CUDA GPU reaches the kernels."""
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            f"arrays of {library} on a CUDA GPU are computed through CuPy, which is missing: "
            'pip install "vecprod-gpu[cuda13]", or [cuda12]'
        ) from error
    return cupy
