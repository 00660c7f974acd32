"""Many steps of linear regression in one launch: the bits of single steps, whoever shares the work."""

import numpy as np
import pytest

from tests.kernels import checks
from tests.kernels.checks import bits, shifted
from vecprod_gpu.backends import cupy_raw
from vecprod_gpu.backends._device import chips, lanes, launcher, steps


def layouts(cupy, X):
    """The same X in memory of two shapes: rows of aligned chunks, and columns side by side."""
    yield cupy.asarray(X)
    yield cupy.moveaxis(cupy.asarray(np.moveaxis(X, 1, 2).copy()), 1, 2)


@pytest.fixture
def kept(monkeypatch):
    """Count the launches that keep X on chip, and change what there is of one."""
    launched = []
    launch = chips.CupyChip.launch
    monkeypatch.setattr(chips.CupyChip, "launch", lambda *its: launched.append(its[5:]) or launch(*its))

    def on(blocks_together, shared_bytes):
        monkeypatch.setattr(cupy_raw, "chip_of", lambda _: chips.CupyChip(blocks_together, shared_bytes))

    return on, launched


@pytest.mark.parametrize(
    ("types", "shape", "problems"),
    [("ef", (40, 5, 3), 2), ("ff", (203, 64, 1), 1), ("fd", (40, 5, 3), 2), ("dd", (203, 64, 1), 1)],
)
def test_steps_have_the_bits_of_single_ones(cupy, rng, kept, types, shape, problems):
    X, *rest = checks.regression(rng, *shape, problems, stored=types[0], summed=types[1])
    checks.walk(cupy, cupy.asarray(X), *rest)
    assert len(kept[1]) == 1


@pytest.mark.parametrize("shape", [(3, 700, 1), (5, 1, 1), (70, 33, 9)], ids=str)
def test_steps_of_every_kind_of_row(cupy, rng, kept, shape):
    """Of several warps, of one number, and with more models than a read of X serves."""
    X, y, w, *_ = checks.regression(rng, *shape, shared_target=True)
    checks.walk(cupy, shifted(cupy, X), y, w, steps=2)
    assert len(kept[1]) == 1


@pytest.mark.parametrize(("n", "blocks"), [(1450, 3), (1000, 2)])
def test_steps_have_the_same_bits_for_every_crew_and_layout(cupy, rng, kept, n, blocks):
    X, *rest = checks.regression(rng, n, 4, 1, stored="d", summed="d")
    assert lanes.lane_cut(n, 4, 1, 8, 8, True).blocks_per_problem == blocks
    on, launched = kept
    results = set()
    for size in (blocks, blocks - 1):
        on(size, 65536)
        for view in layouts(cupy, X):
            results.add(tuple(map(bits, checks.walk(cupy, view, *rest, steps=2))))
            grid, *_, is_cooperative = launched[-1]
            assert grid == (1, size)
            assert is_cooperative == (size > 1)
    assert len(results) == 1


def test_what_no_device_can_hold_is_read_in_each_step(cupy, rng, kept):
    X, *rest = checks.regression(rng, 1450, 4, 1, stored="d", summed="d")
    on, launched = kept
    on(3, 16384)
    assert not cupy_raw.linreg_is_kept(cupy.asarray(X), rest[1], rest[3])
    checks.walk(cupy, cupy.asarray(X), *rest, steps=2)
    assert not launched


def test_long_walks_are_cut_into_launches(cupy, rng, kept, monkeypatch):
    monkeypatch.setattr(steps, "MOST_STEPS", 2)
    X, *rest = checks.regression(rng, 30, 4)
    checks.walk(cupy, cupy.asarray(X), *rest, steps=5)
    assert len(kept[1]) == 3


def test_steps_that_run_away_keep_infinity_and_nan(cupy, rng, kept):
    X, y, w, *_ = checks.regression(rng, 203, 64)
    X *= np.float32(1e19)
    points, _ = checks.walk(cupy, cupy.asarray(X), y, w, steps=4)
    assert not np.isfinite(points.get()[-1]).any()
    assert len(kept[1]) == 1


def test_blocks_that_run_together_have_no_more_than_a_multiprocessor_each():
    for problems in (1, 3, 50):
        for n in (10, 1000, 20_000, 50_000):
            for d, k in ((1, 1), (64, 1), (64, 8), (700, 3)):
                crews = steps.crews_of((problems, n, d), k, (4, 4), False, 132, 232_448)
                if crews is None:
                    continue
                assert crews.size == 1 or crews.teams * crews.size <= 132
                assert crews.size <= crews.cut.blocks_per_problem
                assert crews.shared_bytes <= 232_448
                held = 132 * 232_448 if crews.teams <= 132 else crews.teams * 232_448
                assert problems * n * d * 4 <= held


def test_the_chip_is_asked_once(cupy):
    chip = chips.chip_of(0)
    assert chip is chips.chip_of(0)
    assert chip.blocks_together >= 1
    assert chip.shared_bytes >= launcher.MOST_SHARED_BYTES
