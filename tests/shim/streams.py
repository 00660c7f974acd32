"""Streams, events and pinned memory of the stand-in for CuPy, which let mistakes in their use show.

What is queued on a stream runs later: when somebody waits for it, or before.  So the order is one
that a GPU may choose, and a missing wait gives wrong numbers, under some seed at the latest.  `Machine.log`
tells what was queued and what the host waited for.
"""

import ctypes
import itertools
import random
import threading
import types
import weakref
from collections import deque

import numpy as np


class Machine:
    """Some devices without a GPU.

    Parameters
    ----------
    devices : int
        How many.
    seed : int or None
        Of which streams run ahead of what must be; None for no stream.
    """

    def __init__(self, devices=1, seed=None):
        self.devices, self.log = devices, []
        self.lock = threading.RLock()  # the kernels of `tests.shim.build` take turns, too
        self._random = random.Random(seed)
        self._paces = (0,) if seed is None else (0, 0, 1, 3)
        self._thread = threading.local()
        self._streams = weakref.WeakSet()
        self._pinned = _Weak()

    @property
    def device(self):
        """The current one of this thread."""
        return getattr(self._thread, "device", 0)

    @device.setter
    def device(self, number):
        self._thread.device = number

    @property
    def stack(self):
        """The streams of this thread, on all devices, the current one last."""
        if not hasattr(self._thread, "stack"):
            self._thread.stack = []
        return self._thread.stack

    def current_stream(self):
        """The current stream of this thread and device; None where it is the default one."""
        return next((stream for stream in reversed(self.stack) if stream.device_id == self.device), None)

    def queue(self, stream, what, work):
        """Let a stream run something in its turn."""
        with self.lock:
            if stream.device_id != self.device:
                raise RuntimeError("the device that the stream is created on does not match the current one")
            self.log.append((what, stream.ptr))
            stream.waiting.append(work)
            for other in sorted(self._streams, key=lambda one: one.ptr):
                for _ in range(other.pace):
                    other.run_next()

    def run_or_queue(self, what, work):
        """Run something at once, or in the turn of the current stream."""
        stream = self.current_stream()
        if stream is None:
            with self.lock:
                work()
        else:
            self.queue(stream, what, work)

    def settle(self):
        """Run what the current stream was given: what follows is done by NumPy, at once."""
        stream = self.current_stream()
        if stream is not None:
            with self.lock:
                stream.run_all()

    # --- What CuPy calls -------------------------------------------------------------------------------

    def alloc_pinned_memory(self, nbytes):
        """Poisoned memory, from which copies may be made until it is dropped."""
        memory = np.full(nbytes, 0xFF, np.uint8)
        with self.lock:
            self._pinned.add(memory)
        return memoryview(memory)

    def copy(self, target, source, nbytes, stream, host, owner):
        """Queue a copy between pinned memory and that of a device, whose owner may not be dropped before."""
        stays = weakref.ref(owner) if _allocated_on(owner) is not stream else lambda: owner

        def work():
            starts = ((memory.ctypes.data, memory.size) for memory in self._pinned)
            if not any(start <= host and host + nbytes <= start + size for start, size in starts):
                raise AssertionError(
                    "a copy uses host memory that is not pinned, or was given back before it"
                )
            if stays() is None:
                raise AssertionError("a copy uses memory of a device that was given back before it")
            ctypes.memmove(target, source, nbytes)

        self.queue(stream, "copy", work)

    def stream_type(machine):
        """CuPy's class of streams."""
        numbers = itertools.count(3)  # 0 to 2 are CUDA's own

        class Stream:
            def __init__(self, null=False, non_blocking=False):
                self.ptr, self.device_id = next(numbers), machine.device
                self.waiting = deque()
                self.pace = machine._random.choice(machine._paces)  # some run ahead, others lag behind
                machine._streams.add(self)

            def __enter__(self):
                if self.device_id != machine.device:
                    raise RuntimeError("the stream belongs to another device than the current one")
                machine.stack.append(self)
                return self

            def __exit__(self, *_):
                machine.stack.pop()

            def wait_event(self, event):
                marked = event.mark
                if marked is not None:
                    machine.queue(self, "wait", marked.reach)

            def synchronize(self):
                machine.log.append(("synchronize stream", self.ptr))
                with machine.lock:
                    self.run_all()

            def run_next(self):
                if self.waiting:
                    self.waiting[0]()
                    self.waiting.popleft()

            def run_all(self):
                while self.waiting:
                    self.run_next()

        return Stream

    def event_type(machine):
        """CuPy's class of events."""

        class Event:
            def __init__(self, block=False, disable_timing=False):
                self.mark, self.device_id = None, machine.device

            def record(self, stream):
                if stream.device_id != self.device_id:
                    raise RuntimeError("the event belongs to another device than the stream")
                self.mark = _Mark(stream)
                machine.queue(stream, "record", self.mark.pass_by)

            def synchronize(self):
                machine.log.append(("synchronize event", self.mark and self.mark.stream.ptr))
                if self.mark is not None:
                    with machine.lock:
                        self.mark.reach()

            @property
            def done(self):
                return self.mark is None or self.mark.is_passed

        return Event

    def device_type(machine):
        """CuPy's class of devices."""

        class Device:
            def __init__(self, number=None):
                self.id, self._before = machine.device if number is None else number, []

            def __enter__(self):
                if not 0 <= self.id < machine.devices:
                    raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
                self._before.append(machine.device)
                machine.device = self.id
                return self

            def __exit__(self, *_):
                machine.device = self._before.pop()

            def synchronize(self):
                machine.log.append(("synchronize device", self.id))

        return Device


