"""Compiles unchanged CUDA source for the CPU with g++, and loads it."""

import ctypes
import hashlib
import os
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
FLAGS = (
    *("-std=c++17", "-ffp-contract=off", "-fPIC", "-Wno-unknown-pragmas"),
    "-fno-gnu-unique",  # else the libraries would share what their templates keep
)
SANITIZERS = (
    *("-g1", "-O0", "-fsanitize=address,undefined"),
    *("-fno-sanitize-recover=all", "-fno-omit-frame-pointer"),
)
_KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(')


class ShimError(RuntimeError):
    """A launch that a GPU would have refused, or that would have gone wrong in silence."""


class Module:
    """The kernels of one source text, as a shared library of the host."""

    def __init__(self, path):
        self._library = ctypes.CDLL(str(path))
        self._library.shim_launch.restype = ctypes.c_char_p

    @property
    def elements_read(self):
        """Elements of X read so far, where the module was built to count them."""
        return ctypes.c_longlong.in_dll(self._library, "shim_elements_read").value

    def parameter_sizes(self, kernel):
        """Bytes of each parameter of a kernel."""
        sizes = (ctypes.c_size_t * 64)()
        count = self._library.shim_parameters(kernel.encode(), sizes)
        if count < 0:
            raise ShimError(f"no kernel is named {kernel!r}")
        return list(sizes[:count])

    def launch(self, kernel, grid, threads, arguments, shared_bytes=0, is_cooperative=False):
        """Run a kernel; `arguments` are NumPy scalars, with addresses as ``np.uint64``."""
        expected, given = self.parameter_sizes(kernel), [argument.nbytes for argument in arguments]
        if expected != given:
            raise ShimError(f"{kernel} takes parameters of {expected} bytes, and was given {given}")
        x, y = (*grid, 1)[:2]
        if not (0 < x < 2**31 and 0 < y < 2**16 and 0 < threads <= 1024):
            raise ShimError(f"{kernel}: a GPU refuses grid {grid} with {threads} threads a block")
        buffers = [np.asarray(argument) for argument in arguments]
        pointers = (ctypes.c_void_p * len(buffers))(*(buffer.ctypes.data for buffer in buffers))
        error = self._library.shim_launch(
            kernel.encode(),
            x,
            y,
            threads,
            ctypes.c_size_t(shared_bytes),
            ctypes.c_bool(is_cooperative),
            pointers,
        )
        if error:
            raise ShimError(f"{kernel}: {error.decode()}")


@cache
def build(source, *, sanitize=False, count_reads=False):
    """Compile a text of CUDA, or find it compiled; see ``cuda_shim.h`` for what is checked."""
    entries = [f'shim::entry<{name}>::make("{name}"), ' for name in _KERNEL.findall(source)]
    text = "\n".join(
        [
            "#define VECPROD_INPUT_POINTER counting_pointer<scalar_t>" if count_reads else "",
            "#line 1",
            source,
            '#line 1 "cuda_shim_end.h"',
            _read("cuda_shim_end.h"),
            f"const shim::kernel shim::kernels[] = {{{''.join(entries)}{{}}}};",
        ]
    )
    flags = (*FLAGS, *(SANITIZERS if sanitize else ("-O1",)))
    header = _compiled((*flags, "-x", "c++-header", str(HERE / "cuda_shim.h")), ".h.gch").with_suffix("")
    scheduler = _compiled((*flags, "-c", str(HERE / "scheduler.cpp")), ".o")
    shared = (*flags, "-shared", "-include", str(header), "-x", "c++", "-", "-x", "none", str(scheduler))
    return Module(_compiled(shared, ".so", text))


@cache
def _compiled(command, suffix, text=""):
    """What g++ makes of files and of a text, or made of them before.

    It is made under a name of this process, then renamed: several test workers share the folder.
    """
    files = [_read(file) for file in ("cuda_shim.h", "scheduler.cpp")]
    key = hashlib.sha256(repr((command, text, files)).encode()).hexdigest()[:24]
    result = cache_folder() / f"{key}{suffix}"
    if not result.exists():
        draft = result.with_suffix(f".{os.getpid()}")
        command = ["g++", *command, "-o", str(draft)]
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        if done.returncode:
            raise ShimError(f"g++ refused the kernels:\n{done.stderr[:4000]}")
        draft.rename(result)
    return result


def cache_folder():
    """Where what was compiled is kept for other workers, and for later runs."""
    folder = Path(tempfile.gettempdir()) / f"vecprod-shim-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _read(name):
    return (HERE / name).read_text(encoding="utf-8")
