"""The backend ``cupy``: launches the ``.cu`` kernels on CuPy arrays; `vecprod_gpu.backends` is its contract.

CuPy is imported when the first array arrives, so that asking for the `status` costs nothing and
starts no driver.
"""

import ctypes.util
import importlib
import sys
from collections.abc import Sequence
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from vecprod_gpu import _compile
from vecprod_gpu._layout import byte_bounds
from vecprod_gpu.errors import DeviceError

from . import _driver
from ._device import geometry, linreg, moments, products, systems
from ._device.chips import CupyChip, chip_of
from ._device.launcher import MOST_SHARED_BYTES, THREADS, Grid, supports
from ._device.recordings import recorder
from ._status import Status

__all__ = [
    "address",
    "assign",
    "batched_outer",
    "broadcast_to",
    "cast",
    "co_moments",
    "contiguous",
    "cross",
    "empty",
    "export",
    "face_normals",
    "gram",
    "grid_normals",
    "linreg_is_kept",
    "linreg_pass",
    "linreg_steps",
    "measure",
    "moveaxis",
    "native",
    "overlaps",
    "reshape",
    "solve_systems",
    "solves_systems",
    "status",
    "supports",
    "vecdot",
    "vertex_normals",
]

_DEFAULT_SHARED_BYTES = 49152
"""Dynamic shared memory that a kernel may have without asking the driver for more."""


# --- What it is ------------------------------------------------------------------------------------


def status() -> Status:
    """Whether the backend can run here; see `vecprod_gpu.backends`."""
    installed = _cupy_distribution()
    if installed is None:
        return Status(False, "CuPy is not installed", _driver.install_command())
    return _unfit_machine(*installed) or _ready(*installed)


def _unfit_machine(package: str, number: str) -> Status | None:
    """Tell what the machine, its driver or the toolkit lacks, if anything."""
    driver = _driver.driver_version()
    if driver is None:
        return Status(False, "no NVIDIA driver was found", "install it from https://www.nvidia.com/drivers")
    toolkit = _toolkit_major(package)
    if toolkit is not None and driver < (toolkit, 0):
        reason = (
            f"the NVIDIA driver runs CUDA {driver[0]}.{driver[1]}, and {package} {number} needs {toolkit}"
        )
        return Status(
            False, reason, f"pip uninstall {package} && {_driver.install_command()}, or update the driver"
        )
    if _driver.device_count() == 0:
        return Status(False, "no NVIDIA GPU is visible", "unset CUDA_VISIBLE_DEVICES, if it hides one")
    if not _has_nvrtc(toolkit or driver[0]):
        reason = f"{package} {number} is installed without NVRTC, the compiler of its kernels"
        return Status(False, reason, f'pip install "{package}[ctk]"')
    return None


def _ready(package: str, number: str) -> Status:
    major, minor = _driver.driver_version() or (0, 0)
    return Status(True, f"{package} {number}, NVIDIA driver for CUDA {major}.{minor}")


def _cupy_distribution() -> tuple[str, str] | None:
    """Name and version of the installed CuPy; its wheels are named after the toolkit."""
    if find_spec("cupy") is None:
        return None
    for package in ("cupy-cuda13x", "cupy-cuda12x", "cupy"):
        try:
            return package, version(package)
        except PackageNotFoundError:
            continue
    return "cupy", "of unknown version"


def _toolkit_major(package: str) -> int | None:
    """CUDA version that a wheel is built for, as ``cupy-cuda13x`` says; None for one built by hand."""
    digits = package.removeprefix("cupy-cuda").removesuffix("x")
    return int(digits) if digits.isdecimal() else None


@cache
def _has_nvrtc(major: int) -> bool:
    """Whether NVRTC is on the loader's path, or among the packages where CuPy looks for it."""
    if ctypes.util.find_library("nvrtc") is not None:
        return True
    patterns = (f"nvidia/cu{major}/**/*nvrtc*", "nvidia/cuda_nvrtc/**/*nvrtc*")
    folders = (Path(entry) for entry in sys.path if entry)
    return any(True for folder in folders for pattern in patterns for _ in folder.glob(pattern))


# --- Arrays ----------------------------------------------------------------------------------------


def native(array: Any) -> Any:
    """Array of CuPy: itself, a view of another library's device array, or a copy of a host array.

    Raises
    ------
    DeviceError
        If it lies on another GPU than the current one, from where CuPy would copy it unasked.
    """
    native = _cupy().asarray(array)
    if native is not array and native.size and not _is_on_host(array) and _is_copied(array, native):
        raise DeviceError(
            "the array does not lie on the current GPU; make the call under cupy.cuda.Device(...) of its GPU"
        )
    return native


def empty(shape: Sequence[int], dtype: Any) -> Any:
    """As `numpy.empty`."""
    array = _cupy().empty(tuple(shape), dtype)
    if (notes := recorder()) is not None:
        notes.allocated(array)
    return array


def cast(native: Any, dtype: Any) -> Any:
    """As ``native.astype(dtype)``, without a copy where it has that dtype."""
    return native.astype(dtype, copy=False)


def moveaxis(native: Any, source: int, destination: int) -> Any:
    """As `numpy.moveaxis`."""
    return _cupy().moveaxis(native, source, destination)


def reshape(native: Any, shape: Sequence[int]) -> Any:
    """As `numpy.reshape`."""
    return native.reshape(tuple(shape))


