"""What ``import vecprod_gpu`` brings in, seen from a fresh process."""

import json
import subprocess
import sys

import pytest

OPTIONAL = {
    "cupy",
    "cuda",
    "dask",
    "distributed",
    "jax",
    "llvmlite",
    "matplotlib",
    "numba",
    "pyarrow",
    "rich",
    "scipy",
    "sklearn",
    "torch",
    "typer",
    "zarr",
}

REPORT = """
import json, sys, threading
{statement}
packages = sorted({{name.partition(".")[0] for name in sys.modules}})
print(json.dumps({{"packages": packages, "threads": threading.active_count()}}))
"""


def after(statement: str) -> dict[str, object]:
    """Packages and threads that a fresh interpreter holds after a statement."""
    printed = subprocess.run(
        [sys.executable, "-c", REPORT.format(statement=statement)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return json.loads(printed.splitlines()[-1])


@pytest.mark.parametrize(
    "module", ["vecprod_gpu", "vecprod_gpu.errors", "vecprod_gpu.kernels", "vecprod_gpu.cli"]
)
def test_importing_brings_in_nothing_optional(module):
    state = after(f"import {module}")
    assert OPTIONAL.isdisjoint(state["packages"])
    assert state["threads"] == 1


def test_asking_for_the_version_loads_no_array_or_gpu_library():
    state = after("from vecprod_gpu.cli import main; main(['--version'])")
    assert state["packages"]
    assert (OPTIONAL - {"typer", "rich"}).isdisjoint(state["packages"])


def test_asking_for_the_backends_starts_no_driver():
    """``cuInit`` would break CUDA in forked children: a driver that answers everything saw no such call."""
    statement = """
import ctypes
called = []
class Library(ctypes.CDLL):
    def __init__(self, name, *arguments, **keywords):
        if not any(word in str(name) for word in ("libcuda.so", "nvcuda", "nvidia-ml", "nvml")):
            super().__init__(name, *arguments, **keywords)
            self.is_driver = False
    def __getattr__(self, function):
        if not self.__dict__.get("is_driver", True):
            return super().__getattr__(function)
        called.append(function)
        return lambda *arguments: 0
ctypes.CDLL = Library
import vecprod_gpu
vecprod_gpu.backends()
assert called and "cuInit" not in called, called
"""
    assert after(statement)["packages"]
