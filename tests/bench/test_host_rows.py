"""Every row of the CPU runs at tiny sizes, and nobody's answer is wrong."""

import sys

import pytest
from vecprod_gpu.bench.host.rows import rows
from vecprod_gpu.bench.peers import Peers
from vecprod_gpu.bench.suite import Suite

TINY = 1e-5


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name_at(1.0).replace(" ", "-"))
def test_every_answer_of_a_row_is_right(row, clocks):
    (outcome,) = Suite("cpu", [row], Peers(compiles=False), clocks, TINY, turns=1).outcomes()
    race = outcome.race
    assert {name: timing.error for name, timing in race.timings.items() if timing.is_wrong} == {}
    assert (race.timings["ours"].error is None) == (row.clock == "reported")
    assert outcome.verdicts == ()


def test_rows_need_no_peer(clocks, monkeypatch):
    for name in ("torch", "jax", "numexpr", "sklearn"):
        monkeypatch.setitem(sys.modules, name, None)
    timed_here = [row for row in rows() if row.clock != "reported"]
    for outcome in Suite("cpu", timed_here, Peers(), clocks, TINY, turns=1).outcomes():
        assert not outcome.race.timings["ours"].is_wrong
        assert set(outcome.race.missing) <= {"torch", "jax", "numexpr", "sklearn"}
