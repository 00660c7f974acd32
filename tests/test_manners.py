"""What a caller may expect of a library besides right results: threads, forks, interrupts, caches, memory."""

import contextlib
import itertools
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import vecprod_gpu as vp
from tests import workers
from vecprod_gpu.backends import _memory, _threads

ROOT = Path(__file__).parents[1]
PATIENCE = 120  # seconds, after which a process that should have ended is taken to hang
VECTORS = 400_000  # of three float32: several blocks, and a result on reused memory

can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
can_pool = pytest.mark.skipif(not _memory._CAN_POOL, reason="the system has no MADV_FREE")


@pytest.fixture
def four_threads(monkeypatch):
    """A fresh pool of four threads, however few processors there are."""
    monkeypatch.setattr(_threads, "thread_count", lambda: 4)
    monkeypatch.setattr(_threads, "_pool", None)
    yield
    if _threads._pool is not None:
        _threads._pool.shutdown()


def run_python(script, **environment):
    """Run a script in a fresh interpreter, in the repository unless PYTHONPATH says otherwise."""
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=environment.get("PYTHONPATH", ROOT),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def in_children(method, count, function, *arguments):
    """Results of a function in several child processes at once; fails if one dies or hangs."""
    context = multiprocessing.get_context(method)
    children = []
    for _ in range(count):
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=workers.send, args=(sender, function, arguments))
        child.start()
        sender.close()
        children.append((child, receiver))
    try:
        results = []
        for child, receiver in children:
            assert receiver.poll(PATIENCE), "the child hangs"
            try:
                results.append(receiver.recv())
            except EOFError:
                child.join()
                pytest.fail(f"the child died with exit code {child.exitcode}")
        return results
    finally:
        for child, receiver in children:
            receiver.close()
            child.kill()
            child.join()


# --- The same bits, whoever calls ------------------------------------------------------------------


@pytest.mark.parametrize("operation", workers.OPERATIONS)
def test_a_hundred_calls_give_the_same_bits(operation, four_threads):
    expected = workers.compute(operation, "cpu").tobytes()
    assert all(workers.compute(operation, "cpu").tobytes() == expected for _ in range(100))


def test_six_threads_at_once_give_the_same_bits(host_backend):
    alone = workers.all_bits(host_backend)
    together = threading.Barrier(6)

    def call(_):
        together.wait()
        return workers.all_bits(host_backend)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(call, range(6))) == [alone] * 6


@can_fork
def test_forked_children_give_the_same_bits_after_a_parallel_call(host_backend):
    expected = workers.all_bits(host_backend)
    assert in_children("fork", 3, workers.all_bits, host_backend) == [expected] * 3
    assert workers.all_bits(host_backend) == expected


def test_spawned_children_give_the_same_bits(host_backend):
    expected = workers.all_bits(host_backend)
    assert in_children("spawn", 2, workers.all_bits, host_backend) == [expected] * 2


def test_the_number_of_threads_does_not_show_in_the_bits():
    command = [sys.executable, "-m", "tests.workers", "cpu"]
    printed = [
        subprocess.check_output(
            command, text=True, cwd=ROOT, env={**os.environ, "NUMBA_NUM_THREADS": str(threads)}
        ).split()
        for threads in (1, 2, 5)
    ]
    assert printed == [workers.all_bits("cpu")] * 3


def test_dask_threads_give_the_same_bits():
    import dask
    import dask.array

    expected = [workers.compute(operation, "cpu") for operation in ("cross", "linreg_gradient")]
    (cross, vectors), (gradient, regression) = (
        workers.inputs()[operation] for operation in ("cross", "linreg_gradient")
    )
    a, b = (dask.array.from_array(array, chunks=(130_000, 3)) for array in vectors)
    blocks = dask.array.map_blocks(cross, a, b, dtype=a.dtype, meta=np.empty((0, 3), a.dtype))
    with dask.config.set(scheduler="threads", num_workers=6):
        product, *gradients = dask.compute(blocks, *(dask.delayed(gradient)(*regression) for _ in range(12)))
    np.testing.assert_array_equal(product, expected[0])
    for each in gradients:
        np.testing.assert_array_equal(each, expected[1])


