"""A stand-in for CuPy on a machine without a GPU, so that the ``cupy`` backend runs there unchanged.

Its arrays live in host memory but behave as CuPy's where a mistake would show: they mix with no NumPy
array, indexing returns arrays, fresh memory is poisoned, and a launch packs its arguments as CuPy
does, into a kernel built by `tests.shim.build`.

    with fake_cupy.install() as cupy:
        vecprod_gpu.cross(cupy.asarray(a), cupy.asarray(b))
"""

import contextlib
import sys
import types
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from unittest import mock

import numpy as np

from tests.shim import streams
from tests.shim.build import build
from vecprod_gpu import _compile, _dispatch
from vecprod_gpu.backends import cupy_raw
from vecprod_gpu.backends._device import chips

DEFAULT_SHARED_BYTES = 49152
MOST_SHARED_BYTES = 65536  # of compute capability 7.5, the least that any supported GPU grants
MULTIPROCESSORS = 4

VIEWS = ("broadcast_to", "moveaxis", "reshape")  # functions that read no numbers

CONSTANTS = {
    "cudaDevAttrCooperativeLaunch": 1,
    "cudaDevAttrMultiProcessorCount": MULTIPROCESSORS,
    "cudaDevAttrMaxSharedMemoryPerBlockOptin": MOST_SHARED_BYTES,
}

machine = streams.Machine()  # `on_machine` puts others in its place


class ndarray(np.ndarray):
    """An array that NumPy's functions refuse to mix with NumPy's own arrays."""

    __module__ = "cupy"

    def __array_finalize__(self, source):
        self._device = getattr(source, "_device", machine.device)

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        machine.settle()
        _refuse_host_arrays(*inputs, *out)
        results = getattr(ufunc, method)(
            *map(_bare, inputs), **({"out": tuple(map(_bare, out))} if out else {}), **options
        )
        return out[0] if out else _wrap(results)

    def __array_function__(self, function, types, args, kwargs):
        if any(kind is np.ndarray for kind in types):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        if function.__name__ not in VIEWS:
            machine.settle()
        return _wrap(super().__array_function__(function, types, args, kwargs))

    def __getitem__(self, key):
        return _wrap(super().__getitem__(key))

    def __setitem__(self, key, value):
        machine.settle()
        _refuse_host_arrays(value)
        super().__setitem__(key, value)

    @property
    def __cuda_array_interface__(self):
        """As CuPy publishes it, always with strides."""
        return {**self.__array_interface__, "version": 3, "strides": self.strides, "stream": 1}

    @property
    def data(self):
        """Where CuPy keeps the pointer."""
        return streams.MemoryPointer(machine, self)

    @property
    def device(self):
        """Where it lies."""
        return types.SimpleNamespace(id=self._device)

    def astype(self, dtype, **options):
        """As NumPy's."""
        if dtype != self.dtype:
            machine.settle()
        return super().astype(dtype, **options)

    def get(self):
        """Return a copy on the host."""
        machine.settle()
        return np.array(self, subok=False)


def _bare(value):
    return value.view(np.ndarray) if isinstance(value, ndarray) else value


def _wrap(value):
    if isinstance(value, (np.ndarray, np.generic)) and not isinstance(value, ndarray):
        return np.asarray(value).view(ndarray)
    return value


def _refuse_host_arrays(*values):
    for value in values:
        if isinstance(value, np.ndarray) and not isinstance(value, ndarray):
            raise TypeError(f"Unsupported type {type(value)}")


# --- Functions of the module -----------------------------------------------------------------------


def asarray(value, dtype=None):
    """View of a device array; copy of anything else."""
    if not isinstance(value, ndarray) and hasattr(value, "__cuda_array_interface__"):
        description = {**value.__cuda_array_interface__, "version": 3}
        holder = types.SimpleNamespace(__array_interface__=description, owner=value)
        value = np.asarray(holder).view(ndarray)
    if isinstance(value, ndarray):
        return value if dtype is None else value.astype(dtype, copy=False)
    machine.settle()
    return np.array(value, dtype=dtype, subok=False).view(ndarray)


def asnumpy(value):
    """Return a copy on the host."""
    return value.get() if isinstance(value, ndarray) else np.asarray(value)


def empty(shape, dtype=float):
    """Memory full of ones in every bit: NaN for floats, so that no kernel passes by reading it."""
    result = np.empty(shape, dtype)
    if result.size:
        result.reshape(-1).view(np.uint8)[:] = 0xFF
    memory = result.view(streams.Memory)
    memory.stream = machine.current_stream()
    return memory.view(ndarray)


def copyto(destination, source, casting="same_kind"):
    """As NumPy's, between device arrays."""
    if not isinstance(destination, ndarray):
        raise TypeError("dst must be cupy.ndarray")
    _refuse_host_arrays(source)
    machine.settle()
    np.copyto(_bare(destination), _bare(source), casting=casting)


def _numpy_function(name):
    """Return NumPy's function for device arrays alone."""
    function = getattr(np, name)
    if not callable(function) or isinstance(function, type):
        return function

    def on_device(*args, **kwargs):
        _refuse_host_arrays(*args)
        if not (name in VIEWS or (name == "ascontiguousarray" and args[0].flags.c_contiguous)):
            machine.settle()
        return _wrap(function(*map(_bare, args), **kwargs))

    return on_device