def broadcast_to(native: Any, shape: Sequence[int]) -> Any:
    """As `numpy.broadcast_to`."""
    return _cupy().broadcast_to(native, tuple(shape))


def contiguous(native: Any) -> Any:
    """Return `native` in C order: itself where it is so already."""
    return _cupy().ascontiguousarray(native)


def address(native: Any) -> int:
    """Return where its first element lies."""
    return int(native.data.ptr)


def overlaps(native: Any, other: Any) -> bool:
    """Whether the memory of the two may meet; see `vecprod_gpu.backends`.

    `cupy.may_share_memory` takes two views of another library's array for two pieces of memory.
    """
    (first, first_end), (second, second_end) = (
        byte_bounds(address(one), one.shape, one.strides, one.dtype.itemsize) for one in (native, other)
    )
    return max(first, second) < min(first_end, second_end)


def assign(destination: Any, source: Any) -> None:
    """``destination[...] = source`` in the caller's own kind; see `vecprod_gpu.backends`."""
    if (notes := recorder()) is not None:
        notes.did_more()
    if _is_on_host(destination):
        np.copyto(destination, _cupy().asnumpy(source), casting="same_kind")
    else:
        _cupy().copyto(native(destination), source, casting="same_kind")


def export(native: Any, kind: str) -> Any:
    """Array of the caller's kind; see `vecprod_gpu.backends`."""
    if kind == "numpy":
        return _cupy().asnumpy(native)
    return native if kind == "cupy" else _as_numba(native)


def _as_numba(native: Any) -> Any:
    """Numba device array over the same memory."""
    interface = dict(native.__cuda_array_interface__)
    if _cupy().cuda.get_current_stream().ptr == 0:
        interface["stream"] = None  # Numba's default stream is the same one: there is nothing to wait for
    return importlib.import_module("numba.cuda").from_cuda_array_interface(interface, owner=native)


def _cupy() -> Any:
    import cupy

    return cupy


def _is_copied(array: Any, native: Any) -> bool:
    """Whether `native` is no view of a device array, of any library."""
    return address(native) != int(array.__cuda_array_interface__["data"][0])


def _is_on_host(array: Any) -> bool:
    return not hasattr(array, "__cuda_array_interface__")


# --- Operations ------------------------------------------------------------------------------------


class _CupyLauncher:
    """`Launcher` for CuPy, on its current stream."""

    threads = THREADS
    max_blocks = 65535  # of a grid's second axis; also enough to fill any GPU
    shared_bytes_limit = MOST_SHARED_BYTES  # SHARED_LIMIT of linreg.cu
    compiles_for_shapes = True
    empty = staticmethod(empty)
    assign = staticmethod(assign)
    overlaps = staticmethod(overlaps)

    to_device = staticmethod(native)

    @property
    def chip(self) -> CupyChip | None:
        """Not where kernels are compiled for no shape."""
        return chip_of(_cupy().cuda.runtime.getDevice()) if self.compiles_for_shapes else None

    @staticmethod
    def to_host(native: Any) -> np.ndarray[Any, Any]:
        return _cupy().asnumpy(native)  # type: ignore[no-any-return]

    @staticmethod
    def item(native: Any, index: int) -> Any:
        return native[index]

    @staticmethod
    def stable_order(keys: Any) -> Any:
        return _cupy().argsort(keys, axis=None, kind="stable")

    @staticmethod
    def contiguous(native: Any, shape: tuple[int, ...]) -> Any:
        return _cupy().ascontiguousarray(_cupy().broadcast_to(native, shape))

    def launch(
        self,
        file: str,
        kernel: str,
        stored_dtype: np.dtype[Any],
        sum_dtype: np.dtype[Any],
        grid: Grid,
        block: int,
        args: Sequence[Any],
        shared_bytes: int,
        constants: _compile.Constants = _compile.NONE,
    ) -> None:
        function = _compile.get_kernel(file, kernel, stored_dtype, sum_dtype, constants)
        if shared_bytes > _DEFAULT_SHARED_BYTES:
            # The most that any launch needs: another thread may launch the same function between the two.
            function.max_dynamic_shared_size_bytes = self.shared_bytes_limit
        function(grid, (block,), tuple(args), shared_mem=shared_bytes)
        if (notes := recorder()) is not None:
            notes.launched(function, grid, (block,), args, shared_bytes)


_LAUNCHER = _CupyLauncher()

batched_outer = partial(products.batched_outer, _LAUNCHER)
cross = partial(products.cross, _LAUNCHER)
measure = partial(geometry.measure, _LAUNCHER)
face_normals = partial(geometry.face_normals, _LAUNCHER)
vertex_normals = partial(geometry.vertex_normals, _LAUNCHER)
grid_normals = partial(geometry.grid_normals, _LAUNCHER)
vecdot = partial(products.vecdot, _LAUNCHER)
gram = partial(moments.gram, _LAUNCHER)
co_moments = partial(moments.co_moments, _LAUNCHER)
linreg_pass = partial(linreg.linreg_pass, _LAUNCHER)
linreg_steps = partial(linreg.linreg_steps, _LAUNCHER)
linreg_is_kept = partial(linreg.linreg_is_kept, _LAUNCHER)
solve_systems = partial(systems.solve_systems, _LAUNCHER)
solves_systems = systems.solves_systems
