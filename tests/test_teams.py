"""Threads that wait awake, and share a call by orders on their seats."""

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

import vecprod_gpu as vp
from tests.workers import in_children
from vecprod_gpu import _short_products
from vecprod_gpu.backends._cpu.geometry import operations as geometry
from vecprod_gpu.backends._cpu.products import operations as products
from vecprod_gpu.backends._cpu.products import shared_loops
from vecprod_gpu.backends._cpu.threads import pools, teams
from vecprod_gpu.backends._cpu.threads.atomics import add, give_way, look

FOREVER = 1 << 40  # rounds

can_move = pytest.mark.skipif(not teams.CAN_MOVE, reason="the system lets no thread choose its processors")
can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


def sharing(kernel):
    """A function that has a kernel done by a team."""
    job = teams.job_of(kernel)

    @numba.njit(nogil=True)
    def shared(seats, helpers, arguments, count, block):
        job_address, arguments_address = job(arguments)
        return teams.share(seats, helpers, job_address, arguments_address, count, block)

    return shared


def count_visits(arguments, start, stop):
    """Add one to each number of the range."""
    visits, weight = arguments
    for i in range(start, stop):
        visits[i] += weight
    return 1 << (start % 8)


def meet(arguments, start, stop):
    """Return only when so many threads are in here at once."""
    here, all_of_them = arguments
    add(here, 1)
    while look(here) < all_of_them:
        give_way()
    return 0


def wait_before_meeting(arguments, start, stop):
    """In the first block wait for the gate to open, in another for a second thread; whether that comes."""
    gate = arguments[0]
    if start == 0:
        while look(gate) == 0:
            give_way()
        return 0
    add(gate + 8, 1)
    for _ in range(1_000_000):
        if look(gate + 8) == 2:
            return 1
        give_way()
    add(gate + 8, -1)
    return 0


def fail(arguments, start, stop):
    if arguments[0] <= start:
        raise MemoryError
    return 0


visit_all, meet_all, fail_all = sharing(count_visits), sharing(meet), sharing(fail)
wait_and_meet = sharing(wait_before_meeting)


@pytest.fixture
def seats():
    return teams.Seats()


@pytest.fixture
def sitting(seats):
    """``sitting(n)`` has so many threads wait, for as long as the test runs."""
    threads = []

    def sit(count):
        before = occupied(seats)
        for _ in range(count):
            threads.append(threading.Thread(target=teams._serve, args=(seats.address, FOREVER, False)))
            threads[-1].start()
        while occupied(seats) < before + count:
            time.sleep(0.001)

    teams._serve(teams.Seats().address, 1, False)  # compiles it
    yield sit
    while any(thread.is_alive() for thread in threads):
        seats.dismiss()
        time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert occupied(seats) == 0


def occupied(seats):
    return np.count_nonzero(seats._numbers[: teams.SEATS, 0] != teams.EMPTY)


@pytest.mark.parametrize("helpers", [0, 1, 3])
@pytest.mark.parametrize(("count", "block"), [(1, 1), (100, 1), (100, 7), (100, 1000)])
def test_each_block_is_done_once(helpers, count, block, seats, sitting):
    sitting(helpers)
    for _ in range(20):
        visits = np.zeros(count, np.int64)
        raised = visit_all(seats.address, helpers, (visits, 3), count, block)
        assert (visits == 3).all()
        assert raised == np.bitwise_or.reduce([1 << (start % 8) for start in range(0, count, block)])


@pytest.mark.parametrize("helpers", [1, 3])
def test_all_work_at_once(helpers, seats, sitting):
    sitting(helpers)
    for _ in range(3):
        here = np.zeros(1, np.int64)
        meet_all(seats.address, helpers, (here.ctypes.data, helpers + 1), helpers + 1, 1)
        assert here[0] == helpers + 1


def test_who_sits_down_during_a_call_helps_with_it(seats, sitting):
    gate = np.zeros(2, np.int64)
    arguments = (gate.ctypes.data,)
    with ThreadPoolExecutor(1) as caller:
        wait_and_meet(seats.address, 0, arguments, 0, 1)  # compiles it
        has_met = caller.submit(wait_and_meet, seats.address, 1, arguments, 3, 1)
        try:
            sitting(1)
        finally:
            gate[0] = 1
        assert has_met.result()