def misaligned(array):
    """Copy that starts one byte past an element's boundary."""
    memory = np.empty(array.nbytes + 1, np.uint8)
    copy = memory[1:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def strided(array):
    """Copy whose elements and rows all have gaps between them."""
    copy = np.empty([2 * length for length in array.shape], array.dtype)[(slice(None, None, 2),) * array.ndim]
    copy[...] = array
    return copy


LAYOUTS = {
    "read-only": lambda array: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape),
    "strided": strided,
    "reversed": lambda array: np.flip(np.flip(array).copy()),
    "Fortran-ordered": lambda array: np.array(array, order="F"),
    "misaligned": misaligned,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("operation", "backend"),
    # not linreg_gradient on reference: NumPy's own matrix product depends on the strides
    [*itertools.product(("cross", "batched_outer"), ("reference", "cpu")), ("linreg_gradient", "cpu")],
)
def test_any_layout_gives_the_same_bits_and_is_not_written_to(layout, operation, backend):
    function, arguments = workers.inputs()[operation]
    laid_out = [LAYOUTS[layout](array) for array in arguments]
    with vp.use_backend(backend):
        result = function(*laid_out)
    assert workers.digest(result) == workers.bits(operation, backend)
    for array, original in zip(laid_out, arguments, strict=True):
        assert array.tobytes() == original.tobytes()


# --- Forks at awkward moments ----------------------------------------------------------------------


@can_fork
def test_a_fork_amid_a_parallel_call_leaves_the_child_working(four_threads):
    expected = workers.all_bits("cpu")
    working, may_end = threading.Semaphore(0), threading.Event()

    def task(start, stop):
        working.release()
        may_end.wait()

    caller = threading.Thread(target=_threads.for_each_block, args=(task, 8, 1))
    caller.start()
    for _ in range(4):
        working.acquire()
    try:
        assert in_children("fork", 1, workers.all_bits, "cpu") == [expected]
    finally:
        may_end.set()
        caller.join()


@can_fork
def test_a_fork_while_the_pool_is_being_made_leaves_the_child_working(monkeypatch):
    expected = workers.all_bits("cpu")
    with _threads._lock:
        assert in_children("fork", 1, workers.all_bits, "cpu") == [expected]


def compile_something():
    """Compile a function that no cache holds."""
    import numba

    return numba.njit(lambda x: x + 1)(1)


@can_fork
def test_a_fork_waits_for_a_compilation():
    from numba.core.compiler_lock import global_compiler_lock

    compiling = threading.Event()

    def compile_slowly():
        with global_compiler_lock:
            compiling.set()
            time.sleep(0.3)

    workers.all_bits("cpu")
    compiler = threading.Thread(target=compile_slowly)
    compiler.start()
    compiling.wait()
    assert in_children("fork", 1, compile_something) == [2]
    compiler.join()


FORK_WHILE_LOADING = """
import os, signal, sys, threading, time
import numpy as np
import vecprod_gpu as vp

def call():
    return vp.cross(np.ones((100_000, 3)), np.ones((100_000, 3)))

first = threading.Thread(target=call)
first.start()
while "numba" not in sys.modules:  # until its import has begun
    time.sleep(0.001)
child = os.fork()
if child == 0:
    signal.alarm({patience})  # kills a child that hangs
    os._exit(int(call().any()))
first.join()
sys.exit(os.waitpid(child, 0)[1])
"""


