"""What can be learnt of the NVIDIA driver without starting it.

``cuInit`` in a process breaks CUDA in every child that it forks later, so nothing here calls it: the
driver's library is only loaded, its version is asked by the one function that needs no context, and
devices are counted by NVML, the management library that comes with the driver.
"""

import ctypes
import os
import sys
from functools import cache

_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_MANAGEMENT = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"


@cache
def driver_version() -> tuple[int, int] | None:
    """Newest CUDA version that the driver runs, as ``(major, minor)``; None without a driver.

    Examples
    --------
    >>> version = driver_version()
    >>> version is None or version >= (1, 0)
    True
    """
    library = _load(_DRIVER)
    version = ctypes.c_int()
    if library is None or library.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return version.value // 1000, version.value % 1000 // 10


def install_command() -> str:
    """Command that installs what suits the driver, or the newest where there is none."""
    version = driver_version()
    return f'pip install "vecprod-gpu[{"cuda12" if version and version[0] <= 12 else "cuda13"}]"'


def device_count() -> int | None:
    """Count the GPUs that this process may use; None where NVML cannot tell."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return 0
    return _installed_devices()


@cache
def _installed_devices() -> int | None:
    """Count the GPUs of the machine; None where NVML cannot tell."""
    library = _load(_MANAGEMENT)
    if library is None or library.nvmlInit_v2() != 0:
        return None
    count = ctypes.c_uint()
    known = library.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0
    library.nvmlShutdown()
    return count.value if known else None


def device_names() -> list[str]:
    """Names of the GPUs of the machine, whoever may use them; none where NVML cannot tell."""
    library = _load(_MANAGEMENT)
    count = ctypes.c_uint()
    if library is None or library.nvmlInit_v2() != 0:
        return []
    library.nvmlDeviceGetCount_v2(ctypes.byref(count))
    names = [_name_of(library, index) for index in range(count.value)]
    library.nvmlShutdown()
    return names


def _name_of(library: ctypes.CDLL, index: int) -> str:
    """Name of a GPU; empty where NVML cannot tell."""
    device, name = ctypes.c_void_p(), ctypes.create_string_buffer(96)
    if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) == 0:
        library.nvmlDeviceGetName(device, name, len(name))
    return name.value.decode(errors="replace")


def _load(name: str) -> ctypes.CDLL | None:
    """Load the shared library `name`, or None where the loader has none."""
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None
