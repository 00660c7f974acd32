"""How products are cut for threads."""

import itertools

import pytest

from vecprod_gpu.backends._cpu.threads.slices import tapered


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize(
    ("length", "block", "most"), [(1, 16, 64), (1000, 16, 64), (999_999, 1, 64), (640, 16, 1)]
)
def test_parts_are_whole_blocks_that_become_fewer(length, block, most, threads):
    parts = tapered(length, block, most, threads)
    starts, stops = zip(*parts, strict=True)
    assert (starts[0], stops[-1]) == (0, length)
    assert starts[1:] == stops[:-1]
    assert all(start % block == 0 for start in starts)
    sizes = [-(-(stop - start) // block) for start, stop in parts]
    assert min(sizes) >= 1
    assert max(sizes) <= most
    assert all(later <= earlier for earlier, later in itertools.pairwise(sizes))


@pytest.mark.parametrize("threads", [2, 5])
def test_the_last_thread_keeps_the_others_waiting_for_a_block_at_most(threads):
    """Whoever is free takes the next part; each takes as long as it is."""
    ends = [0] * threads
    for start, stop in tapered(10_000, 10, 64, threads):
        soonest = ends.index(min(ends))
        ends[soonest] += stop - start
    assert max(ends) - min(ends) <= 10