def test_no_more_are_asked_than_may_help(seats, sitting):
    sitting(3)
    here = np.zeros(1, np.int64)
    meet_all(seats.address, 1, (here.ctypes.data, 2), 2, 1)
    assert here[0] == 2


def test_nobody_is_waited_for_who_has_not_begun(seats):
    seats._numbers[:3, 0] = teams.FREE  # where no thread is that could see an order
    visits = np.zeros(50, np.int64)
    visit_all(seats.address, 2, (visits, 1), 50, 5)
    assert (visits == 1).all()
    assert seats._numbers[:3, 0].tolist() == [teams.LEAVE, teams.LEAVE, teams.FREE]


def test_callers_share_the_helpers(seats, sitting):
    sitting(2)
    wrong = []

    def call(weight):
        for _ in range(300):
            visits = np.zeros(64, np.int64)
            visit_all(seats.address, 2, (visits, weight), 64, 4)
            if not (visits == weight).all():
                wrong.append(visits)

    callers = [threading.Thread(target=call, args=(weight,)) for weight in (1, 2, 3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_patience_ends(seats):
    teams._serve(seats.address, 1000, True)
    assert occupied(seats) == 0


@can_move
class TestBesideTheCaller:
    """On one processor only one of the two can run."""

    @pytest.fixture
    def own_processor(self):
        """The one that this thread is held on, while the test runs."""
        allowed = os.sched_getaffinity(0)
        own = min(allowed)
        os.sched_setaffinity(0, {own})
        yield own
        os.sched_setaffinity(0, allowed)

    def test_a_helper_leaves(self, seats, own_processor):
        seats._numbers[teams.SEATS, 0] = own_processor + 1
        assert teams._serve(seats.address, FOREVER, True)
        assert occupied(seats) == 0

    def test_a_helper_elsewhere_stays(self, seats, own_processor):
        seats._numbers[teams.SEATS, 0] = own_processor + 2
        assert not teams._serve(seats.address, 10 * teams.LOOK_AROUND, True)

    def test_a_call_tells_where_the_caller_is(self, seats, own_processor):
        visit_all(seats.address, 1, (np.zeros(5, np.int64), 1), 5, 5)
        assert seats._numbers[teams.SEATS, 0] == own_processor + 1

    def test_one_that_may_run_nowhere_else_stays_where_it_is(self, own_processor):
        assert not teams._move_away()
        assert os.sched_getaffinity(0) == {own_processor}

    def test_and_then_leaves_its_seat_for_good(self, seats, own_processor):
        seats._numbers[teams.SEATS, 0] = own_processor + 1
        seats.sit_down()
        assert occupied(seats) == 0


@can_move
def test_a_helper_moves_away(monkeypatch):
    asked = []
    monkeypatch.setattr(teams, "processor", lambda: 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: {1, 3, 5})
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, allowed: asked.append((thread, allowed)))
    assert teams._move_away()
    assert asked == [(0, {1, 5}), (0, {1, 3, 5})]


def test_who_finds_no_seat_goes(seats):
    seats._numbers[: teams.SEATS, 0] = teams.TAKEN
    teams._serve(seats.address, FOREVER, True)
    assert (seats._numbers[: teams.SEATS, 0] == teams.TAKEN).all()


def test_one_function_may_have_several_jobs_done(seats, sitting):
    first, second = teams.job_of(meet), teams.job_of(count_visits)

    @numba.njit(nogil=True)
    def both(seats, here, visits):
        # That of a helper comes first: one that has not begun when the work is done is told to leave.
        job, arguments = first((here.ctypes.data, 2))
        teams.share(seats, 1, job, arguments, 2, 1)
        job, arguments = second((visits, 2))
        teams.share(seats, 1, job, arguments, visits.size, 3)

    sitting(1)
    here, visits = np.zeros(1, np.int64), np.zeros(20, np.int64)
    both(seats.address, here, visits)
    assert (visits == 2).all()
    assert here[0] == 2


@pytest.mark.parametrize("helpers", [0, 2])
def test_a_failure_anywhere_is_raised(helpers, seats, sitting):
    sitting(helpers)
    fail_all(seats.address, helpers, (50,), 40, 1)
    with pytest.raises(MemoryError):
        fail_all(seats.address, helpers, (37,), 40, 1)


@pytest.fixture
def three_threads(monkeypatch):
    """As if there were a processor for each."""
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    monkeypatch.setattr(pools, "_limit", None)
    monkeypatch.setattr(pools, "_pool", None)
    monkeypatch.setattr(pools, "_processors", lambda: 3)
    monkeypatch.setattr(pools, "SLEEPS", False)
    monkeypatch.setattr(pools, "SOON", 1e9)
    monkeypatch.setattr(pools, "_seated", [])
    yield
    if pools._pool is not None:
        pools._pool.shutdown()
    assert not pools._seated


@pytest.fixture
def two_seated(three_threads, monkeypatch):
    """Two threads of the pool that wait for a minute, and never leave their seats to move."""
    monkeypatch.setattr(teams, "CAN_MOVE", False)
    monkeypatch.setattr(teams, "PATIENCE", 60.0)
    teams._rounds(60.0)
    pools.seat(2, teams.seats)
    while occupied(teams.seats) < 2:
        time.sleep(0.001)
    yield
    teams.seats.dismiss()


@pytest.mark.usefixtures("three_threads")
class TestOfGradients:
    """Gradients, whose sums take other ways by size."""

    @pytest.fixture
    def problem(self, rng):
        X = rng.standard_normal((6000, 60))
        return X, X[:, 0] - X[:, 7] + 1, rng.standard_normal(60)

    @pytest.mark.parametrize("dtype", ["f", "d"])
    def test_bits_are_those_of_one_thread(self, problem, dtype):
        arrays = [array.astype(dtype) for array in problem]
        with vp.use_backend("cpu"):
            vp.set_num_threads(1)
            expected = vp.linreg_gradient(*arrays).tobytes()
            vp.set_num_threads(3)
            for _ in range(50):
                assert vp.linreg_gradient(*arrays).tobytes() == expected

    def test_helpers_are_called(self, problem, monkeypatch):
        called = []
        monkeypatch.setattr(pools, "seat", lambda *call: called.append(call))
        with vp.use_backend("cpu"):
            vp.linreg_gradient(*problem)
        assert called == [(2, teams.seats)]

    def test_are_not_called_for_a_call_alone(self, problem, monkeypatch):
        monkeypatch.setattr(pools, "SOON", -1.0)
        with vp.use_backend("cpu"):
            vp.linreg_gradient(*problem)
        assert pools._pool is None

    @pytest.mark.parametrize(("name", "value"), [("SLEEPS", True), ("_processors", lambda: 2)])
    def test_sleep_where_they_are_to_or_would_be_too_many(self, name, value, problem, monkeypatch):
        monkeypatch.setattr(pools, name, value)
        with vp.use_backend("cpu"):
            vp.linreg_gradient(*problem)
            vp.linreg_gradient(*problem)
        assert pools._pool is None

    def test_go_where_threads_are_needed_for_python(self, two_seated):
        all_there = threading.Barrier(3)
        pools.for_each_block(lambda start, stop: all_there.wait(30), 3, 1)
        while pools._seated:  # until the patience of a minute ends, where nobody told them to go
            time.sleep(0.001)
        assert occupied(teams.seats) == 0

    @can_fork
    def test_are_not_expected_in_a_forked_child(self, two_seated):
        assert in_children("fork", 1, seats_taken) == [0]


@pytest.fixture
def shared(monkeypatch):
    """How many slices each call of a ufunc shared, whether anybody waits or not."""
    counts = []
    shared_ufunc = shared_loops.shared

    def counting(ufunc, helpers):
        def call(*arrays):
            counts.append(len(arrays[-1]))
            return shared_ufunc(ufunc, helpers)(*arrays)

        return call

    monkeypatch.setattr(shared_loops, "shared", counting)
    monkeypatch.setattr(shared_loops, "anyone_waits", lambda: True)
    return counts


@pytest.mark.usefixtures("three_threads")
class TestOfCrossProducts:
    """Those of a middle size."""

    @pytest.fixture(autouse=True)
    def small_ones_too(self, monkeypatch):
        for module in (_short_products, products):
            monkeypatch.setattr(module, "ALONE_CROSS_BYTES", 1000)
        with vp.use_backend("cpu"):
            vp.cross(np.ones((9, 3)), np.ones((9, 3)))  # loads what the short way needs
            vp.cross(np.ones((9, 3), "f"), np.ones((9, 3), "f"))

    @pytest.fixture
    def pair(self, rng):
        return tuple(rng.standard_normal((2, 5003, 3)))

    @pytest.mark.parametrize("dtype", "bHilefd")
    @pytest.mark.parametrize("shape", [(5003, 3), (25, 41, 3)])
    @pytest.mark.parametrize("mode", ["cpu", None])
    def test_bits_are_numpys(self, dtype, shape, mode, shared, rng):
        a, b = (50 * rng.standard_normal((2, *shape))).astype(dtype)
        expected = np.cross(a, b).tobytes()
        out = np.full(shape, 77, dtype)
        with vp.use_backend(mode) if mode else contextlib.nullcontext():
            for _ in range(30):
                assert vp.cross(a, b).tobytes() == expected
                out[...] = 77
                assert vp.cross(a, b, out=out) is out
                assert out.tobytes() == expected
        assert dtype not in "efd" or shared == [a.size // 3] * 60

    @pytest.mark.parametrize("mode", ["cpu", None])
    @pytest.mark.parametrize("shape", [(3,), (1, 3)])
    def test_bits_of_one_with_many_are_numpys(self, shape, mode, pair, shared, rng):
        one, many = rng.standard_normal(shape), pair[0]
        out = np.full(many.shape, 77.0)
        with vp.use_backend(mode) if mode else contextlib.nullcontext():
            for factors in ((one, many), (many, one)):
                expected = np.cross(*factors).tobytes()
                assert vp.cross(*factors).tobytes() == expected
                vp.cross(*factors, out=out)
                assert out.tobytes() == expected
        assert shared == [len(many)] * 4

    def test_helpers_are_called(self, pair, monkeypatch):
        called = []
        monkeypatch.setattr(pools, "seat", lambda *call: called.append(call))
        vp.cross(*pair)
        assert called == [(2, teams.seats)]

    def test_warn_as_numpy_does(self, pair, shared, two_seated):
        a, b = pair
        a[4321, 1] = b[4321, 2] = 1e200
        with (
            np.errstate(over="raise"),
            pytest.raises(FloatingPointError, match=r"^overflow encountered in cross$"),
        ):
            vp.cross(a, b)
        with pytest.warns(RuntimeWarning, match=r"^overflow encountered in cross$"):
            vp.cross(a, b)
        assert len(shared) == 2

    def test_of_several_errors_the_same_one_is_raised(self, pair, shared, two_seated):
        """As of a call that nobody shares: NumPy has an order of them."""
        a, b = pair
        a[:10], b[:10] = 1e200, 1e200
        with (
            np.errstate(all="raise"),
            pytest.raises(FloatingPointError, match=r"^overflow encountered in cross$"),
        ):
            vp.cross(a, b)
        assert len(shared) == 1

    def test_rows_may_lie_anywhere(self, pair, shared, two_seated):
        a, b = pair
        expected = np.cross(a, b)
        misaligned = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
        misaligned[...] = a
        memory = np.zeros((len(a) + 1, 3))
        memory[1:] = a
        np.testing.assert_array_equal(vp.cross(a[::-1], b[::-1]), expected[::-1])
        np.testing.assert_array_equal(vp.cross(misaligned, b), expected)
        np.testing.assert_array_equal(vp.cross(memory[1:], b, out=memory[:-1]), expected)
        np.testing.assert_array_equal(vp.cross(a, b, out=np.empty((3, len(a))).T), expected)
        assert shared == [len(a)] * 4

    def test_others_go_another_way(self, shared, rng):
        a, b = rng.standard_normal((2, 41, 25, 3))
        expected = np.cross(a, b)
        np.testing.assert_array_equal(vp.cross(a[::-1], b[::-1]), expected[::-1])
        np.testing.assert_array_equal(vp.cross(a, b, out=np.empty((41, 50, 3))[:, ::2]), expected)
        vp.set_num_threads(1)
        np.testing.assert_array_equal(vp.cross(a, b), expected)
        assert not shared


@pytest.mark.usefixtures("three_threads")
class TestOfOtherUfuncs:
    """Outer products, angles, areas and volumes of a middle size."""

    @pytest.fixture(autouse=True)
    def small_ones_too(self, monkeypatch):
        monkeypatch.setattr(products, "FEWEST_SHARED_BYTES", 1000)
        monkeypatch.setattr(geometry, "FEWEST_SHARED_MEASURES", 1000)
        for name in ("SMALL_OUTER_BYTES", "SMALL_VECTORS_BYTES"):
            monkeypatch.setattr(_short_products, name, 0)
        with vp.use_backend("cpu"):
            yield

    @pytest.mark.parametrize("dtype", "bHlefd")
    @pytest.mark.parametrize(
        ("shape", "count"),
        [
            ((5003, 3, 3), 5003),
            ((4999, 1, 7), 4999),
            ((611, 16, 5), 611),
            ((701, 333), 701),
            ((5000, 1), 5000),
        ],
    )
    def test_outer_products_have_numpys_bits(self, dtype, shape, count, shared, rng):
        *batch, m, n = shape
        a, b = ((50 * rng.standard_normal((*batch, side))).astype(dtype) for side in (m, n))
        expected = (a[..., np.newaxis] * b[..., np.newaxis, :]).tobytes()
        out = np.full(shape, 77, dtype)
        for _ in range(10):
            assert vp.batched_outer(a, b).tobytes() == expected
            out[...] = 77
            vp.batched_outer(a, b, out=out)
            assert out.tobytes() == expected
        assert shared == [count] * 20

    def test_one_vector_with_many(self, shared, rng):
        many, one = rng.standard_normal((3001, 4)), rng.standard_normal(5)
        np.testing.assert_array_equal(vp.batched_outer(many, one[np.newaxis]), many[:, :, None] * one)
        assert shared == [3001]

    @pytest.mark.parametrize("dtype", "fd")
    @pytest.mark.parametrize(
        "function", [vp.vector_angle, vp.parallelogram_area, vp.triangle_area, vp.triple_product]
    )
    def test_measures_have_the_bits_of_one_thread(self, function, dtype, shared, rng):
        operands = 3 if function in (vp.triangle_area, vp.triple_product) else 2
        vectors = list(rng.standard_normal((operands, 20_011, 3)).astype(dtype))
        spread = [np.repeat(each, 2, axis=0)[::2] for each in vectors]
        vp.set_num_threads(1)
        expected = function(*vectors).tobytes()
        vp.set_num_threads(3)
        out = np.full((20_011, 2), np.nan, dtype)[:, 0]
        for _ in range(10):
            assert function(*vectors).tobytes() == expected
            assert function(*spread).tobytes() == expected
            function(*vectors, out=out)
            assert out.tobytes() == expected
        assert shared == [20_011] * 30

    @pytest.mark.usefixtures("two_seated")
    def test_helpers_work_and_warn(self, rng):
        a, b = rng.standard_normal((2, 50_000, 3))
        a[43_210], b[43_210] = 1e200, 1e200
        with pytest.warns(RuntimeWarning, match=r"^overflow encountered in outer$"):
            vp.batched_outer(a, b)
        with (
            np.errstate(invalid="ignore"),
            pytest.warns(RuntimeWarning, match=r"^overflow encountered in triple_product$"),
        ):
            vp.triple_product(a, b, a * [1, 2, 3])

    def test_large_ones_go_another_way_where_nobody_waits(self, shared, monkeypatch, rng):
        monkeypatch.setattr(shared_loops, "anyone_waits", lambda: False)
        monkeypatch.setattr(products, "ALONE_OUTER_BYTES", 1000)
        a, b = rng.standard_normal((2, 5003, 3))
        np.testing.assert_array_equal(vp.batched_outer(a, b), a[:, :, None] * b[:, None])
        assert not shared

    def test_memory_may_be_misaligned(self, shared, rng):
        a, b = rng.standard_normal((2, 5003, 3))
        odd = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
        odd[...] = a
        np.testing.assert_array_equal(vp.batched_outer(odd, b), a[:, :, None] * b[:, None])
        np.testing.assert_array_equal(vp.vector_angle(odd, b), vp.vector_angle(a, b))
        assert shared == [5003] * 3


def seats_taken():
    return occupied(teams.seats)
