"""Nothing happens at import, and the folder that keeps compiled code may fail in any way."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.workers import ROOT, run_python
from vecprod_gpu.backends import _cache

IMPORT = """
import ctypes, sys, threading

def driver_is_mapped():
    with open("/proc/self/maps") as maps:
        return "libcuda" in maps.read()

import vecprod_gpu
assert "numba" not in sys.modules
assert threading.active_count() == 1, threading.enumerate()
assert not driver_is_mapped()
vecprod_gpu.cross([1, 2, 3], [4, 5, 6])
assert threading.active_count() == 1, threading.enumerate()
assert not driver_is_mapped()
ctypes.CDLL("libcuda.so.1")
assert driver_is_mapped()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/maps")
def test_importing_starts_nothing(tmp_path):
    """Seen with a driver that could be loaded: any library under that name serves."""
    import _ctypes

    shutil.copy(_ctypes.__file__, tmp_path / "libcuda.so.1")
    ended = run_python(IMPORT, LD_LIBRARY_PATH=str(tmp_path))
    assert ended.returncode == 0, ended.stderr


CALLS = """
import numpy as np
import vecprod_gpu as vp

with vp.use_backend("cpu"):
    assert not vp.cross(np.ones((100_000, 3)), np.ones((100_000, 3))).any()
    X = np.ones((50_000, 4))
    assert vp.linreg_gradient(X, X[:, 0], np.zeros(4)).tolist() == [-1] * 4
"""
CANNOT_CACHE = """
import numba
from vecprod_gpu.backends._cpu import float_status

try:
    numba.njit(cache=True)(float_status.clear_flags.py_func)
except RuntimeError as error:
    assert "cannot cache" in str(error)
else:
    raise SystemExit("there is a cache folder")
"""


def copy_of_the_package(folder):
    package = folder / "vecprod_gpu"
    for source, target in (("vecprod_gpu", package), ("kernels", package / "kernels")):
        shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def test_an_unwritable_cache_folder_is_no_failure(tmp_path):
    """Folders are barred by files in their place, which bar the superuser too."""
    package = copy_of_the_package(tmp_path)
    for folder in [package, *(each for each in package.rglob("*") if each.is_dir())]:
        (folder / "__pycache__").touch()
    barred = tmp_path / "file"
    barred.touch()
    names = ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "NUMBA_CACHE_DIR")
    folders = dict.fromkeys(names, str(barred / "below"))
    ended = run_python(CANNOT_CACHE + CALLS, PYTHONPATH=str(tmp_path), **folders)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("changed", ["", "import os, numba; os.environ['NUMBA_NUM_THREADS'] = '3'\n"])
def test_compiled_code_goes_to_the_users_cache_folder(changed, tmp_path):
    """Beside the source it would outlive an uninstallation, and hide the next editable one.

    Numba reads its variables again when it compiles, where one has changed, and forgets the folder.
    """
    package, cache = copy_of_the_package(tmp_path), tmp_path / "cache"
    folders = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"), str(cache))
    ended = run_python(changed + SHORT_CALLS, PYTHONPATH=str(tmp_path), NUMBA_CACHE_DIR="", **folders)
    assert ended.returncode == 0, ended.stderr
    files = list(cache.rglob("*.nbi"))
    assert any(file.name.startswith("guf-") for file in files)
    assert len({file.parent.parent for file in files}) == 1
    assert not list(package.rglob("*.nbi"))


SEVERAL_TYPES = """
import sys, time
import numpy as np
import numba.core.caching
import vecprod_gpu as vp

def late(function, seconds):
    def call(*arguments):
        time.sleep(seconds)
        return function(*arguments)

    return call


codes, index_delay, data_delay = sys.argv[1], *map(float, sys.argv[2:])
files = numba.core.caching.IndexDataCacheFile
files._save_index = late(files._save_index, index_delay)
files._save_data = late(files._save_data, data_delay)
with vp.use_backend("cpu"):
    for code in codes:
        a = np.arange(12).reshape(4, 3).astype(code)
        assert np.array_equal(vp.cross(a, a[::-1]), np.cross(a, a[::-1])), code
"""


def test_processes_that_compile_at_the_same_time_do_not_mix_up_their_files(tmp_path):
    codes = "bqfD"
    start = [sys.executable, "-c", SEVERAL_TYPES]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    # Both read an empty index; the second writes its own over the first one's, the first its data last.
    first, second = (codes, "0.3", "1.5"), (codes[2:] + codes[:2], "0.8", "0")
    for process in [subprocess.Popen([*start, *order], env=environment) for order in (first, second)]:
        assert process.wait() == 0
    for code in codes:
        ended = subprocess.run([*start, code, "0", "0"], env=environment, check=False)
        assert ended.returncode == 0, code