# --- Kernels ---------------------------------------------------------------------------------------


@dataclass
class BuildOptions:
    """What the modules made while installed are built with."""

    sanitize: bool = False
    count_reads: bool = False
    edit: object = staticmethod(lambda source: source)


class RawKernel:
    """A kernel whose launch packs its arguments as CuPy's does."""

    def __init__(self, module, name):
        self._module, self._name = module, name
        self._shared_bytes_limit = DEFAULT_SHARED_BYTES

    @property
    def max_dynamic_shared_size_bytes(self):
        """Shared memory asked of the driver."""
        return self._shared_bytes_limit

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, count):
        if count > MOST_SHARED_BYTES:
            raise RuntimeError("CUDA_ERROR_INVALID_VALUE: invalid argument")
        self._shared_bytes_limit = count

    def __call__(self, grid, block, args, *, shared_mem=0):
        """Launch on the current stream; on the default one, wait as well."""
        self.kernel(grid, block, args, shared_mem)

    def kernel(self, grid, block, args, shared_mem=0, *, enable_cooperative_groups=False):
        """Launch as the bare function does."""
        if shared_mem > self._shared_bytes_limit:
            raise RuntimeError("CUDA_ERROR_INVALID_VALUE: invalid argument")
        if enable_cooperative_groups and np.prod(grid) > MULTIPROCESSORS:
            raise RuntimeError("CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE")
        if any(isinstance(value, ndarray) and value.device.id != machine.device for value in args):
            raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS: an array lies on another device")

        def launch(args=tuple(args)):  # which are kept for as long as it waits
            packed = [_pack(value) for value in args]
            self._module.launch(self._name, grid, block[0], packed, shared_mem, enable_cooperative_groups)

        machine.run_or_queue("launch", launch)


def _pack(value):
    """Bytes that CuPy hands to the driver for an argument."""
    if isinstance(value, ndarray):
        return np.uint64(value.ctypes.data)
    if isinstance(value, np.generic):
        return value
    python_scalars = {bool: np.bool_, int: np.int64, float: np.float64, complex: np.complex128}
    if type(value) in python_scalars:
        return python_scalars[type(value)](value)
    raise TypeError(f"Unsupported type {type(value)}")


def _make_module(options):
    """Return the module ``cupy`` for some build options."""

    class RawModule:
        """A text of CUDA, built when its first kernel is asked for."""

        def __init__(self, *, code, options=()):
            if tuple(options) != _compile.OPTIONS:
                raise ValueError(f"unexpected compiler options {options}")
            self._code = code

        def get_function(self, name):
            code = fake.edit_source(self._code)
            module = build(code, sanitize=options.sanitize, count_reads=options.count_reads)
            fake.built[id(module)] = module
            return RawKernel(module, name)

    fake = types.ModuleType("cupy")
    fake.__spec__ = ModuleSpec("cupy", None)
    fake.__getattr__ = _numpy_function
    fake.edit_source, fake.built = options.edit, {}
    fake.elements_read = lambda: sum(module.elements_read for module in fake.built.values())
    fake.ndarray, fake.RawModule, fake.RawKernel = ndarray, RawModule, RawKernel
    fake.asarray, fake.array, fake.asnumpy, fake.empty, fake.copyto = asarray, asarray, asnumpy, empty, copyto
    fake.cuda = streams.cuda(machine, CONSTANTS)
    return fake


@contextlib.contextmanager
def install(*, sanitize=False, count_reads=False, edit=lambda source: source):
    """Let ``import cupy`` find the stand-in, and the backend find a driver; yields the module."""
    fake = _make_module(BuildOptions(sanitize, count_reads, edit))
    driver = types.SimpleNamespace(driver_version=lambda: (13, 0), device_count=lambda: 1)
    with (
        _imported_as("cupy", fake),
        mock.patch.object(cupy_raw, "_driver", driver),
        mock.patch.object(cupy_raw, "_has_nvrtc", return_value=True),
    ):
        yield fake


@contextlib.contextmanager
def on_machine(devices, seed):
    """Let the stand-in that is installed have some devices, whose streams run in an order of that seed."""
    fake, other = sys.modules["cupy"], streams.Machine(devices, seed)
    with (
        mock.patch.object(sys.modules[__name__], "machine", other),
        mock.patch.object(fake, "cuda", streams.cuda(other, CONSTANTS)),
    ):
        yield other


@contextlib.contextmanager
def _imported_as(name, module):
    """Put a module in place of another; `mock.patch.dict` would drop what is imported meanwhile."""
    before = sys.modules.get(name)
    _forget()
    sys.modules[name] = module
    try:
        yield
    finally:
        _forget()
        sys.modules.pop(name, None)
        if before is not None:
            sys.modules[name] = before


def _forget():
    """Drop what is cached of one CuPy before another takes its place."""
    for cached in (chips.chip_of, _compile._function, _compile._module, _dispatch._status):
        cached.cache_clear()
