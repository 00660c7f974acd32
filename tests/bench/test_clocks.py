"""The clocks: what is timed is what is checked, warm, as often as they say, and on inputs that take turns."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
from vecprod_gpu.bench.clocks import CallClock, KernelClock, ReportedClock, WallClock
from vecprod_gpu.bench.runner import Runner


class Gpu:
    """A CUDA of one stream: launches run at once, or are kept while a graph is captured."""

    def __init__(self):
        self.time, self.captured, self.pools = 0.0, None, []
        self.cuda = SimpleNamespace(
            MemoryPool=lambda: SimpleNamespace(malloc="pool"),
            using_allocator=self.allocate,
            get_current_stream=lambda: self,
            Event=self.event,
            get_elapsed_time=lambda first, last: 1e3 * (last.at - first.at),
        )

    def event(self):
        event = SimpleNamespace(synchronize=lambda: None)
        event.record = lambda stream: setattr(event, "at", self.time)
        return event

    @contextlib.contextmanager
    def allocate(self, malloc):
        self.pools.append(malloc)
        yield
        self.pools.append(None)

    def launch(self, work, seconds):
        if self.captured is not None:
            self.captured.append((work, seconds))
        else:
            self.run([(work, seconds)])

    def run(self, launches):
        for work, seconds in launches:
            work()
            self.time += seconds

    def begin_capture(self):
        self.captured = []

    def end_capture(self):
        launches, self.captured = self.captured, None
        return SimpleNamespace(launch=lambda stream: self.run(launches))

    def synchronize(self):
        if self.captured is not None:
            raise RuntimeError("operation not permitted when stream is capturing")


@pytest.fixture
def gpu():
    return Gpu()


def kernel(gpu, out, value, seconds):
    """A call that fills `out` on the device."""

    def call():
        gpu.launch(lambda: out.fill(value), seconds)
        return out

    return call


def test_a_graph_is_replayed_for_the_time_and_for_the_check(gpu):
    out = np.zeros(3)
    timer = KernelClock(gpu).timer(Runner("ours", kernel(gpu, out, 7.0, 1e-4)))
    assert timer.how == "graph"
    assert timer.turn() == pytest.approx(1e-4)
    out.fill(0)
    assert timer.replay().tolist() == [7.0] * 3
    assert gpu.pools == ["pool", None]


def test_a_graph_that_captured_nothing_gives_a_wrong_answer(gpu):
    out = np.zeros(3)

    def on_another_stream():
        if gpu.captured is None:
            out.fill(7.0)
        return out

    timer = KernelClock(gpu).timer(Runner("peer", on_another_stream))
    assert np.isnan(timer.replay()).all()


def test_what_cannot_be_captured_is_timed_between_events(gpu):
    out = np.zeros(3)
    work = kernel(gpu, out, 7.0, 1e-3)

    def waiting():
        work()
        gpu.synchronize()
        return out

    timer = KernelClock(gpu).timer(Runner("peer", waiting))
    assert timer.how == "events"
    assert timer.turn() == pytest.approx(1e-3)
    assert timer.replay().tolist() == [7.0] * 3


def test_inputs_take_turns_and_the_first_is_the_one_checked(gpu):
    log, outs = [], [np.zeros(1), np.zeros(1), np.zeros(1)]

    def call(i):
        def work():
            log.append(i)
            outs[i].fill(i)

        gpu.launch(work, 1e-3)
        return outs[i]

    first, *others = (lambda i=i: call(i) for i in range(3))
    timer = KernelClock(gpu).timer(Runner("ours", first, others=tuple(others)))
    log.clear()
    assert timer.turn() == pytest.approx(1e-3)
    assert log == [1, 2, 0, 1, 2, 0]
    assert timer.replay() is outs[0]


def test_a_share_of_the_work_counts_as_the_whole(gpu):
    out = np.zeros(1)
    timer = KernelClock(gpu).timer(Runner("peer", kernel(gpu, out, 1.0, 1e-3), share=0.25))
    assert timer.turn() == pytest.approx(4e-3)


def test_the_wall_clock_begins_with_a_round_that_is_not_timed():
    log = []
    runner = Runner("ours", lambda: log.append(0), others=(lambda: log.append(1),), result=None)
    timer = WallClock(wait=lambda: log.append("wait"), turn_seconds=0).timer(runner)
    timer.turn()
    log.clear()
    assert timer.turn() > 0
    assert log == [0, "wait", 1, "wait"] * 2


@pytest.mark.parametrize("compiling", [0, 1, 2, 3])
def test_a_turn_is_filled_although_the_first_calls_compile(compiling, monkeypatch):
    calls, now = [], [0.0]

    def call():
        calls.append(None)
        now[0] += 2.0 if len(calls) <= compiling else 1e-4

    monkeypatch.setattr("vecprod_gpu.bench.clocks.time.perf_counter", lambda: now[0])
    timer = WallClock(turn_seconds=0.02).timer(Runner("ours", call))
    assert timer.turn() == pytest.approx(1e-4)
    before = len(calls)
    assert timer.turn() == pytest.approx(1e-4)
    assert len(calls) - before == 1 + 200


@pytest.mark.parametrize("clock", [WallClock(turn_seconds=0), CallClock(calls=2)])
def test_memory_that_is_given_is_spoilt_before_the_check(clock):
    out = np.zeros(2)
    timer = clock.timer(Runner("ours", lambda: out, out=out))
    assert np.isnan(timer.replay()).all()


def test_calls_are_not_waited_for():
    log = []
    runner = Runner("ours", lambda: log.append("call"), result=None)
    assert CallClock(lambda: log.append("wait"), calls=16).timer(runner).turn() > 0
    assert log == ["call"] * 2 + ["wait"] + ["call"] * 16 + ["wait"]


def test_a_report_is_taken_as_it_is():
    assert ReportedClock().timer(Runner("ours", lambda: 3.0, None, share=2.0)).turn() == 1.5


@pytest.mark.parametrize(("seconds", "pauses"), [(1e-5, 2), (0.003, 0)])
def test_brief_calls_wait_until_the_threads_of_others_sleep(seconds, pauses, monkeypatch):
    slept, now = [], [0.0]

    def call():
        now[0] += seconds

    monkeypatch.setattr("vecprod_gpu.bench.clocks.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("vecprod_gpu.bench.clocks.time.sleep", slept.append)
    timer = WallClock(settle_seconds=0.12).timer(Runner("ours", call))
    for _ in range(3):
        timer.turn()
    assert slept == [0.12] * pauses