class _Weak:
    """Arrays that are forgotten when they are dropped; they cannot be in a set."""

    def __init__(self):
        self._references = []

    def add(self, array):
        """Remember one more."""
        self._references = [one for one in self._references if one() is not None] + [weakref.ref(array)]

    def __iter__(self):
        return (array for one in self._references if (array := one()) is not None)


class _Mark:
    """A place in the queue of a stream."""

    def __init__(self, stream):
        self.stream, self.is_passed = stream, False

    def pass_by(self):
        self.is_passed = True

    def reach(self):
        """Run the stream up to here."""
        while not self.is_passed:
            self.stream.run_next()


class MemoryPointer:
    """Where CuPy keeps the address of an array."""

    def __init__(self, machine, array):
        self._machine, self._array = machine, array
        self.ptr = array.ctypes.data

    def copy_from_host_async(self, address, nbytes, stream):
        """Queue a copy from pinned memory."""
        self._machine.copy(self.ptr, address, nbytes, stream, address, owner_of(self._array))

    def copy_to_host_async(self, address, nbytes, stream):
        """Queue a copy to pinned memory."""
        self._machine.copy(address, self.ptr, nbytes, stream, address, owner_of(self._array))


class Memory(np.ndarray):
    """What an array of a device lies in, with the stream whose pool it comes from and goes back to."""

    stream = None


def owner_of(array):
    """The memory that an array is a view of."""
    while not isinstance(array, Memory) and isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _allocated_on(memory):
    return getattr(memory, "stream", None)


def cuda(machine, constants):
    """The module ``cupy.cuda``."""
    null = types.SimpleNamespace(ptr=0, device_id=-1, synchronize=lambda: None)
    return types.SimpleNamespace(
        is_available=lambda: True,
        get_current_stream=lambda: machine.current_stream() or null,
        Device=machine.device_type(),
        Stream=machine.stream_type(),
        Event=machine.event_type(),
        alloc_pinned_memory=machine.alloc_pinned_memory,
        runtime=types.SimpleNamespace(
            getDevice=lambda: machine.device,
            getDeviceCount=lambda: machine.devices,
            deviceSynchronize=lambda: machine.log.append(("synchronize device", machine.device)),
            deviceGetAttribute=lambda attribute, device: attribute,
            **constants,
        ),
    )
