"""Small calls on CuPy arrays: the launches of a call, made again for other arrays that look the same.

What lies between a public function and its launches (checks, promotion, the choice of a backend,
views, grids, boxed scalars) costs many times a launch, and follows from the *look* of the call alone:
the dtypes, shapes, strides and devices of its arrays, which of them are one, and its options.  So
the first call of a look goes the long way while a `Recorder` takes notes, and the next ones repeat
its launches on their own arrays and on new memory.  They run the same kernels on the same grids, on
whatever stream is the current one, so that neither bits nor order depend on the way taken.

A call is not recorded, and goes the long way every time, where it raises, or does anything else
than launch kernels on its arguments and on new memory, or has two arrays at one address, which
could not be told apart in its launches.  That an array is given twice, as an input and `out` say, is
part of the look; but a call whose `out` overlaps an input in any other way goes the long way.

Two rules for what is recorded follow: the host's part of it compares addresses but depends on none
(alignment is for kernels to see), and it makes no other recorded call.
"""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from vecprod_gpu._by_type import ByType
from vecprod_gpu._layout import byte_bounds

MOST_RECORDINGS = 1024
"""Looks that are remembered; a program that keeps changing its shapes or options starts over there."""

_OPTIONS = (bool, int, float, np.float32, np.float64)

_thread = threading.local()


@dataclass(frozen=True, slots=True)
class Recording:
    """The launches of one look; each takes its arguments from one pool of arrays and numbers.

    Attributes
    ----------
    launches : sequence of tuple
        Function, grid, block, choice of its arguments from the pool, and shared memory of each one.
    fresh : list of tuple
        Shapes and dtypes of the arrays that each call allocates; in the pool behind the call's own.
    numbers : tuple
        Boxed scalars, the last in the pool.
    forbidden : list of tuple
        For each array but `out`, the distances from `out` between which its memory meets that of
        `out`; none where it is `out` itself, or where there is no `out`.
    result : callable
        Picks what the call returns from the pool.
    """

    launches: Sequence[tuple[Any, tuple[int, ...], tuple[int, ...], Callable[[Any], Any], int]]
    fresh: list[tuple[tuple[int, ...], Any]]
    numbers: tuple[Any, ...]
    forbidden: list[tuple[int, int]]
    result: Callable[[Any], Any]

    def suits(self, arrays: tuple[Any, ...]) -> bool:
        """Whether `out`, the last array, is clear of the others."""
        if arrays[-1] is None:
            return True
        address = arrays[-1].data.ptr
        for array, (nearest, farthest) in zip(arrays, self.forbidden, strict=False):
            if array is not None and nearest < array.data.ptr - address < farthest:
                return False
        return True

    def play(self, arrays: tuple[Any, ...], empty: Callable[[Any, Any], Any]) -> Any:
        """Make the launches on these arrays, and return what the recorded call returned."""
        pool = arrays
        for shape, dtype in self.fresh:
            pool += (empty(shape, dtype),)
        pool += self.numbers
        for function, grid, block, arguments, shared_bytes in self.launches:
            function(grid, block, arguments(pool), shared_bytes)
        return self.result(pool)