@can_fork
def test_a_fork_waits_for_a_backend_that_is_being_loaded():
    ended = run_python(FORK_WHILE_LOADING.format(patience=PATIENCE // 4))
    assert ended.returncode == 0, ended.stderr


# --- Interrupts and errors -------------------------------------------------------------------------


INTERRUPTED = """
import os, random, signal, threading, time
import numpy as np
import vecprod_gpu as vp
from tests import workers

for operation in workers.OPERATIONS:
    function, arguments = workers.inputs()[operation]
    expected = workers.compute(operation, "cpu")
    out = np.empty_like(expected)
    for _ in range(10):
        interrupt = threading.Timer(random.uniform(0.01, 0.05), os.kill, (os.getpid(), signal.SIGINT))
        try:
            with vp.use_backend("cpu"):
                interrupt.start()
                for _ in range(10_000):
                    out.fill(np.nan)
                    function(*arguments, out=out)
                    function(*arguments)
            raise SystemExit("the interrupt was lost")
        except KeyboardInterrupt:
            left = out.copy()
        time.sleep(0.02)
        assert out.tobytes() == left.tobytes(), "a thread still writes"
        assert workers.compute(operation, "cpu").tobytes() == expected.tobytes()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill sends no SIGINT there")
def test_an_interrupt_ends_a_loop_of_large_calls():
    ended = run_python(INTERRUPTED, NUMBA_NUM_THREADS="4")
    assert ended.returncode == 0, ended.stderr


def test_an_interrupt_waits_for_the_threads_that_help(four_threads):
    caller = threading.current_thread()
    helping, may_end = threading.Event(), threading.Event()
    begun, ended = [], []

    def interrupt_again():
        for _ in range(3):
            time.sleep(0.03)
            signal.raise_signal(signal.SIGINT)
        may_end.set()

    def task(start, stop):
        if threading.current_thread() is caller:
            helping.wait()
            threading.Thread(target=interrupt_again).start()
            signal.raise_signal(signal.SIGINT)
        begun.append(start)
        helping.set()
        may_end.wait()
        ended.append(start)

    with pytest.raises(KeyboardInterrupt):
        _threads.for_each_block(task, 100, 1)
    assert 1 <= len(ended) == len(begun) <= 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("can't start new thread")])
def test_a_helper_is_waited_for_though_its_start_failed(error, four_threads, monkeypatch):
    """`ThreadPoolExecutor.submit` raises with the work already queued, when no thread can be added."""
    submit = ThreadPoolExecutor.submit
    caller = threading.current_thread()
    helping = threading.Event()
    begun, ended = [], []

    def submit_and_fail(*arguments):
        submit(*arguments)
        helping.wait()
        raise error

    def task(start, stop):
        begun.append(start)
        helping.set()
        if threading.current_thread() is not caller:
            time.sleep(0.1)
        ended.append(start)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit_and_fail)
    with contextlib.suppress(KeyboardInterrupt):
        _threads.for_each_block(task, 4, 1)
    assert begun
    assert sorted(ended) == sorted(begun)
    if error is not KeyboardInterrupt:
        assert sorted(ended) == [0, 1, 2, 3]


def test_a_busy_pool_delays_nobody(four_threads):
    working, may_end = threading.Semaphore(0), threading.Event()

    def task(start, stop):
        working.release()
        may_end.wait()

    hog = threading.Thread(target=_threads.for_each_block, args=(task, 8, 1))
    hog.start()
    for _ in range(4):
        working.acquire()
    done = []
    _threads.for_each_block(lambda start, stop: done.append(start), 8, 1)
    assert done == list(range(8))
    may_end.set()
    hog.join()


def test_an_error_in_a_helping_thread_is_raised_by_the_call(four_threads):
    caller = threading.current_thread()
    helped = threading.Event()

    def task(start, stop):
        if threading.current_thread() is caller:
            helped.wait()
        else:
            helped.set()
            raise LookupError("in a helper")

    with pytest.raises(LookupError, match="in a helper"):
        _threads.for_each_block(task, 8, 1)
    done = []
    _threads.for_each_block(lambda start, stop: done.append(start), 8, 1)
    assert sorted(done) == list(range(8))


def test_helping_threads_inherit_errstate(four_threads):
    together = threading.Barrier(4)
    seen = {}

    def task(start, stop):
        together.wait()
        seen[threading.current_thread()] = np.geterr()["under"]

    with np.errstate(under="call"):
        _threads.for_each_block(task, 4, 1)
    assert list(seen.values()) == ["call"] * 4


def operands(vectors, first, second):
    """Vectors whose last product alone is `first * second`, in the last block of a parallel call."""
    a, b = np.ones((2, vectors, 3), np.float32)
    a[-1], b[-1] = (0, 0, first), (second, 0, 0)
    return a, b


INVALID, OVERFLOW = (np.inf, 0), (3e38, 3e38)


@pytest.mark.parametrize("vectors", [4, VECTORS])
@pytest.mark.parametrize(("factors", "words"), [(INVALID, "invalid value"), (OVERFLOW, "overflow")])
class TestFloatingPointErrors:
    def test_warn_as_numpy_does(self, vectors, factors, words, host_backend):
        a, b = operands(vectors, *factors)
        with pytest.warns(RuntimeWarning, match=words):
            expected = np.cross(a, b)
        with pytest.warns(RuntimeWarning, match=words):
            np.testing.assert_array_equal(vp.cross(a, b), expected)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            vp.cross(a[:-1], b[:-1])  # nothing there to warn of
            with pytest.raises(RuntimeWarning, match=words):
                vp.cross(a, b)

    def test_follow_errstate(self, vectors, factors, words, host_backend):
        a, b = operands(vectors, *factors)
        with np.errstate(all="raise"), pytest.raises(FloatingPointError, match=words):
            vp.cross(a, b)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error")
            vp.cross(a, b)


@pytest.mark.parametrize("rows", [8, 60_000])
def test_a_gradient_follows_errstate(rows):
    """On `cpu`; NumPy itself does not see what the threads of its matrix product run into."""
    X = np.ones((rows, 50), np.float32)
    X[-1] = 3e38
    arguments = X, np.zeros(rows, np.float32), np.full(50, 3, np.float32)
    with vp.use_backend("cpu"):
        with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="overflow"):
            vp.linreg_gradient(*arguments)
        with pytest.warns(RuntimeWarning, match="overflow"):
            vp.linreg_gradient(*arguments)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error")
            vp.linreg_gradient(*arguments)


# --- Imports and caches ----------------------------------------------------------------------------

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
from vecprod_gpu.backends import _sums

try:
    numba.njit(cache=True)(_sums._fold.py_func)
except RuntimeError as error:
    assert "cannot cache" in str(error)
else:
    raise SystemExit("there is a cache folder")
"""


def test_an_unwritable_cache_folder_is_no_failure(tmp_path):
    """Folders are barred by files in their place, which bar the superuser too."""
    package = tmp_path / "vecprod_gpu"
    shutil.copytree(ROOT / "vecprod_gpu", package, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (package, package / "backends"):
        (folder / "__pycache__").touch()
    barred = tmp_path / "file"
    barred.touch()
    names = ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "NUMBA_CACHE_DIR")
    folders = dict.fromkeys(names, str(barred / "below"))
    ended = run_python(CANNOT_CACHE + CALLS, PYTHONPATH=str(tmp_path), **folders)
    assert ended.returncode == 0, ended.stderr


SHORT_CALLS = """
import numpy as np
import vecprod_gpu as vp
from vecprod_gpu.backends import _sums

with vp.use_backend("cpu"):
    assert vp.cross(np.float32([1, 2, 3]), np.float32([4, 5, 6])).tolist() == [-3, 6, -3]
assert _sums._fold_stripes(np.ones((2, 3, 4))).tolist() == [[3.0] * 4] * 2
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


def test_torn_cache_files_are_no_failure(tmp_path):
    assert run_python(SHORT_CALLS, NUMBA_CACHE_DIR=str(tmp_path)).returncode == 0
    files = [file for file in tmp_path.rglob("*.nb?") if file.stat().st_size]
    assert {file.suffix for file in files} == {".nbi", ".nbc"}
    for file in files:
        file.write_bytes(b"")
    ended = run_python(SHORT_CALLS, NUMBA_CACHE_DIR=str(tmp_path))
    assert ended.returncode == 0, ended.stderr


# --- Memory of large results -----------------------------------------------------------------------


@pytest.fixture
def no_kept_memory(monkeypatch):
    """Blocks that earlier tests left behind are out of the way."""
    monkeypatch.setattr(_memory, "_free", type(_memory._free)())


def product(scale):
    """Large cross products on the backend `cpu`: ``scale * (0, 0, 1)``."""
    a = np.broadcast_to(np.float32([scale, 0, 0]), (VECTORS, 3))
    with vp.use_backend("cpu"):
        return vp.cross(a, np.broadcast_to(np.float32([0, 1, 0]), (VECTORS, 3)))


def holds(array, scale):
    """Whether a result of `product` still is what it was."""
    return (array == np.float32([0, 0, scale])).all()


@can_pool
@pytest.mark.usefixtures("no_kept_memory")
class TestReusedMemory:
    def test_serves_the_next_result(self):
        first = product(1)
        address = first.ctypes.data
        del first
        second = product(2)
        assert second.ctypes.data == address
        assert holds(second, 2)

    def test_is_never_shared_by_live_results(self):
        def call(worker):
            live = []
            for turn in range(12):
                live.append((product(12 * worker + turn), 12 * worker + turn))
                if turn % 3 == 2:
                    live.pop(0)
            return live

        with ThreadPoolExecutor(6) as pool:
            live = list(itertools.chain.from_iterable(pool.map(call, range(6))))
        assert all(itertools.starmap(holds, live))
        starts = sorted(array.ctypes.data for array, _ in live)
        assert all(right - left >= live[0][0].nbytes for left, right in itertools.pairwise(starts))

    @pytest.mark.parametrize(
        "view_of",
        [
            lambda array: array[-5:],
            lambda array: array.T.reshape(-1, order="F").view(np.int32).view(np.float32).reshape(array.shape),
            lambda array: np.asarray(memoryview(array)),
            lambda array: np.from_dlpack(array),
            lambda array: next(iter(np.array_split(array, 3))),
        ],
        ids=["slice", "reshaped", "memoryview", "DLPack", "split"],
    )
    def test_is_kept_by_any_view(self, view_of):
        view = view_of(product(1))
        others = [product(2), product(3)]
        assert holds(view, 1)
        assert not any(np.shares_memory(view, other) for other in others)

    def test_is_kept_in_bounds(self, monkeypatch):
        monkeypatch.setattr(_memory, "KEPT_BYTES", 3 * product(0).nbytes)
        results = [product(scale) for scale in range(6)]
        results.clear()
        kept = sum(map(len, _memory._free))
        assert 0 < kept <= _memory.KEPT_BYTES

    def test_does_not_serve_a_much_smaller_result(self):
        large = _memory.empty((4 * _memory.POOLED_BYTES,), np.dtype(np.uint8))
        del large
        assert _memory.empty((_memory.POOLED_BYTES,), np.dtype(np.uint8)).size == _memory.POOLED_BYTES
        assert max(map(len, _memory._free)) == 4 * _memory.POOLED_BYTES

    @can_fork
    def test_is_its_own_in_a_forked_child(self):
        mine, spare = product(1), product(2)
        del spare

        def overwrite():
            mine[...] = -1
            theirs = product(3)  # in the child's copy of the spare block
            return bool(holds(theirs, 3) and (mine == -1).all())

        [spare_block] = _memory._free
        before = spare_block[:64]
        assert in_children("fork", 2, overwrite) == [True, True]
        assert holds(mine, 1)
        assert spare_block[:64] in (before, bytes(64))  # untouched, or taken back by the system
        assert holds(product(4), 4)


def test_memory_that_cannot_be_had_is_refused_as_numpy_refuses_it():
    for shape in ((2**40, 2**40), (2**59,)):
        with pytest.raises((MemoryError, ValueError)) as numpys:
            np.empty(shape)
        with pytest.raises(numpys.type):
            _memory.empty(shape, np.dtype(np.float64))
