"""What ``import vecprod_gpu`` brings in, seen from a fresh process."""

import json
import pickle
import subprocess
import sys

import pytest

import vecprod_gpu as vp
from tests.workers import run_python

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


@pytest.mark.parametrize(
    "statement",
    [
        "import vecprod_gpu as vp; vp.cross([1, 2, 3], [4, 5, 6]); dir(vp); hasattr(vp, '__wrapped__')",
        "import numpy as np; from vecprod_gpu import accel; accel.install(); np.cross([1, 2, 3], [4, 5, 6])",
    ],
)
def test_products_bring_in_neither_regression_nor_what_a_pool_of_threads_needs(statement):
    kept_out = "vecprod_gpu.linreg", "multiprocessing", "numpy.random", "secrets"
    assert after(f"{statement}; assert not set({kept_out}) & set(sys.modules)")["packages"]


@pytest.mark.parametrize(
    ("call", "room"),
    [
        ("vp.linreg_gradient(np.ones((5000, 40)), np.ones(5000), np.ones(40))", "linreg"),
        ("vp.cross(*np.ones((2, 5000, 3)))", "products"),
        ("vp.gram(np.ones((50, 40)))", "moments"),
    ],
)
def test_a_call_brings_in_the_kernels_of_its_own_kind(call, room):
    """A first call would take as long again to import all of them."""
    rooms = after(
        f"""
import numpy as np
import vecprod_gpu as vp

{call}
cpu = "vecprod_gpu.backends._cpu."
rooms = {{name.removeprefix(cpu).split(".")[0] for name in sys.modules if name.startswith(cpu)}}
assert rooms & {{"geometry", "linreg", "moments", "products"}} == {{{room!r}}}, rooms
"""
    )
    assert "numba" in rooms["packages"]


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


# --- Names that are imported when they are first asked for ------------------------------------------

NAMES_ARE_THE_VERY_OBJECTS = """
for name in vp.__all__:
    value = getattr(vp, name)
    home = getattr(value, "__module__", None)
    assert home is None or getattr(sys.modules[home], name) is value, name
assert vp.linreg_fit is vp.linreg.fit.linreg_fit
"""
ALL_ARE_LISTED = """
before = dir(vp)
assert before == sorted(before) and {*vp.__all__, "linreg", "threads"} <= {*before}
vp.linreg_fit
assert {*before} - {*dir(vp)} == {"__getattr__", "__dir__"}
"""
A_BACKEND_LISTS_ITS_OPERATIONS = """
from vecprod_gpu.backends import cpu
assert "vecprod_gpu.backends._cpu.products.operations" not in sys.modules
assert {*cpu.__all__} <= {*dir(cpu)} and callable(cpu.cross) and dir(cpu) == sorted({*dir(cpu)})
"""
A_STAR_IMPORTS_ALL = """
from vecprod_gpu import *
assert all(globals()[name] is getattr(vp, name) for name in vp.__all__)
"""
MODULES_ARE_ATTRIBUTES = """
assert "vecprod_gpu.linreg" not in sys.modules
assert vp.linreg is sys.modules["vecprod_gpu.linreg"]
assert vp.linreg.tsqr.TSQR is vp.TSQR and vp.linreg.fit.linreg_fit is vp.linreg_fit
from vecprod_gpu import linreg, linreg_step
assert linreg is vp.linreg and linreg_step is linreg.steps.linreg_step
assert vp.threads.get_num_threads is vp.get_num_threads
"""
THE_FIRST_ONE_PUTS_ALL_IN_PLACE = """
vp.linreg_fit
assert {*vp.__all__, "linreg"} <= vars(vp).keys() and "__getattr__" not in vars(vp)
"""
STEPS_NEED_NO_FITS = """
vp.linreg_step
assert "linreg_gradient" in vars(vp) and "vecprod_gpu.linreg._whole" not in sys.modules
assert "CoMoments" in dir(vp) and "CoMoments" in dir(vp.linreg)
assert vp.linreg.CoMoments is vp.CoMoments
for package in (vp, vp.linreg):
    assert {*package.__all__} <= vars(package).keys() and "__getattr__" not in vars(package)
"""
IMPORTED_ELSEWHERE = """
import vecprod_gpu.linreg.fit
assert vp.linreg_fit is vecprod_gpu.linreg.fit.linreg_fit
"""
PATCHES_COME_AND_GO = """
from unittest import mock
with mock.patch("vecprod_gpu.linreg_fit", "patched"):
    assert vp.linreg_fit == "patched" and callable(vp.linreg_step)
assert vp.linreg_fit is vp.linreg.fit.linreg_fit
"""
WHAT_SOMEBODY_PUT_THERE_STAYS = """
vp.linreg_fit = "mine"
assert callable(vp.linreg_step) and vp.linreg_fit == "mine"
"""
PICKLES_ARE_READ = """
import pickle
function, kind = pickle.loads({pickled!r})
assert function is vp.linreg_gradient and kind is vp.CoMoments
"""
THREADS_GET_THE_SAME = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
together = Barrier(8)
sys.setswitchinterval(1e-5)

def first(name):
    together.wait()
    return name, getattr(vp, name)

names = ["linreg_fit", "CoMoments", "linreg", "linreg_fit"] * 2
with ThreadPoolExecutor(8) as pool:
    assert all(value is getattr(vp, name) for name, value in pool.map(first, names))
"""


@pytest.mark.parametrize(
    "script",
    [
        NAMES_ARE_THE_VERY_OBJECTS,
        ALL_ARE_LISTED,
        A_BACKEND_LISTS_ITS_OPERATIONS,
        A_STAR_IMPORTS_ALL,
        MODULES_ARE_ATTRIBUTES,
        THE_FIRST_ONE_PUTS_ALL_IN_PLACE,
        STEPS_NEED_NO_FITS,
        IMPORTED_ELSEWHERE,
        PATCHES_COME_AND_GO,
        WHAT_SOMEBODY_PUT_THERE_STAYS,
        PICKLES_ARE_READ.format(pickled=pickle.dumps((vp.linreg_gradient, vp.CoMoments))),
        THREADS_GET_THE_SAME,
    ],
)
def test_names_that_are_imported_later(script):
    ended = run_python("import sys\nimport vecprod_gpu as vp\n" + script)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("earlier", ["", "vp.linreg_fit; "])
def test_a_name_that_there_is_not(earlier):
    ended = run_python(f"import vecprod_gpu as vp; {earlier}vp.linreg_gradiant")
    assert ended.stderr.splitlines()[-1] == (
        "AttributeError: module 'vecprod_gpu' has no attribute 'linreg_gradiant'. "
        "Did you mean: 'linreg_gradient'?"
    )
    with pytest.raises(ImportError, match="cannot import name 'linreg_gradiant' from 'vecprod_gpu'"):
        from vecprod_gpu import linreg_gradiant  # noqa: F401