class Recordings:
    """What is remembered of the calls on one library's arrays.

    Parameters
    ----------
    ndarray : type
        Of the arrays; called with a shape and a dtype it allocates.
    current_device : callable
        Returns the device that calls run on.
    box : callable
        Makes a one-element host array an argument of a launch, once and for all.
    """

    def __init__(self, ndarray: Any, current_device: Callable[[], int], box: Callable[[Any], Any]) -> None:
        self._ndarray = ndarray
        self._current_device = current_device
        self._box = box
        self._by_look: dict[Any, Recording] = {}

    def of_pair(self, way: Callable[..., Any], asked: Any, a: Any, b: Any, out: Any) -> Any:
        """``way(a, b, out)``, or its recording; a is an array of the library.

        It does what `of_call` does without options, written out because loops would cost a third of
        a launch.
        """
        if type(b) is not self._ndarray:
            return way(a, b, out)
        a_memory, b_memory = a.data, b.data
        look: tuple[Any, ...] = (
            way,
            asked,
            self._current_device(),
            a is b,
            a_memory.device_id,
            a.dtype,
            a.shape,
            a._c_contiguous or a.strides,
            b_memory.device_id,
            b.dtype,
            b.shape,
            b._c_contiguous or b.strides,
        )
        if out is None:
            recording = self._by_look.get(look)
            if recording is not None:
                return recording.play((a, b, None), self._ndarray)
        elif type(out) is self._ndarray:
            memory, layout = out.data, out._c_contiguous or out.strides
            look += (out is a, out is b, memory.device_id, out.dtype, out.shape, layout)
            recording = self._by_look.get(look)
            if recording is not None:
                address, ((a_nearest, a_farthest), (b_nearest, b_farthest)) = memory.ptr, recording.forbidden
                if (
                    a_nearest < a_memory.ptr - address < a_farthest
                    or b_nearest < b_memory.ptr - address < b_farthest
                ):
                    return way(a, b, out)
                return recording.play((a, b, out), self._ndarray)
        else:
            return way(a, b, out)
        return self._record(look, way, (a, b, out), ())

    def of_call(
        self, way: Callable[..., Any], asked: Any, arrays: tuple[Any, ...], options: tuple[Any, ...]
    ) -> Any:
        """``way(*arrays, *options)``, or its recording.

        Parameters
        ----------
        way : callable
            The long way through the call.
        asked : hashable
            What the surrounding code asked for, which is part of the look.
        arrays : tuple of array or None
            The call's arrays, `out` last.
        options : tuple
            All else that it is given.
        """
        look = [way, asked, self._current_device()]
        given = [*map(id, arrays)]
        for array in arrays:
            if array is None:
                look.append(None)
            elif type(array) is self._ndarray:
                look += given.index(id(array)), array.data.device_id, array.dtype, array.shape
                look.append(array._c_contiguous or array.strides)
            else:
                return way(*arrays, *options)
        for option in options:
            if type(option) not in _OPTIONS:
                return way(*arrays, *options)
            look += type(option), option or repr(option)  # since True, 1 and 1.0, or 0.0 and -0.0, are equal
        return self._run(tuple(look), way, arrays, options)

    def _run(
        self, look: Any, way: Callable[..., Any], arrays: tuple[Any, ...], options: tuple[Any, ...]
    ) -> Any:
        recording = self._by_look.get(look)
        if recording is None:
            return self._record(look, way, arrays, options)
        if recording.suits(arrays):
            return recording.play(arrays, self._ndarray)
        return way(*arrays, *options)

    def _record(
        self, look: Any, way: Callable[..., Any], arrays: tuple[Any, ...], options: tuple[Any, ...]
    ) -> Any:
        with _watched() as recorder:
            result = way(*arrays, *options)
        recording = recorder.recording(arrays, result, self._box)
        if recording is not None and recording.suits(arrays):
            if len(self._by_look) >= MOST_RECORDINGS:
                self._by_look.clear()
            self._by_look[look] = recording
        return result


def _recordings_of(kind: type) -> Recordings | None:
    """What is remembered of calls on arrays of type `kind`; None unless it is CuPy's.

    It rests on parts of CuPy that are not documented; where one is missing, calls go the long way.
    """
    cupy: Any = sys.modules.get("cupy")
    if kind is not getattr(cupy, "ndarray", None):
        return None
    try:
        from cupy.cuda.function import CNumpyArray
    except ImportError:
        return None
    has_all = hasattr(kind, "_c_contiguous") and hasattr(cupy.RawKernel, "kernel")
    return Recordings(kind, cupy.cuda.runtime.getDevice, CNumpyArray) if has_all else None


RECORDINGS = ByType(_recordings_of)
recordings_of = RECORDINGS.__getitem__


# --- Taking notes ----------------------------------------------------------------------------------


