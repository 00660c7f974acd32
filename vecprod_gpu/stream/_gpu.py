"""Host batches on the GPUs of a machine: the copies of one batch overlap with the kernels on another.

Each GPU has a lane: a thread, and three streams on which batches arrive, are computed and return.  A batch
is put into pinned memory, of which there are two buffers, and copied to one of two on the device; events
alone say when a buffer may be used again, so that nothing ever waits for a device as a whole.

    pinned       stage 0 | stage 1 |         | stage 2 | ...      waits until 0 has arrived
    arrivals             | copy 0  | copy 1  |         | copy 2   waits until 0 has been read
    kernels                        | 0       | 1       |          waits for the copy
    returns                                  | copy 0  | copy 1   waits for the kernels
"""

import contextvars
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from .. import _dispatch
from ..linreg._streaming.rows import Rows
from ..linreg._streaming.streamed import Summarise, in_turn, side_by_side, summaries
from ..linreg.moments import MomentSums, NativeMoments

Host = np.ndarray[Any, Any]
Arrays = Mapping[str, Any]
Compute = Callable[[dict[str, Any]], Sequence[Any]]
Segments = Generator[tuple[Rows, Any], None, None]
Tag = TypeVar("Tag")

BUFFERS = 2
DEVICE_BATCH_BYTES = 1 << 29  # sixteen segments or more, which several GPUs share
IN_FLIGHT = 3  # batches of a lane, each at another stage; more would only hold memory


class Lanes:
    """A lane for each GPU, made when the first batch comes.

    Parameters
    ----------
    devices : sequence of int, optional
        The GPUs; all that this process sees unless given.
    """

    def __init__(self, devices: Sequence[int] | None = None) -> None:
        self._devices = devices
        self._lanes: list[_Lane] = []

    def overlapped(
        self, tasks: Iterable[tuple[Tag, Arrays]], compute: Compute
    ) -> Generator[tuple[Tag, list[Host]], None, None]:
        """Compute from batch after batch; batch i runs on GPU i modulo their number.

        Parameters
        ----------
        tasks : iterable of (tag, mapping of str to ndarray)
            What a batch is known by, and its arrays on the host.
        compute : callable
            From the same arrays on the device to arrays there; called on the stream that is to run it, in
            the context of the caller, and waits for nothing.

        Yields
        ------
        tag, list of ndarray
            In the order of the batches. The arrays lie in pinned memory.
        """
        waiting: deque[tuple[Tag, Future[_Returning]]] = deque()
        try:
            for number, (tag, arrays) in enumerate(tasks):
                lanes = self._lanes = self._lanes or self._made()
                if len(waiting) == IN_FLIGHT * len(lanes):
                    yield _returned(*waiting.popleft())
                waiting.append((tag, lanes[number % len(lanes)].submit(arrays, compute)))
            while waiting:
                yield _returned(*waiting.popleft())
        finally:
            for tag, future in waiting:  # no buffer is given back while a copy still uses it
                with suppress(Exception):
                    _returned(tag, future)

    def close(self) -> None:
        """Give streams and buffers back."""
        for lane in self._lanes:
            lane.close()
        self._lanes = []

    def _made(self) -> list["_Lane"]:
        import cupy

        devices = range(cupy.cuda.runtime.getDeviceCount()) if self._devices is None else self._devices
        return [_Lane(device) for device in devices]


def most_batch_bytes() -> int | None:
    """What a batch of rows may take where it may go to GPUs: an update ends with waiting for them."""
    asked = (_dispatch.mode.get() or _dispatch.Mode()).backend
    may_go_there = asked == "cupy" or (asked is None and _dispatch.backends()["cupy"].available)
    return DEVICE_BATCH_BYTES if may_go_there else None


@contextmanager
def sharing_gpus(devices: Sequence[int] | None = None) -> Iterator[None]:
    """Let co-moments of host rows, where they are computed on a GPU, overlap copies and share all GPUs.

    The dispatcher chooses as it does otherwise, segments are the same, and their summaries are merged in
    the order of the rows: no bit depends on it.

    Parameters
    ----------
    devices : sequence of int, optional
        The GPUs; all that this process sees unless given.
    """
    with closing(Lanes(devices)) as lanes:

        def overlapped(summarise: Summarise, segments: Iterator[Rows]) -> Segments:
            first = next(segments, None)
            ahead = segments if first is None else chain([first], segments)
            if first is None or summarise != MomentSums.of:
                return in_turn(summarise, ahead)
            if _backend_of(first) != "cupy":
                return side_by_side(summarise, ahead)
            return _moments(lanes, first, ahead)

        token = summaries.set(overlapped)
        try:
            yield
        finally:
            summaries.reset(token)


