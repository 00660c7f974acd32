"""Arrays of the Numba CUDA backend: windows on device memory of any library, real or simulated.

Numba's own device arrays transpose two axes only, cannot cast and reshape contiguous data alone.  A
window is a shape and strides over memory that someone else owns, so that most of this is arithmetic;
what it cannot say it copies, by a kernel.  Numba is imported when the first array arrives.
"""

import importlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from typing import Any

import numpy as np

from vecprod_gpu._layout import Strides, broadcast_strides, byte_bounds, size
from vecprod_gpu.errors import DTypeError

from .launcher import MAX_BLOCKS_PER_PROBLEM, THREADS, Grid, Shape

_LEGACY_DEFAULT_STREAM = 1
"""How the CUDA Array Interface calls the stream that a launch on no stream uses."""

SIMULATED_THREADS = 32
"""The fewest with which `linreg_finish` still serves two outputs at once."""


@dataclass
class Queue:
    """Where the work on some memory is queued, which all windows on it share.

    Attributes
    ----------
    stream : int or None
        A CUDA stream; 0 is the default one.  None if no work is known of.
    """

    stream: int | None = None


@dataclass(frozen=True)
class Window:
    """A shape and strides over memory of a GPU.

    Attributes
    ----------
    owner : object
        Keeps the memory alive.
    address : int
        Of the first element.
    shape, strides : tuple of int
        As NumPy's; strides in bytes.
    dtype : numpy.dtype
        Type of the elements.
    queue : Queue
        What has to be done to the memory before it is read.
    """

    owner: Any
    address: int
    shape: Shape
    strides: Strides
    dtype: np.dtype[Any]
    queue: Queue

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """First address of the window, and the one behind its last."""
        return byte_bounds(self.address, self.shape, self.strides, self.dtype.itemsize)

    @cached_property
    def flat(self) -> Any:
        """One-dimensional Numba array over the bounds: what a kernel takes."""
        lowest, end = self.bounds
        itemsize = self.dtype.itemsize
        return replace(
            self, address=lowest, shape=((end - lowest) // itemsize,), strides=(itemsize,)
        ).as_numba()

    def as_numba(self) -> Any:
        """Numba device array over the same memory."""
        interface = {
            "shape": self.shape,
            "strides": self.strides,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "version": 3,
            "stream": self.queue.stream or None,
        }
        if not is_simulated():
            return cuda().from_cuda_array_interface(interface, owner=self.owner, sync=False)
        memory = type("SimulatedMemory", (), {"__array_interface__": interface, "owner": self.owner})
        return type(cuda().device_array(1))(np.asarray(memory()))

    def as_bytes(self) -> "Window":
        """View the same memory with one more axis, the bytes of each element."""
        shape, strides = (*self.shape, self.dtype.itemsize), (*self.strides, 1)
        return replace(self, shape=shape, strides=strides, dtype=np.dtype(np.uint8))


def window(array: Any) -> Window:
    """Window on all of `array`, which lies on a device.

    Raises
    ------
    DTypeError
        If its numbers are not in the machine's byte order.
    """
    # Simulated arrays wrap a NumPy array, whose interface has the same entries.
    interface = array._ary.__array_interface__ if is_simulated() else array.__cuda_array_interface__
    dtype, shape = np.dtype(interface["typestr"]), tuple(interface["shape"])
    if not dtype.isnative:
        raise DTypeError(f"no kernel reads the byte order of {dtype.str!r}; convert the array on the host")
    strides = interface.get("strides") or contiguous_strides(shape, dtype.itemsize)
    stream = interface.get("stream")
    queue = Queue(0 if stream == _LEGACY_DEFAULT_STREAM else stream)
    return Window(array, interface["data"][0], shape, tuple(strides), dtype, queue)


def is_on_device(array: Any) -> bool:
    """Whether `array` is Numba's, simulated or not, or tells where it lies on a GPU."""
    return bool(getattr(array, "__cuda_ndarray__", False)) or hasattr(array, "__cuda_array_interface__")


def to_device(host: np.ndarray[Any, Any]) -> Window:
    """Window on a copy of a host array, in the machine's byte order."""
    copied = window(cuda().to_device(np.ascontiguousarray(host, host.dtype.newbyteorder("="))))
    return replace(copied, queue=Queue(0))


def to_host(source: Window) -> np.ndarray[Any, Any]:
    """Copy of a window on the host; waits for the window's stream."""
    if source.queue.stream:
        _wait_for(source.queue.stream)
    host = source.flat.copy_to_host()
    return np.ndarray(source.shape, source.dtype, host, strides=source.strides)


def empty(shape: Sequence[int], dtype: Any) -> Window:
    """C-contiguous window on fresh memory."""
    return window(cuda().device_array(tuple(shape), np.dtype(dtype)))


def readable(source: Window) -> Window:
    """`source` where kernels can index it, else a copy.

    Numba takes a negative index to count from the end, so that a negative stride leads astray.
    """
    can_be_read = _has_whole_elements(source) and min(source.strides, default=0) >= 0
    return source if can_be_read else _copied(source, source.shape)


def contiguous(source: Window, shape: Shape) -> Window:
    """`source`, broadcast to `shape`, in C order; a copy where it is not so already."""
    is_contiguous = source.strides == contiguous_strides(shape, source.dtype.itemsize)
    return source if is_contiguous and source.shape == shape else _copied(source, shape)


def cast(source: Window, dtype: Any) -> Window:
    """`source` where it has the dtype, else a converted copy."""
    if source.dtype == dtype:
        return source
    converted = empty(source.shape, dtype)
    copy(converted, source)
    return converted


def moveaxis(source: Window, axis: int, destination: int) -> Window:
    """As `numpy.moveaxis`, for one axis.

    Examples
    --------
    >>> scalar = np.dtype(np.int8)
    >>> moveaxis(Window(None, 0, (2, 3, 4), (12, 4, 1), scalar, Queue()), 0, -1).shape
    (3, 4, 2)
    """
    order = list(range(source.ndim))
    moved = order.pop(axis)
    order.insert(destination % source.ndim, moved)
    shape, strides = (tuple(of[axis] for axis in order) for of in (source.shape, source.strides))
    return replace(source, shape=shape, strides=strides)


def broadcast_to(source: Window, shape: Shape) -> Window:
    """As `numpy.broadcast_to`: strides of 0 where it repeats."""
    return replace(source, shape=shape, strides=broadcast_strides(source.shape, source.strides, shape))


def reshape(source: Window, shape: Shape) -> Window:
    """As `numpy.reshape`; a copy where no strides describe the result."""
    strides = reshaped_strides(source.shape, source.strides, shape, source.dtype.itemsize)
    if strides is None:
        return reshape(_copied(source, source.shape), shape)
    return replace(source, shape=shape, strides=strides)


def item(source: Window, index: int) -> Window:
    """A window on one entry along the first axis."""
    address = source.address + index * source.strides[0]
    return replace(source, address=address, shape=source.shape[1:], strides=source.strides[1:])


def copy(destination: Window, source: Window) -> None:
    """``destination[...] = source``, cast and broadcast, on the stream of either."""
    if not (_has_whole_elements(source) and _has_whole_elements(destination)):
        # Such elements, of a packed record, can only be copied as bytes, hence not cast on the way.
        if source.dtype != destination.dtype:
            source = cast(_copied(source, source.shape), destination.dtype)
        source, destination = source.as_bytes(), destination.as_bytes()
    count = size(destination.shape)
    if not count:
        return
    source_strides = broadcast_strides(source.shape, source.strides, destination.shape)
    launch(
        "copy",
        "strided_copy",
        (min(-(-count // threads()), max_blocks()), 1),
        threads(),
        (
            source,
            destination,
            count,
            destination.shape or (1,),
            *_in_elements(source, source_strides),
            *_in_elements(destination, destination.strides),
        ),
    )


def stable_order(keys: Window) -> Window:
    """Indices, counted in C order, that sort a contiguous window of integers, stably."""
    count = size(keys.shape)
    order, merged = (replace(empty((count,), np.int64), queue=Queue(keys.queue.stream)) for _ in range(2))
    if not count:
        return order
    grid = min(-(-count // threads()), max_blocks()), 1
    launch("sort", "iota", grid, threads(), (order, count))
    width = 1
    while width < count:
        launch("sort", "merge_pass", grid, threads(), (keys, order, merged, count, width))
        order, merged = merged, order
        width *= 2
    return order


def launch(
    file: str, kernel: str, grid: Grid, block: int, args: Sequence[Any], shared_bytes: int = 0
) -> None:
    """Start `kernel` of ``vecprod_gpu.kernels.<file>`` on the first stream that a window is queued on.

    What other streams, or the default one, still do to their windows is waited for.
    """
    function = getattr(importlib.import_module(f"vecprod_gpu.kernels.{file}"), kernel)
    flat = [arg.flat if isinstance(arg, Window) else arg for arg in args]
    if is_simulated():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # overflow, say: a GPU gives no such warning
            function[grid, block, 0, shared_bytes](*flat)
        return
    _keep_compiled(function)
    queues = [arg.queue for arg in args if isinstance(arg, Window)]
    streams = dict.fromkeys(queue.stream for queue in queues if queue.stream is not None)
    stream = next(filter(None, streams), 0)
    for other in streams.keys() - {stream}:
        _wait_for(other)
    _configured(function, grid, block, stream, shared_bytes)(*flat)
    for queue in queues:
        queue.stream = stream


def _wait_for(stream: int) -> None:
    (cuda().external_stream(stream) if stream else cuda().default_stream()).synchronize()


@cache
def _keep_compiled(function: Any) -> None:
    """Let Numba keep on disk what it compiles a kernel to, since it takes seconds for each set of types."""
    from .._cache import cached, forgiving

    cached(lambda can_be_kept: function.enable_caching() if can_be_kept else None)
    forgiving(function._cache)


@lru_cache(maxsize=256)
def _configured(function: Any, grid: Grid, block: int, stream: int, shared_bytes: int) -> Any:
    """Launch configuration, without Numba's advice that a small grid leaves a GPU idle."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Grid size")  # behind the escape codes of a terminal
        numba_stream = cuda().external_stream(stream) if stream else 0
        return function[grid, block, numba_stream, shared_bytes]


def cuda() -> Any:
    """Numba's CUDA module, imported when it is first needed."""
    return importlib.import_module("numba.cuda")


def is_simulated() -> bool:
    """Whether Numba simulates a GPU, as it decided when it was imported."""
    return bool(cuda().config.ENABLE_CUDASIM)


def threads() -> int:
    """Threads in a block: few in the simulator, where each is a thread of Python."""
    return SIMULATED_THREADS if is_simulated() else THREADS


def max_blocks() -> int:
    """Blocks that a grid-stride loop is spread over, at most."""
    return 2 if is_simulated() else MAX_BLOCKS_PER_PROBLEM


def contiguous_strides(shape: Sequence[int], itemsize: int) -> Strides:
    """Strides in bytes of a C-contiguous array.

    Examples
    --------
    >>> contiguous_strides((2, 3, 4), 8)
    (96, 32, 8)
    """
    strides = [itemsize]
    for length in reversed(shape[1:]):
        strides.insert(0, strides[0] * length)
    return tuple(strides[: len(shape)])


def reshaped_strides(
    shape: Sequence[int], strides: Sequence[int], target: Sequence[int], itemsize: int
) -> Strides | None:
    """Strides that read the same elements in the same order with shape `target`; None if none do.

    Neighbouring axes that one step spans are merged into runs, and `target` is cut from the runs.

    Examples
    --------
    >>> reshaped_strides((4, 6), (96, 8), (2, 2, 3, 2), 8)  # every second row
    (192, 96, 16, 8)
    >>> reshaped_strides((4, 6), (96, 8), (24,), 8)
    """
    if 0 in shape:
        return contiguous_strides(target, itemsize)
    runs: list[tuple[int, int]] = []
    for length, stride in zip(shape, strides, strict=True):
        if runs and runs[-1][1] == length * stride:
            runs[-1] = (runs[-1][0] * length, stride)
        elif length != 1:
            runs.append((length, stride))
    result = []
    left, step = 1, itemsize
    for length in target:
        if left == 1 and length != 1:
            left, step = runs.pop(0)
        if left % length:
            return None
        left //= length
        result.append(left * step)
    return tuple(result)


def _has_whole_elements(source: Window) -> bool:
    """Whether the elements are aligned and lie whole elements apart, as no packed record's do."""
    misplaced = source.address % source.dtype.alignment
    return not misplaced and not any(stride % source.dtype.itemsize for stride in source.strides)


def _copied(source: Window, shape: Shape) -> Window:
    """C-contiguous copy, broadcast to `shape`."""
    copied = empty(shape, source.dtype)
    copy(copied, source)
    return copied


def _in_elements(source: Window, strides: Strides) -> tuple[int, Strides]:
    """Index of the first element in the flat array, and strides, for the copying kernel."""
    itemsize = source.dtype.itemsize
    start = (source.address - source.bounds[0]) // itemsize
    return start, tuple(stride // itemsize for stride in strides) or (0,)
