"""What a caller may expect besides right results: of threads, forks, interrupts and floating-point errors."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import vecprod_gpu as vp
from tests import workers
from tests.workers import PATIENCE, ROOT, in_children, run_python
from vecprod_gpu.backends._cpu.threads import pools

VECTORS = 400_000  # of three float32: several blocks

can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


@pytest.fixture
def four_threads(monkeypatch):
    """A fresh pool of four threads, however few processors there are."""
    monkeypatch.setattr(pools, "_limit", 4)
    monkeypatch.setattr(pools, "_pool", None)
    yield
    if pools._pool is not None:
        pools._pool.shutdown()


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

    caller = threading.Thread(target=pools.for_each_block, args=(task, 8, 1))
    caller.start()
    for _ in range(4):
        working.acquire()
    try:
        assert in_children("fork", 1, workers.all_bits_on_four_threads, "cpu") == [expected]
    finally:
        may_end.set()
        caller.join()


@can_fork
def test_a_fork_while_the_pool_is_being_made_leaves_the_child_working():
    expected = workers.all_bits("cpu")
    with pools._lock:
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
    return {call}

first = threading.Thread(target=call)
first.start()
while "{module}" not in sys.modules:  # until its import has begun
    time.sleep(0.001)
child = os.fork()
if child == 0:
    signal.alarm({patience})  # kills a child that hangs
    os._exit(int(call().any()))
first.join()
sys.exit(os.waitpid(child, 0)[1])
"""


@can_fork
@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("numba", "vp.cross(np.ones((100_000, 3)), np.ones((100_000, 3)))"),
        ("numba", "vp.linreg_gradient(np.ones((99, 3)), np.ones(99), np.ones(3))"),
        ("vecprod_gpu.linreg", "np.array(vp.linreg_gradient is None)"),
    ],
)
def test_a_fork_waits_for_modules_that_are_being_loaded(module, call):
    ended = run_python(FORK_WHILE_LOADING.format(module=module, call=call, patience=PATIENCE // 4))
    assert ended.returncode == 0, ended.stderr
    assert "Exception ignored" not in ended.stderr


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
        pools.for_each_block(task, 100, 1)
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
        pools.for_each_block(task, 4, 1)
    assert begun
    assert sorted(ended) == sorted(begun)
    if error is not KeyboardInterrupt:
        assert sorted(ended) == [0, 1, 2, 3]


def test_a_busy_pool_delays_nobody(four_threads):
    working, may_end = threading.Semaphore(0), threading.Event()

    def task(start, stop):
        working.release()
        may_end.wait()

    hog = threading.Thread(target=pools.for_each_block, args=(task, 8, 1))
    hog.start()
    for _ in range(4):
        working.acquire()
    done = []
    pools.for_each_block(lambda start, stop: done.append(start), 8, 1)
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
        pools.for_each_block(task, 8, 1)
    done = []
    pools.for_each_block(lambda start, stop: done.append(start), 8, 1)
    assert sorted(done) == list(range(8))


def test_helping_threads_inherit_errstate(four_threads):
    together = threading.Barrier(4)
    seen = {}

    def task(start, stop):
        together.wait()
        seen[threading.current_thread()] = np.geterr()["under"]

    with np.errstate(under="call"):
        pools.for_each_block(task, 4, 1)
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
