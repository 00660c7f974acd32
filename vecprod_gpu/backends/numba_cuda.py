"""The Numba CUDA backend: the twins of the kernels, on a GPU or in Numba's simulator.

It takes the arrays of any library that speaks the CUDA Array Interface, and needs no CuPy.  Native
arrays are `vecprod_gpu.backends._device.windows.Window`; which kernel runs on which grid is decided in
`_device`, for both GPU dialects.
"""

import importlib
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

from vecprod_gpu._compile import NONE, Constants

from . import _driver
from ._device import geometry, linreg, moments, products, systems, windows
from ._device.launcher import Grid, supports
from ._device.windows import Window, cast, empty, moveaxis
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


# --- What it is ------------------------------------------------------------------------------------


def status() -> Status:
    """Whether the backend can run here; see `vecprod_gpu.backends`."""
    numba_cuda = _installed("numba-cuda")
    if find_spec("numba") is None or numba_cuda is None:
        return Status(False, "numba-cuda is not installed", _driver.install_command())
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"):
        return Status(True, f"numba-cuda {numba_cuda} in its simulator: NUMBA_ENABLE_CUDASIM is set")
    return _unfit_packages(numba_cuda) or _unfit_machine() or _ready(numba_cuda)


def _unfit_packages(numba_cuda: str) -> Status | None:
    """Tell what is wrong with the installed packages, if anything."""
    if _release(numba_cuda) < (0, 31) and _release(np.__version__) >= (2, 5):
        reason = f"numba-cuda {numba_cuda} cannot compile with NumPy {np.__version__}"
        return Status(False, reason, 'pip install "numpy<2.5"')
    if _installed("cuda-bindings") is None:
        reason = "numba-cuda is installed without the CUDA toolkit"
        return Status(False, reason, _driver.install_command())
    return None


def _unfit_machine() -> Status | None:
    """Tell what the machine or its driver lacks, if anything."""
    driver = _driver.driver_version()
    if driver is None:
        return Status(False, "no NVIDIA driver was found", "install it from https://www.nvidia.com/drivers")
    toolkit = _installed("cuda-bindings") or "0"
    if driver < (_release(toolkit)[0], 0):
        reason = f"the NVIDIA driver runs CUDA {driver[0]}.{driver[1]}, and toolkit {toolkit} is newer"
        return Status(False, reason, f"{_driver.install_command()}, or update the driver")
    if _driver.device_count() == 0:
        return Status(False, "no NVIDIA GPU is visible", "unset CUDA_VISIBLE_DEVICES, if it hides one")
    if os.environ.get("NUMBA_DISABLE_CUDA", "0") not in ("", "0"):
        return Status(False, "Numba is told to leave the GPU alone", "unset NUMBA_DISABLE_CUDA")
    return None


def _ready(numba_cuda: str) -> Status:
    major, minor = _driver.driver_version() or (0, 0)
    return Status(True, f"numba-cuda {numba_cuda}, NVIDIA driver for CUDA {major}.{minor}")


def _installed(package: str) -> str | None:
    """Version of an installed package, without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _release(package_version: str) -> tuple[int, ...]:
    """First two numbers of a version."""
    return tuple(int(part) for part in package_version.split(".")[:2] if part.isdecimal())


# --- Arrays ----------------------------------------------------------------------------------------


def native(array: Any) -> Window:
    """Window on an array of a GPU library, or on a copy of a host array; see `vecprod_gpu.backends`."""
    if isinstance(array, Window):
        return array
    if not windows.is_on_device(array):
        return windows.to_device(np.asarray(array))
    return windows.readable(windows.window(array))


def reshape(native: Window, shape: Sequence[int]) -> Window:
    """As `numpy.reshape`; see `vecprod_gpu.backends`."""
    return windows.reshape(native, tuple(shape))


def broadcast_to(native: Window, shape: Sequence[int]) -> Window:
    """As `numpy.broadcast_to`; see `vecprod_gpu.backends`."""
    return windows.broadcast_to(native, tuple(shape))


def contiguous(native: Window) -> Window:
    """Window in C order: the same one where it is so already; see `vecprod_gpu.backends`."""
    return windows.contiguous(native, native.shape)


def address(native: Window) -> int:
    """Where its first element lies; see `vecprod_gpu.backends`."""
    return native.address


def overlaps(native: Window, other: Window) -> bool:
    """Whether the memory of the two may meet; see `vecprod_gpu.backends`."""
    (first, first_end), (second, second_end) = native.bounds, other.bounds
    return max(first, second) < min(first_end, second_end)


def assign(destination: Any, native: Window) -> None:
    """``destination[...] = native`` in the caller's own kind; see `vecprod_gpu.backends`."""
    if isinstance(destination, np.ndarray):
        np.copyto(destination, windows.to_host(native), casting="same_kind")
        return
    if not np.can_cast(native.dtype, destination.dtype, "same_kind"):
        raise TypeError(f"cannot cast {native.dtype} to {destination.dtype} by the rule 'same_kind'")
    target = destination if isinstance(destination, Window) else windows.window(destination)
    windows.copy(target, native)


def export(native: Window, kind: str) -> Any:
    """Array of the caller's kind; see `vecprod_gpu.backends`."""
    if kind == "numpy":
        return windows.to_host(native)
    if kind == "numba":
        return native.as_numba()
    # CuPy would wait for a stream that the array names; it is the current one of CuPy itself.
    unnamed = replace(native, queue=windows.Queue())
    return importlib.import_module("cupy").asarray(unnamed.as_numba())


# --- Operations ------------------------------------------------------------------------------------


class _NumbaLauncher:
    """`Launcher` for Numba, which learns types from the arrays and scalars themselves."""

    shared_bytes_limit = 48 * 1024  # Numba cannot ask the driver for more.
    compiles_for_shapes = False  # no arrays of its kernels are sure to stay in registers
    chip = None
    empty = staticmethod(empty)
    contiguous = staticmethod(windows.contiguous)
    assign = staticmethod(windows.copy)
    overlaps = staticmethod(overlaps)
    to_device = staticmethod(windows.to_device)
    to_host = staticmethod(windows.to_host)
    item = staticmethod(windows.item)
    stable_order = staticmethod(windows.stable_order)

    @property
    def threads(self) -> int:
        return windows.threads()

    @property
    def max_blocks(self) -> int:
        return windows.max_blocks()

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
        constants: Constants = NONE,
    ) -> None:
        windows.launch(file, kernel, grid, block, args, shared_bytes)


_LAUNCHER = _NumbaLauncher()

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
