"""Every row of the GPU runs on the stand-in, at tiny sizes, and nobody's answer is wrong."""

from importlib.util import find_spec

import pytest
from vecprod_gpu.bench.cuda.rows import rows
from vecprod_gpu.bench.suite import Suite

TINY = 1e-7
ABSENT = {"torch.compile"} if find_spec("torch") else {"torch"}


# A cold start is timed in processes of its own, for which nothing stands in.
ROWS = [row for row in rows() if row.topic != "cold start"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name_at(1.0).replace(" ", "-"))
def test_every_answer_of_a_row_is_right(row, gpu, clocks):
    (outcome,) = Suite("cuda", [row], gpu, clocks, TINY, turns=1).outcomes()
    race = outcome.race
    assert {name: timing.error for name, timing in race.timings.items() if timing.is_wrong} == {}
    assert set(race.missing) <= ABSENT
