"""On which processors the threads that share a call may run: not on the one of the thread that wakes them."""

import os
import threading
import time

import pytest

from vecprod_gpu.backends._cpu.threads import places, pools

ALLOWED = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

pytestmark = pytest.mark.skipif(
    places.current_processor is None or len(ALLOWED) < 2,
    reason="there is one processor, or the system lets no thread choose its own",
)


@pytest.fixture
def caller(monkeypatch):
    """Where the next callers run, by their word: a list of one processor."""
    here = [ALLOWED[0]]
    monkeypatch.setattr(places, "current_processor", lambda: here[0])
    return here


@pytest.fixture
def pool(monkeypatch, caller):
    """A fresh pool for `for_each_block`, whose two threads wait."""
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    monkeypatch.setattr(pools, "_limit", None)
    with pools._Pool(2) as pool:
        monkeypatch.setattr(pools, "_pool", pool)
        both = threading.Barrier(2)
        assert pool.start(lambda: both.wait(30), 2)
        wait_for_both(pool)
        yield pool


def wait_for_both(pool):
    """Both threads have done what they were given."""
    deadline = time.monotonic() + 30
    while len(pool.places._waiting) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def call(pool):
    """A call that a thread of the pool shares, and where that one may run meanwhile."""
    met, caller, seen = threading.Barrier(2), threading.get_native_id(), {}

    def task(start, stop):
        met.wait(30)
        seen[threading.get_native_id()] = os.sched_getaffinity(0)

    pools.for_each_block(task, 2, 1)
    wait_for_both(pool)
    assert seen.pop(caller) == set(ALLOWED)
    return seen.popitem()[1]


def where_they_wait(pool):
    return [os.sched_getaffinity(thread) for thread in pool.places._waiting]


def test_helpers_are_kept_off_the_processor_of_each_caller(pool, caller):
    for caller[0] in (ALLOWED[1], ALLOWED[0], ALLOWED[-1]):
        elsewhere = set(ALLOWED) - {caller[0]}
        assert call(pool) == elsewhere
        assert where_they_wait(pool) == [elsewhere] * 2


def test_a_task_may_let_its_thread_roam_until_it_waits(pool, caller):
    """As one must that takes long, or starts threads and processes, which inherit where it may run."""
    all_there, seen = threading.Barrier(3), []

    def task():
        pools.roam()
        seen.append(os.sched_getaffinity(0))
        all_there.wait(30)

    pool.start(task, 2)
    all_there.wait(30)
    wait_for_both(pool)
    assert seen == [set(ALLOWED)] * 2
    assert where_they_wait(pool) == [set(ALLOWED) - {caller[0]}] * 2


def test_a_thread_of_no_pool_roams_already(pool):
    pools.roam()
    assert os.sched_getaffinity(0) == set(ALLOWED)


def test_who_works_for_one_caller_is_not_moved_by_another(pool, caller):
    at_work, may_end = threading.Event(), threading.Event()

    def task():
        at_work.set()
        may_end.wait(30)

    pool.start(task, 1)
    at_work.wait(30)
    (worker,) = pool.places._home.keys() - pool.places._waiting
    caller[0] = ALLOWED[1]
    pool.places.make_room()
    assert os.sched_getaffinity(worker) == set(ALLOWED) - {ALLOWED[0]}
    may_end.set()
    wait_for_both(pool)
    assert where_they_wait(pool) == [set(ALLOWED) - {ALLOWED[1]}] * 2


def test_no_caller_moves_whom_the_latest_has_moved(pool, monkeypatch):
    pool.places.make_room()
    monkeypatch.delattr(os, "sched_setaffinity")
    pool.places.make_room()


def test_a_caller_with_few_processors_leaves_the_pool_its_own(pool, caller):
    def narrow_call():
        os.sched_setaffinity(0, {ALLOWED[1]})
        caller[0] = ALLOWED[1]
        pool.places.make_room()

    thread = threading.Thread(target=narrow_call)
    thread.start()
    thread.join()
    assert where_they_wait(pool) == [set(ALLOWED) - {ALLOWED[1]}] * 2


def test_an_interrupted_caller_is_followed_by_one_that_does_it_all(pool, caller, monkeypatch):
    def interrupted(thread, processors):
        raise KeyboardInterrupt

    caller[0] = ALLOWED[1]
    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_setaffinity", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pool.places.make_room()
    pool.places.make_room()
    assert where_they_wait(pool) == [set(ALLOWED) - {ALLOWED[1]}] * 2


def test_a_thread_that_began_on_one_processor_stays_there(caller):
    def narrow_pool():
        os.sched_setaffinity(0, {ALLOWED[0]})
        with pools._Pool(1) as pool:
            pool.start(lambda: None, 1)
            while not pool.places._waiting:
                time.sleep(0.001)
            pool.places.make_room()
            seen.extend(where_they_wait(pool))

    seen = []
    thread = threading.Thread(target=narrow_pool)
    thread.start()
    thread.join(30)
    assert seen == [{ALLOWED[0]}]


def test_many_threads_are_left_where_they_are(pool, caller, monkeypatch):
    call(pool)
    monkeypatch.setattr(places, "MOST", 1)
    caller[0] = ALLOWED[1]
    pool.places.make_room()
    assert where_they_wait(pool) == [set(ALLOWED) - {ALLOWED[0]}] * 2


def test_a_system_that_forbids_it_is_obeyed(pool, caller, monkeypatch):
    def forbidden(thread, processors):
        raise PermissionError

    before = where_they_wait(pool)
    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    caller[0] = ALLOWED[1]
    call(pool)
    assert where_they_wait(pool) == before


def test_a_system_that_does_not_tell_changes_nothing(monkeypatch):
    monkeypatch.setattr(places, "current_processor", None)
    with pools._Pool(1) as pool:
        pool.start(lambda: None, 1)
        pool.places.make_room()
        assert not pool.places._home
    monkeypatch.delattr(os, "sched_setaffinity")
    assert places._teller() is None
