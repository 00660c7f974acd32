"""On which processors the threads that share a call may run: not on the one of the thread that wakes them."""

import os
import threading

import pytest

from vecprod_gpu.backends import _places, _threads

ALLOWED = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

pytestmark = pytest.mark.skipif(
    _places.current_processor is None or len(ALLOWED) < 2,
    reason="there is one processor, or the system lets no thread choose its own",
)


@pytest.fixture
def caller(monkeypatch):
    """Where the next callers run, by their word: a list of one processor."""
    here = [ALLOWED[0]]
    monkeypatch.setattr(_places, "current_processor", lambda: here[0])
    return here


@pytest.fixture
def pool(monkeypatch, caller):
    """A fresh pool for `for_each_block`, whose two threads are there and idle."""
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    monkeypatch.setattr(_threads, "_limit", None)
    with _threads._Pool(2) as pool:
        monkeypatch.setattr(_threads, "_pool", pool)
        both = threading.Barrier(2)
        assert pool.start(lambda: both.wait(30), 2)
        wait_until_idle(pool)
        yield pool


def wait_until_idle(pool):
    """All that it was given is done."""
    while pool._work_queue.qsize() or len(pool.places._avoided) < 2 or pool.places._at_work:
        os.sched_yield()


def processors_of_helper():
    """Where the thread that shares a call with this one may run meanwhile."""
    met, caller, seen = threading.Barrier(2), threading.get_native_id(), {}

    def task(start, stop):
        met.wait(30)
        seen[threading.get_native_id()] = os.sched_getaffinity(0)

    _threads.for_each_block(task, 2, 1)
    wait_until_idle(_threads._pool)
    del seen[caller]
    return seen.popitem()[1]


def test_a_helper_is_kept_off_the_processor_of_each_caller(pool, caller):
    for caller[0] in (ALLOWED[1], ALLOWED[0], ALLOWED[-1]):
        assert processors_of_helper() == set(ALLOWED) - {caller[0]}


def test_the_caller_stays_where_it_was(pool):
    processors_of_helper()
    assert os.sched_getaffinity(0) == set(ALLOWED)


def test_the_system_is_not_asked_again_where_nothing_has_moved(pool, monkeypatch):
    processors_of_helper()
    monkeypatch.delattr(os, "sched_setaffinity")
    processors_of_helper()


def test_a_thread_that_works_is_moved_by_nobody_until_it_waits(pool, caller):
    pool.places.make_room()
    at_work, may_end = threading.Event(), threading.Event()

    def task():
        at_work.set()
        may_end.wait(30)

    pool.start(task, 1)
    at_work.wait(30)
    (worker,) = pool.places._at_work
    caller[0] = ALLOWED[1]
    pool.places.make_room()
    assert os.sched_getaffinity(worker) == set(ALLOWED) - {ALLOWED[0]}
    may_end.set()
    wait_until_idle(pool)
    pool.places.make_room()
    assert os.sched_getaffinity(worker) == set(ALLOWED) - {ALLOWED[1]}


def test_a_thread_that_is_awake_may_roam_until_the_next_call(pool, caller):
    """As one must that waits awake for many calls, whose callers may come to where it is."""
    assert processors_of_helper() == set(ALLOWED) - {caller[0]}
    both, seen = threading.Barrier(2), []

    def task():
        pool.places.roam()
        seen.append(os.sched_getaffinity(0))
        both.wait(30)

    pool.start(task, 2)
    wait_until_idle(pool)
    assert seen == [set(ALLOWED)] * 2
    assert processors_of_helper() == set(ALLOWED) - {caller[0]}


def test_a_caller_with_one_processor_keeps_nobody_off(pool, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {ALLOWED[0]})
    monkeypatch.setattr(os, "sched_setaffinity", None)
    processors_of_helper()


def test_a_system_that_forbids_it_is_obeyed(pool, monkeypatch):
    def forbidden(thread, processors):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    assert processors_of_helper() == set(ALLOWED)


def test_a_system_that_does_not_tell_changes_nothing(pool, monkeypatch):
    monkeypatch.setattr(_places, "current_processor", None)
    assert processors_of_helper() == set(ALLOWED)
    monkeypatch.delattr(os, "sched_setaffinity")
    assert _places._teller() is None
