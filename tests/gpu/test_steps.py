"""Many steps of descent in one launch, whose blocks wait for each other, on a real GPU."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.kernels import checks
from vecprod_gpu.backends import cupy_raw

HOW = {"l1": 1e-3, "l2": 1e-2, "learning_rate": 0.1}
STEPS = 50
ROWS_OF_A_BLOCK = 192
"""Of 64 columns in single precision, where the sums of a block are to be small beside it."""


def problem(cp, n, d, k=1, problems=1, code="f", seed=0):
    """Device arrays X, y and w of a regression; its descent runs away where columns are many."""
    rng = np.random.default_rng(seed)
    shapes = (problems, n, d), (problems, n, k), (problems, d, k)
    return [cp.asarray(rng.standard_normal(shape).astype(code)) for shape in shapes]


def walk(cp, X, y, w, *optional, steps=STEPS):
    """Points and losses of many steps at once."""
    points = cp.empty((steps, *w.shape), w.dtype)
    losses = cp.empty((steps, w.shape[0], w.shape[2]))
    cupy_raw.linreg_steps(X, y, w, *(optional or (None, None)), **HOW, points=points, losses=losses)
    return points, losses


def one_by_one(cp, X, y, w, *optional, steps=STEPS):
    """The same by single steps."""
    points = cp.empty((steps, *w.shape), w.dtype)
    losses = cp.empty((steps, w.shape[0], w.shape[2]))
    for point, loss in zip(points, losses, strict=True):
        cupy_raw.linreg_pass(X, y, w, *(optional or (None, None)), **HOW, out=point, loss=loss)
        w = point
    return points, losses


def bits(results):
    return list(map(checks.bits_of_numbers, results))


@pytest.fixture
def as_large_as_the_gpu(cp):
    """Problems of a block of rows for each multiprocessor, so that the GPU has no room for two of them."""
    n = ROWS_OF_A_BLOCK * cupy_raw._LAUNCHER.chip.blocks_together
    problems = [problem(cp, n, 64, seed=seed) for seed in (1, 2)]
    assert all(cupy_raw.linreg_is_kept(X, w, None) for X, _, w in problems)
    return problems


@pytest.mark.parametrize("code", "fd")
@pytest.mark.parametrize(
    ("n", "d", "k", "problems"),
    [
        (256, 8, 1, 1),
        (2000, 64, 1, 1),
        (1001, 33, 3, 2),
        (300, 7, 9, 5),
        (77, 300, 1, 40),
        (9, 2000, 1, 1),
        (614_400, 4, 1, 1),
    ],
)
def test_the_bits_are_those_of_single_steps(cp, code, n, d, k, problems):
    arrays = problem(cp, n, d, k, problems, code)
    assert bits(walk(cp, *arrays)) == bits(one_by_one(cp, *arrays))
    weights, offset = cp.abs(arrays[1][..., 0]), arrays[2][..., 0].copy()
    assert bits(walk(cp, *arrays, weights, offset)) == bits(one_by_one(cp, *arrays, weights, offset))


def test_the_whole_gpu_has_the_bits_of_single_steps_every_time(cp, as_large_as_the_gpu):
    for arrays in as_large_as_the_gpu:
        expected = bits(one_by_one(cp, *arrays))
        assert all(bits(walk(cp, *arrays)) == expected for _ in range(50))


def test_a_graph_replays_steps_on_what_the_inputs_hold_by_then(cp):
    X, y, w = problem(cp, 2000, 64)
    assert cupy_raw.linreg_is_kept(X, w, None)
    with cp.cuda.Stream(non_blocking=True) as stream:
        walk(cp, X, y, w)
        stream.synchronize()
        stream.begin_capture()
        captured = walk(cp, X, y, w)
        graph = stream.end_capture()
        for _ in range(5):
            y *= -1.5
            graph.launch(stream)
            assert bits(captured) == bits(one_by_one(cp, X, y, w))


def test_launches_on_two_streams_do_not_keep_each_other_waiting(cp, as_large_as_the_gpu):
    """Neither has room beside the other, and each waits for all of its own blocks."""
    expected = [bits(one_by_one(cp, *arrays)) for arrays in as_large_as_the_gpu]
    streams = [cp.cuda.Stream(non_blocking=True) for _ in expected]
    cp.cuda.Device().synchronize()
    results = [[], []]
    for _ in range(20):
        for stream, arrays, own in zip(streams, as_large_as_the_gpu, results, strict=True):
            with stream:
                own.append(walk(cp, *arrays))
    cp.cuda.Device().synchronize()
    for own, bits_of_one in zip(results, expected, strict=True):
        assert all(bits(one) == bits_of_one for one in own)


def test_launches_of_two_threads_beside_single_steps(cp, as_large_as_the_gpu):
    """Other kernels take multiprocessors away that a launch waits for."""
    expected = [bits(one_by_one(cp, *arrays)) for arrays in as_large_as_the_gpu]
    cp.cuda.Device().synchronize()

    def call(thread):
        with cp.cuda.Stream(non_blocking=True) as stream:
            for turn in range(20):
                way = walk if (turn + thread) % 2 else one_by_one
                result = way(cp, *as_large_as_the_gpu[thread])
                stream.synchronize()
                assert bits(result) == expected[thread]

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(call, thread) for thread in range(2)]:
            done.result()