SHORT_CALLS = """
import numpy as np
import vecprod_gpu as vp
from vecprod_gpu.backends._cpu import float_status

with vp.use_backend("cpu"):
    assert vp.cross(np.float32([1, 2, 3]), np.float32([4, 5, 6])).tolist() == [-3, 6, -3]
float_status.clear_flags()
assert float_status.raised_flags() == 0
"""
FULL_DISK = """
import resource, signal

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the system limits no file sizes")
def test_a_full_disk_is_no_failure(tmp_path):
    ended = run_python(FULL_DISK + SHORT_CALLS, NUMBA_CACHE_DIR=str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert not any(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())


LOST_CODE = """
from numba.core.codegen import JITCodeLibrary

def lose(library):
    raise RuntimeError(f"no compiled object yet for {library}")

JITCodeLibrary.serialize_using_object_code = lose
"""
GRADIENT = """
import numpy as np
import vecprod_gpu as vp

with vp.use_backend("cpu"):
    assert vp.linreg_gradient(np.eye(2), np.ones(2), np.ones(2)).tolist() == [0, 0]
"""


def test_compiled_code_that_cannot_be_written_is_no_failure(tmp_path):
    """Numba said so once, after a compilation beside threads that called what had been compiled before."""
    ended = run_python(LOST_CODE + GRADIENT, NUMBA_CACHE_DIR=str(tmp_path))
    assert ended.returncode == 0, ended.stderr


def test_torn_cache_files_are_no_failure(tmp_path):
    assert run_python(SHORT_CALLS, NUMBA_CACHE_DIR=str(tmp_path)).returncode == 0
    files = [file for file in tmp_path.rglob("*.nb?") if file.stat().st_size]
    assert {file.suffix for file in files} == {".nbi", ".nbc"}
    for file in files:
        file.write_bytes(b"")
    ended = run_python(SHORT_CALLS, NUMBA_CACHE_DIR=str(tmp_path))
    assert ended.returncode == 0, ended.stderr


LOOPS = """
import numpy as np

from vecprod_gpu.backends._cpu.products import ufuncs

loops = []
load = ufuncs._Builder._loop

def loading(self, *arguments):
    loop = load(self, *arguments)
    loops.append(loop[0])
    return loop

ufuncs._Builder._loop = loading
for past_cache in ways:
    ufuncs.cross_rows_ufunc(np.dtype("f"), past_cache)
    ufuncs.outer_rows_ufunc(np.dtype("f"), past_cache)
assert len(set(loops)) == len(loops) == 2 * len(ways), loops
"""


def test_functions_of_one_name_that_two_processes_compiled_are_two_in_a_third(tmp_path):
    for ways in ([False], [True], [False, True]):
        ended = run_python(f"ways = {ways}\n" + LOOPS, NUMBA_CACHE_DIR=str(tmp_path))
        assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("before", ["", "import numba; [numba.njit(lambda x: x + 1)(2) for _ in range(3)]\n"])
@pytest.mark.parametrize("gone", ["function", "loop"])
def test_a_loop_is_compiled_anew_with_its_function(gone, before, tmp_path):
    """Of the two files that Numba keeps of a ufunc, one may be gone, or of another number."""
    assert run_python(SHORT_CALLS, NUMBA_CACHE_DIR=str(tmp_path)).returncode == 0
    loops = {file.name: file for file in tmp_path.rglob("guf-*.nb?")}
    functions = [file for file in tmp_path.rglob("*.nb?") if f"guf-{file.name}" in loops]
    assert functions
    for file in functions if gone == "function" else loops.values():
        file.unlink()
    for start in (before, ""):
        ended = run_python(start + SHORT_CALLS, NUMBA_CACHE_DIR=str(tmp_path))
        assert ended.returncode == 0, ended.stderr


LOADED_THEN_COMPILED = """
import sys
import numpy as np
import vecprod_gpu as vp

with vp.use_backend("cpu"):
    for code in codes:
        a = (np.arange(30_000) % 7).reshape(-1, 3).astype(code)
        assert np.array_equal(vp.cross(a, a[::-1]), np.cross(a, a[::-1])), code
        assert np.array_equal(vp.gram(a), a.T @ a), code
        print(code, "numba.np.linalg" in sys.modules)
