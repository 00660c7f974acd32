"""Every row of the GPU runs on the stand-in, at tiny sizes, and nobody's answer is wrong."""

import pytest
from vecprod_gpu.bench.cuda.rows import rows
from vecprod_gpu.bench.suite import Suite

TINY = 1e-7


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name_at(1.0).replace(" ", "-"))
def test_every_answer_of_a_row_is_right(row, gpu, clocks):
    if row.topic == "cold start":
        pytest.skip("starts processes, which have no stand-in")
    (outcome,) = Suite("cuda", [row], gpu, clocks, TINY, turns=1).outcomes()
    race = outcome.race
    assert {name: timing.error for name, timing in race.timings.items() if timing.is_wrong} == {}
    assert race.missing == {}
