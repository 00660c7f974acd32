"""A planted fault in any Numba kernel makes the comparison with the oracle fail.

Not collected on a GPU: only the simulator survives the reads out of bounds that some faults cause.
"""

import threading

import numpy as np
import pytest
from numba import cuda

from tests.shim import turns

from . import test_numba_comoments as moments
from . import test_numba_simulator as comparisons


def run_outer():
    comparisons.test_outer_broadcasts([(4, 1, 3), (2, 5)])
    comparisons.test_outer_scales_and_accumulates("float32")


def run_cross_contiguous():
    comparisons.test_cross_of_ragged_counts(65)


def run_cross_strided():
    comparisons.test_cross_of_every_dtype("float64", [(2, 1, 3), (4, 3)])


def run_linreg():
    arrays = comparisons.regression(2, 6, 3, 2, y_columns=1)
    weight, offset = np.linspace(0.1, 1, 12).reshape(2, 6), comparisons.numbers((2, 3), "float64", 6)
    comparisons.check_linreg(arrays, weight, offset, l1=0.4, l2=0.3, learning_rate=0.5)


def run_comoments():
    X, Y = comparisons.numbers((1, 29, 3), "complex128"), comparisons.numbers((1, 29, 2), "complex128", 1)
    weights = moments.positive((1, 29), "complex128")
    weights[0, 12:] *= 5
    for is_one_block in (True, False):
        with moments.short_stages(is_one_block):
            moments.gram(X, Y)
            moments.co_moments(X, Y + 3, weights)


def run_copy():
    comparisons.test_native_reads_any_view(lambda x: x[::-1, 1:, ::-2])


# (file, what exercises it), then what stands there and what the fault makes of it.
FAULTS = {
    ("outer", run_outer): [
        ("carry = row >= m", "carry = row > m"),
        ("inner_count * m * n, stride", "inner_count * m * n - 1, stride"),
        ("product(beta, out[index])", "out[index]"),
    ],
    ("cross", run_cross_contiguous): [
        ("product(a2, b0) - product(a0, b2)", "product(a0, b2) - product(a2, b0)"),
        ("range(cuda.grid(1), count, cuda.gridsize(1))", "range(cuda.grid(1), count, 2 * cuda.gridsize(1))"),
    ],
    ("cross", run_cross_strided): [("inner * b_inner_stride", "inner * a_inner_stride")],
    ("linreg", run_linreg): [
        ("x - problem.x_offset[column]", "x + problem.x_offset[column]"),
        ("layout.weights[row] * residual", "residual"),
        ("0 if problem.y_columns == 1", "1 if problem.y_columns == 1"),
        ("y[p * n * y_columns :]", "y[p * n * y_columns + 1 :]"),
        ("range(lane, problem.d, layout.lanes)", "range(lane, problem.d - 1, layout.lanes)"),
        ("+ l2 * coefficient\n", "- l2 * coefficient\n"),
        ("abs(value) - threshold", "abs(value)"),
        ("/ (2 * total_weight)", "/ total_weight"),
    ],
    ("comoments", run_comoments): [
        (".real * z if problem.has_weight else z", ".real * z if problem.has_weight and lane else z"),
        ("rounding + (shift + rest)", "shift + rest"),
        ("+ 1] = weight_before * share", "+ 1] = weight_before"),
        ("+ tile.stage_rows] = -stage_weight", "+ tile.stage_rows] = stage_weight"),
        ("range(group, staged, tile.groups)", "range(0, staged, tile.groups)"),
        ("behind <= rows_per_sum", "behind <= rows"),
        ("before * share * left_distance", "share * left_distance"),
        ("scale * value.conjugate()", "scale * value"),
        ("range(lane, blocks.count, blocks.lanes)", "range(lane, blocks.count - 1, blocks.lanes)"),
    ],
    ("copy", run_copy): [("read = source_start", "read = 0")],
}


@pytest.mark.parametrize(
    ("file", "run", "right", "wrong"),
    [(*key, *fault) for key, faults in FAULTS.items() for fault in faults],
    ids=lambda value: None if callable(value) else value,
)
def test_fault_is_seen(file, run, right, wrong, monkeypatch):
    comparisons.replace_kernels(file, monkeypatch, right, wrong)
    with pytest.raises((AssertionError, IndexError)):  # the simulator sees reads out of bounds
        run()


@pytest.mark.parametrize(("file", "run"), FAULTS)
def test_no_fault_is_seen_in_the_kernels_themselves(file, run, monkeypatch):
    comparisons.replace_kernels(file, monkeypatch, "from numba import", "from numba import")
    run()


# --- The blocks that the simulator is given --------------------------------------------------------


@cuda.jit
def sums_of_neighbours(numbers, sums, has_barrier):
    staged = cuda.shared.array(8, np.float64)
    i = cuda.threadIdx.x
    staged[i] = numbers[i]
    if has_barrier:
        cuda.syncthreads()
    sums[i] = staged[i - 1] + staged[(i + 1) % 8]


@cuda.jit
def half_wait(numbers):
    if cuda.threadIdx.x < 4:
        cuda.syncthreads()


@pytest.mark.parametrize("has_barrier", [True, False])
def test_a_missing_barrier_shows_on_every_run(rng, has_barrier):
    """Other numbers in each run, since memory may still hold those of the last."""
    for numbers in rng.standard_normal((5, 8)):
        sums = np.empty(8)
        sums_of_neighbours[1, 8](numbers, sums, has_barrier)
        expected = np.roll(numbers, 1) + np.roll(numbers, -1)
        assert np.array_equal(sums, expected) == has_barrier


def test_threads_that_end_while_others_wait_are_reported():
    with pytest.raises(RuntimeError, match="divergent syncthreads"):
        half_wait[1, 8](np.zeros(8))


def test_what_a_thread_raises_ends_the_block():
    with pytest.raises(IndexError):
        sums_of_neighbours[1, 8](np.zeros(5), np.zeros(8), True)
    assert not [thread for thread in threading.enumerate() if isinstance(thread, turns.Thread)]
