"""How many threads a call on the host may use: who says so, who obeys, and that no result shows it."""

import os
import threading

import numpy as np
import pytest

import vecprod_gpu as vp
from tests import workers
from tests.workers import in_children, run_python
from vecprod_gpu.backends._cpu.threads import pools

MOST = 5

can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


@pytest.fixture(autouse=True)
def five_threads_at_most(monkeypatch):
    """As many as five, however few processors there are, and a fresh pool."""
    monkeypatch.setenv("NUMBA_NUM_THREADS", str(MOST))
    monkeypatch.setattr(pools, "_limit", None)
    monkeypatch.setattr(pools, "_pool", None)
    yield
    if pools._pool is not None:
        pools._pool.shutdown()


def threads_at_once():
    """How many threads a call of a hundred blocks runs on: each is held until all have come that may."""
    seen, all_there = set(), threading.Event()

    def task(start, stop):
        seen.add(threading.get_ident())
        if len(seen) == vp.get_num_threads():
            all_there.set()
        assert all_there.wait(30), "fewer threads came than may"

    pools.for_each_block(task, 100, 1)
    return len(seen)


class TestTheNumber:
    def test_is_at_first_what_the_variable_says(self, monkeypatch):
        assert vp.get_num_threads() == MOST
        monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
        assert vp.get_num_threads() == 3

    def test_is_without_the_variable_that_of_the_processors(self, monkeypatch):
        monkeypatch.delenv("NUMBA_NUM_THREADS")
        monkeypatch.setattr("os.sched_getaffinity", lambda process: {2, 3, 7}, raising=False)
        assert vp.get_num_threads() == 3
        vp.set_num_threads(3)
        with pytest.raises(vp.errors.ArgumentError, match=r"n must be at most 3, .* it is 4$"):
            vp.set_num_threads(4)

    @pytest.mark.parametrize("n", [1, 2, MOST, np.int64(3)])
    def test_is_what_was_set(self, n):
        vp.set_num_threads(n)
        assert vp.get_num_threads() == n
        assert threads_at_once() == n

    @pytest.mark.parametrize(
        ("n", "error", "words"),
        [
            (0, vp.errors.ArgumentError, "n must be at least 1; it is 0"),
            (-2, ValueError, "n must be at least 1; it is -2"),
            (MOST + 1, ValueError, f"n must be at most {MOST}, .*NUMBA_NUM_THREADS.*; it is {MOST + 1}"),
            (2.0, vp.errors.DTypeError, "n must be an integer, not 2.0"),
            (None, TypeError, "n must be an integer, not None"),
        ],
    )
    def test_stays_where_another_is_refused(self, n, error, words):
        vp.set_num_threads(2)
        with pytest.raises(error, match=words):
            vp.set_num_threads(n)
        assert vp.get_num_threads() == 2

    def test_holds_for_all_threads(self):
        caller = threading.Thread(target=vp.set_num_threads, args=(2,))
        caller.start()
        caller.join()
        assert vp.get_num_threads() == 2

    @can_fork
    def test_is_inherited_by_a_fork(self):
        vp.set_num_threads(2)
        assert in_children("fork", 1, threads_at_once) == [2]


class TestThePool:
    def test_grows_and_shrinks_with_the_number(self):
        for n in (2, 4, 3, MOST, 1, 2):
            vp.set_num_threads(n)
            assert threads_at_once() == n

    def test_that_was_outgrown_ends_its_threads(self):
        vp.set_num_threads(2)
        threads_at_once()
        outgrown = set(pools._pool._threads)
        vp.set_num_threads(3)
        threads_at_once()
        for thread in outgrown:
            thread.join(30)
            assert not thread.is_alive()

    def test_may_be_outgrown_while_a_call_runs(self):
        vp.set_num_threads(2)
        running, may_end, done = threading.Barrier(3), threading.Event(), []

        def task(start, stop):
            if start < 2:
                running.wait(30)
                may_end.wait(30)
            done.append(start)

        call = threading.Thread(target=pools.for_each_block, args=(task, 8, 1))
        call.start()
        running.wait(30)
        vp.set_num_threads(4)
        assert threads_at_once() == 4
        may_end.set()
        call.join(30)
        assert not call.is_alive()
        assert sorted(done) == list(range(8))

    def test_is_not_made_for_one_thread_or_a_small_call(self):
        vp.cross([1, 2, 3], [4, 5, 6])
        vp.linreg_gradient(np.eye(3), np.ones(3), np.zeros(3))
        vp.set_num_threads(1)
        assert threads_at_once() == 1
        assert pools._pool is None


def results(rng):
    """What calls that threads share return."""
    vectors = rng.standard_normal((2, 400_000, 3), np.float32)  # more than those who wait awake share
    factors = rng.standard_normal((2, 700, 48), np.float32)
    X = rng.standard_normal((30_000, 40), np.float32)
    problems = rng.standard_normal((3000, 32, 5))
    targets = problems @ np.arange(5.0) + rng.standard_normal((3000, 32))
    faces = rng.integers(0, 5000, (20_000, 3))
    yield vp.cross(*vectors)
    yield vp.batched_outer(*factors)
    yield vp.gram(X)
    yield vp.cov(X, rowvar=False)
    yield vp.batched_cov(problems)
    yield vp.linreg_gradient(X, X[:, 0] - X[:, 3] + 1, np.ones(40, np.float32))
    yield vp.linreg_fit(problems, targets, solver="cholesky").coef
    yield vp.linreg_fit(problems, targets, solver="cd", l1=0.01, l2=0.01).coef
    yield vp.vector_angle(*vectors)
    yield vp.vertex_normals(vectors[0, :5000], faces)


def test_no_result_shows_the_number(monkeypatch):
    calls = []
    share = pools.ThreadPoolExecutor.submit
    monkeypatch.setattr(pools, "SLEEPS", True)  # so that all who help are sent for
    monkeypatch.setattr(pools._Pool, "submit", lambda *work: calls.append(work) or share(*work))
    expected = None
    for n in (1, 2, 3, MOST):
        vp.set_num_threads(n)
        digests = []
        with vp.use_backend("cpu"):
            for result in results(np.random.default_rng(11)):
                digests.append(workers.digest(result))
                assert bool(calls) == (n > 1)
                calls.clear()
        expected = expected or digests
        assert digests == expected


def test_setting_it_imports_no_compiler():
    code = "import sys, vecprod_gpu as vp; vp.set_num_threads(1); assert 'numba' not in sys.modules"
    ended = run_python(code)
    assert ended.returncode == 0, ended.stderr