def _moments(lanes: Lanes, like: Rows, segments: Iterable[Rows]) -> Segments:
    """Each segment with its co-moments; all look like that one."""

    def tasks() -> Iterator[tuple[Rows, Arrays]]:
        for segment in segments:
            arrays = {"X": segment.X, "y": segment.y, "weights": segment.weights}
            yield segment, {name: array for name, array in arrays.items() if array is not None}

    def compute(arrays: dict[str, Any]) -> tuple[Any, ...]:
        native = NativeMoments.of(replace(like, kind="cupy", **arrays))
        return native.total, native.means, native.matrix

    with closing(lanes.overlapped(tasks(), compute)) as results:
        for segment, parts in results:
            segment.release()
            yield segment, MomentSums.of_parts(*(np.array(part) for part in parts))


def _backend_of(rows: Rows) -> str:
    return "" if rows.kind != "numpy" else _dispatch.explain(NativeMoments.of, rows).backend


@dataclass(frozen=True)
class _Returning:
    """Results on their way to the host, and what must not be given back before they are there."""

    arrays: list[Host]
    on_device: list[Any]
    returned: Any


def _returned(tag: Tag, future: Future[_Returning]) -> tuple[Tag, list[Host]]:
    returning = future.result()
    returning.returned.synchronize()
    return tag, returning.arrays


class _Slot:
    """One of the buffers for the arrays of a batch: in pinned memory, and on the device.

    Attributes
    ----------
    arrived : Event
        The copy to the device has ended: the pinned memory may be filled anew.
    read : Event
        The kernels have ended: the memory on the device may be.
    """

    def __init__(self) -> None:
        self.arrived, self.read = _event(), _event()
        self._pinned: dict[str, Host] = {}
        self._device: dict[str, Any] = {}

    def stage(self, arrays: Arrays) -> dict[str, Host]:
        """Copies of the arrays in pinned memory, in C order and the byte order of the machine."""
        self.arrived.synchronize()
        staged = {}
        for name, array in arrays.items():
            dtype = array.dtype.newbyteorder("=")
            nbytes = array.size * dtype.itemsize
            if name not in self._pinned or self._pinned[name].nbytes < nbytes:
                self._pinned[name] = _pinned_memory(nbytes)
            staged[name] = self._pinned[name][:nbytes].view(dtype).reshape(array.shape)
            np.copyto(staged[name], array)
        return staged

    def send(self, staged: Mapping[str, Host], stream: Any) -> dict[str, Any]:
        """Arrays on the device that receive what was staged, in the order of a stream."""
        import cupy

        stream.wait_event(self.read)
        sent = {}
        for name, array in staged.items():
            if name not in self._device or self._device[name].nbytes < array.nbytes:
                self.read.synchronize()  # what it takes the place of goes back to the pool
                self._device[name] = cupy.empty(array.nbytes, np.uint8)
            raw = self._device[name][: array.nbytes]
            sent[name] = raw.view(array.dtype).reshape(array.shape)
            if array.nbytes:
                raw.data.copy_from_host_async(array.ctypes.data, array.nbytes, stream)
        self.arrived.record(stream)
        return sent


class _Lane:
    """One GPU with its streams and buffers, which a thread of its own keeps busy."""

    def __init__(self, device: int) -> None:
        import cupy

        self._device = cupy.cuda.Device(device)
        with self._device:
            self._arrivals, self._kernels, self._returns = (
                cupy.cuda.Stream(non_blocking=True) for _ in range(3)
            )
            self._slots = deque(_Slot() for _ in range(BUFFERS))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"vecprod-gpu-{device}")

    def submit(self, arrays: Arrays, compute: Compute) -> Future[_Returning]:
        """Send a batch on its way, in the context of the caller."""
        return self._thread.submit(contextvars.copy_context().run, self._send, arrays, compute)

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown()

    def _send(self, arrays: Arrays, compute: Compute) -> _Returning:
        slot = self._slots[0]
        self._slots.rotate(-1)
        with self._device:
            staged = slot.stage(arrays)
            with self._arrivals as stream:
                sent = slot.send(staged, stream)
            with self._kernels as stream:
                stream.wait_event(slot.arrived)
                results = [_contiguous(result) for result in compute(sent)]
                slot.read.record(stream)
            with self._returns as stream:
                stream.wait_event(slot.read)
                return _fetched(results, stream)


def _fetched(results: list[Any], stream: Any) -> _Returning:
    """Begin to copy results into pinned memory."""
    fetched = []
    for result in results:
        pinned = _pinned_memory(result.nbytes)
        if result.nbytes:
            result.data.copy_to_host_async(pinned.ctypes.data, result.nbytes, stream)
        fetched.append(pinned.view(result.dtype).reshape(result.shape))
    returned = _event()
    returned.record(stream)
    return _Returning(fetched, results, returned)


def _contiguous(native: Any) -> Any:
    import cupy

    return cupy.ascontiguousarray(native)


def _event() -> Any:
    """An event that a thread sleeps for, rather than spin beside one that copies."""
    import cupy

    return cupy.cuda.Event(block=True, disable_timing=True)


def _pinned_memory(nbytes: int) -> Host:
    import cupy

    return np.frombuffer(cupy.cuda.alloc_pinned_memory(max(1, nbytes)), np.uint8, nbytes)