class Recorder:
    """Notes of what one call does on its device, as its backend tells them."""

    def __init__(self) -> None:
        self._launches: list[tuple[Any, tuple[int, ...], tuple[int, ...], Sequence[Any], int]] = []
        self._fresh: list[Any] = []  # kept, so that no two have one address
        self._is_complete = True

    def launched(
        self,
        kernel: Any,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Sequence[Any],
        shared_bytes: int,
    ) -> None:
        """Note a launch of a `cupy.RawKernel`."""
        self._launches.append((kernel, grid, block, args, shared_bytes))

    def allocated(self, array: Any) -> None:
        """Note new memory."""
        self._fresh.append(array)

    def did_more(self) -> None:
        """Note that there was more to the call than its launches."""
        self._is_complete = False

    def recording(self, arrays: tuple[Any, ...], result: Any, box: Callable[[Any], Any]) -> Recording | None:
        """What was noted of a call on `arrays` that returned `result`, if it can be repeated."""
        forbidden = _forbidden_distances(arrays)
        if forbidden is None or not self._is_complete or not self._launches:
            return None  # where nothing was launched, another backend may have done the work
        pool = _Pool(arrays, self._fresh, box)
        try:
            launches = [
                (kernel.kernel, grid, block, itemgetter(*map(pool.place, args)), shared_bytes)
                for kernel, grid, block, args, shared_bytes in self._launches
            ]
            returned = [pool.returned(array) for array in (result if type(result) is tuple else (result,))]
        except KeyError:
            return None
        return Recording(launches, pool.fresh, tuple(pool.numbers), forbidden, itemgetter(*returned))


class _Pool:
    """Where the arrays and numbers of a recorded call have their places in the pool of a `Recording`.

    KeyError stands for memory that the recorder was told nothing of.
    """

    def __init__(self, arrays: tuple[Any, ...], fresh: list[Any], box: Callable[[Any], Any]) -> None:
        self.fresh = [(array.shape, array.dtype) for array in fresh]
        self.numbers: list[Any] = []
        self._box = box
        self._arrays = [*arrays, *fresh]
        self._own = len(arrays)
        self._places = {array.data.ptr: at for at, array in enumerate(self._arrays) if array is not None}

    def place(self, arg: Any) -> int:
        """The place of an argument of a launch."""
        if isinstance(arg, np.generic):
            self.numbers.append(self._box(np.array(arg)))
            return len(self._arrays) + len(self.numbers) - 1
        return self._places[arg.data.ptr]

    def returned(self, array: Any) -> int:
        """The place of what the call returns: `out`, or new memory in whatever shape."""
        place = self._places[array.data.ptr]
        if place < self._own:
            if array is not self._arrays[self._own - 1]:
                raise KeyError("a view of an argument")
            return place
        if not array._c_contiguous or array.nbytes != self._arrays[place].nbytes:
            raise KeyError("a part of new memory")
        self.fresh[place - self._own] = array.shape, array.dtype
        return place


@contextmanager
def _watched() -> Iterator[Recorder]:
    """Let the backend tell a new recorder what it does, in this thread."""
    _thread.recorder = recorder = Recorder()
    try:
        yield recorder
    finally:
        _thread.recorder = None


def recorder() -> Recorder | None:
    """Who is to be told what this thread's call does, if anyone."""
    return getattr(_thread, "recorder", None)


def _forbidden_distances(arrays: tuple[Any, ...]) -> list[tuple[int, int]] | None:
    """`Recording.forbidden` of these arrays; None where two of them have one address."""
    out = arrays[-1]
    others = {id(array): array for array in arrays if array is not None and array is not out}
    if len({array.data.ptr for array in others.values()}) < len(others):
        return None
    if out is None:
        return []
    low, high = _reach(out)
    reaches = [_reach(array) if id(array) in others else (high, low) for array in arrays[:-1]]
    return [(low - last, high - first) for first, last in reaches]


def _reach(array: Any) -> tuple[int, int]:
    """Bounds of an array's memory, counted from its first element."""
    return byte_bounds(0, array.shape, array.strides, array.itemsize)