"""


def test_the_compiler_comes_once_something_is_to_be_compiled(tmp_path):
    """Numba would import all of it for code that it only loads."""
    for codes, compiler in [("f", "f True"), ("f", "f False"), ("fd", "f False\nd True")]:
        ended = run_python(f"codes = {codes!r}" + LOADED_THEN_COMPILED, NUMBA_CACHE_DIR=str(tmp_path))
        assert ended.stdout.strip() == compiler, ended.stderr


CALLER_AND_CALLED = """
from vecprod_gpu.backends._cpu.compiling import compiled

@compiled()
def twice(x):
    return 2 * x

@compiled()
def four_times(x):
    return twice(twice(x))
"""


def test_what_was_loaded_can_be_part_of_what_is_compiled(tmp_path):
    """Numba has bitcode of it for that, which a load leaves as it is."""
    (tmp_path / "functions.py").write_text(CALLER_AND_CALLED)
    called = "from functions import *; print(twice(3), twice.stats.cache_hits.total())"
    both = f"{called}; print(four_times(3), four_times.stats.cache_hits.total())"
    cases = [(called, ["6 0"]), (both, ["6 1", "12 0"]), (both, ["6 1", "12 1"])]
    for statements, results in cases:
        ended = run_python(statements, NUMBA_CACHE_DIR=str(tmp_path / "cache"), PYTHONPATH=str(tmp_path))
        assert ended.stdout.splitlines() == results, ended.stderr


ENTRY_POINTS = """
import importlib.metadata, sys
import numpy as np
import vecprod_gpu as vp

asked = []
look_up = importlib.metadata.entry_points
importlib.metadata.entry_points = lambda **which: asked.append(which) or look_up(**which)

X = np.ones((100, 40))
assert vp.linreg_gradient(X, X[:, 0], np.zeros(40)).tolist() == [-1] * 40
assert "numba" in sys.modules
print(len(asked))
"""


def test_code_is_loaded_without_a_look_for_extensions_of_numba(tmp_path):
    """Which reads what every installed package says of itself."""
    for look_ups in ("1", "0"):  # Numba's compiler does
        ended = run_python(ENTRY_POINTS, NUMBA_CACHE_DIR=str(tmp_path))
        assert ended.stdout.strip() == look_ups, ended.stderr


def test_each_state_of_the_sources_has_a_folder_of_its_own(tmp_path):
    """Also what a kernel only calls: Numba looks at the kernel's own file."""
    package = copy_of_the_package(tmp_path)
    folders = package / "backends/_cpu", package / "kernels"
    states = {_cache.state_of(*folders)}
    for changed in ("kernels/common.py", "backends/_cpu/vectors.py"):
        with (package / changed).open("a") as source:
            source.write("\n")
        states.add(_cache.state_of(*folders))
    assert len(states) == 3
    for source in package.rglob("*.py"):
        os.utime(source, (0, 0))  # as when an image of a container is unpacked elsewhere
    assert _cache.state_of(*folders) in states


# What stands in for a driver lets kernels be compiled and linked, not launched.
COMPILE_A_TWIN = """
from types import SimpleNamespace
from numba import types
from numba.cuda import dispatcher
from numba.cuda.cudadrv import devices

device = SimpleNamespace(compute_capability=(9, 0), id=0)
loaded = SimpleNamespace(get_function=lambda name: SimpleNamespace(module=None))
context = SimpleNamespace(device=device, create_module_image=lambda *image: loaded)
dispatcher.get_current_device = lambda: device
devices.get_context = lambda *device: context
dispatcher._Kernel.initialize_once = lambda kernel, module: None

from vecprod_gpu.backends._device import windows
from vecprod_gpu.kernels.cross import cross_contiguous

windows._keep_compiled(cross_contiguous)
for number in (types.float32, types.int16):
    cross_contiguous.compile((number[::1],) * 3 + (types.int64,))
statistics = cross_contiguous.stats
print(sum(statistics.cache_hits.values()), sum(statistics.cache_misses.values()))
"""


def test_twins_are_compiled_once_for_all_processes(tmp_path):
    for expected in ("0 2", "2 0"):
        ended = run_python(COMPILE_A_TWIN, NUMBA_ENABLE_CUDASIM="0", NUMBA_CACHE_DIR=str(tmp_path))
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.strip() == expected
    for file in tmp_path.rglob("*.nb?"):
        file.write_bytes(b"")
    ended = run_python(COMPILE_A_TWIN, NUMBA_ENABLE_CUDASIM="0", NUMBA_CACHE_DIR=str(tmp_path))
    assert ended.stdout.strip() == "0 2", ended.stderr
