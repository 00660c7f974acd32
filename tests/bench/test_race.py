"""The race is fair and honest: every runner is timed as often, and a wrong answer is told."""

import numpy as np
import pytest
from vecprod_gpu.bench import Runner, peers, run
from vecprod_gpu.bench.clocks import WallClock
from vecprod_gpu.bench.host import limits
from vecprod_gpu.bench.host.rows import rows
from vecprod_gpu.bench.peers import Peers
from vecprod_gpu.bench.suite import Suite, choose

ONCE = WallClock(turn_seconds=0)


def test_every_runner_takes_every_turn_in_rotating_order():
    log = []
    runners = [Runner(name, lambda name=name: log.append(name), None) for name in ("ours", "a", "b")]
    outcome = run("row", runners, np.ones(1), tolerance=0.0, turns=4, clock=ONCE)
    checks, first_turn, later = log[:3], log[3:18], log[18:]
    assert checks == ["ours", "a", "b"]
    assert first_turn == ["ours"] * 5 + ["a"] * 5 + ["b"] * 5  # three tell how many fill a turn
    assert later[::2] == ["a", "b", "ours", "b", "ours", "a", "ours", "a", "b"]
    assert later[1::2] == later[::2]  # each turn begins with a call that is not timed
    assert {name: len(timing.seconds) for name, timing in outcome.timings.items()} == dict.fromkeys(
        ["ours", "a", "b"], 4
    )


@pytest.mark.parametrize("answer", [2.0, np.nan])
def test_a_wrong_answer_is_told(answer):
    runners = [Runner("ours", lambda: [1.0]), Runner("peer", lambda: [answer])]
    outcome = run("row", runners, np.ones(1), tolerance=1e-6, turns=2, clock=ONCE)
    assert not outcome.timings["ours"].is_wrong
    assert outcome.timings["peer"].is_wrong


def test_an_answer_that_is_never_written_is_wrong():
    out = np.ones(3)
    outcome = run("row", [Runner("ours", lambda: out, out=out)], np.ones(3), tolerance=1e-6, clock=ONCE)
    assert outcome.timings["ours"].is_wrong


def test_a_peer_that_fails_is_a_line_and_no_failure():
    def fail():
        raise ValueError("not today")

    runners = [Runner("ours", lambda: [1.0]), Runner("peer", fail)]
    outcome = run("row", runners, np.ones(1), tolerance=1e-6, missing={"other": "not installed"}, clock=ONCE)
    assert set(outcome.timings) == {"ours"}
    assert outcome.missing == {"other": "not installed", "peer": "ValueError: not today"}


def test_our_own_failure_ends_the_run():
    def fail():
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        run("row", [Runner("ours", fail)], np.ones(1), tolerance=1e-6)


def test_a_missing_peer_is_a_line_and_no_failure(monkeypatch, clocks):
    monkeypatch.setattr(peers, "load", lambda name: (None, "not installed"))
    monkeypatch.setattr(limits, "load", lambda name: (None, "not installed"))
    small = next(row for row in rows() if row.name_at(1).startswith("cross, 8 "))
    (outcome,) = Suite("cpu", [small], Peers(), clocks, 1.0, turns=2).outcomes()
    assert set(outcome.race.timings) == {"ours", "numpy"}
    assert outcome.race.missing == dict.fromkeys(["torch", "jax", "numexpr"], "not installed")
    assert [verdict.is_met is None for verdict in outcome.verdicts] == [False, True]


def test_a_peer_that_breaks_on_import_is_missing(monkeypatch):
    def broken(name):
        raise RuntimeError("no such symbol")

    monkeypatch.setattr(peers.importlib, "import_module", broken)
    assert peers.load("torch") == (None, "RuntimeError: no such symbol")


@pytest.mark.parametrize(
    "make",
    [
        lambda: limits.fill(4096),
        lambda: limits.triad(np.ones(64), np.ones(64)),
        lambda: limits.read(np.ones((8, 8))),
    ],
)
def test_limits_run(make):
    for runner in make():
        assert runner.is_limit
        assert runner.result is None
        runner.call()


def test_rows_are_chosen_by_topic_or_name():
    def names(*words):
        return [row.name_at(0.5) for row in choose(rows(), list(words), 0.5)]

    assert names("areas") == ["triangle areas, 2,500,000"]
    assert names("fits: regressions") == ["regressions, 50,000 of 32 x 4"]
    assert names("fits: cross") == []
    assert len(names("cross", "gram")) == len(names("cross")) + len(names("gram"))
    assert len(names()) == len(rows())


def test_names_tell_rows_apart():
    from vecprod_gpu.bench.cuda.rows import rows as cuda_rows

    for table in (rows(), cuda_rows()):
        for scale in (1.0, 0.02):
            names = [row.name_at(scale) for row in table]
            assert len(set(names)) == len(names)
