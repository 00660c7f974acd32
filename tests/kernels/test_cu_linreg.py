"""The .cu kernels of linear regression through the ``cupy`` backend: on a GPU, or through the shim.

Every test holds for both: rows in the registers of a block, and tiles in shared memory, which serve rows
that are too wide for that, and here all rows where the launcher is told that it compiles for no shape.
"""

import numpy as np
import pytest

from tests.kernels import checks
from tests.kernels.checks import bits, shifted
from tests.shim import fake_cupy
from vecprod_gpu import _compile
from vecprod_gpu.backends import cupy_raw
from vecprod_gpu.backends._device import lanes, launcher, linreg


@pytest.fixture(params=["lanes", "tiles"], autouse=True)
def kernel(request, monkeypatch):
    """Which of the two kernels reads X."""
    monkeypatch.setattr(cupy_raw._LAUNCHER, "compiles_for_shapes", request.param == "lanes", raising=False)
    return request.param


SHAPES = [
    (1, 1, 1),
    (300, 1, 1),
    (513, 16, 1),
    (257, 64, 3),
    (33, 129, 1),
    (50, 33, 15),
    (9, 700, 2),
    (40, 5, 70),
]


@pytest.mark.parametrize("types", ["ef", "ff", "fd", "dd"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_linreg_of_every_dtype_and_shape(cupy, rng, types, shape):
    X, *rest = checks.regression(rng, *shape, problems=2, stored=types[0], summed=types[1])
    checks.linreg(cupy, cupy.asarray(X), *rest, l1=0.1, l2=0.3, learning_rate=0.05)


@pytest.mark.parametrize("has_weight", [False, True])
@pytest.mark.parametrize("has_offset", [False, True])
@pytest.mark.parametrize("rate", [None, 0.1])
def test_linreg_options(cupy, rng, has_weight, has_offset, rate):
    X, y, w, s, offset = checks.regression(rng, 95, 19, 5, shared_target=True)
    optional = (s if has_weight else None, offset if has_offset else None)
    checks.linreg(cupy, cupy.asarray(X), y, w, *optional, l2=0.5, learning_rate=rate)


def layouts(cupy, X):
    """The same X in memory of many shapes."""
    problems, n, d = X.shape
    yield cupy.asarray(X)
    yield from (shifted(cupy, X, elements) for elements in (1, 2, 3))
    yield cupy.moveaxis(cupy.asarray(np.moveaxis(X, 1, 2).copy()), 1, 2)
    yield cupy.asarray(X[:, ::-1, ::-1].copy())[:, ::-1, ::-1]
    padded = cupy.empty((problems, n, d + 5), X.dtype)[:, :, 2 : 2 + d]
    padded[...] = cupy.asarray(X)
    yield padded


@pytest.mark.parametrize("types", ["ef", "ff", "dd"])
@pytest.mark.parametrize("shape", [(300, 16, 1), (131, 30, 8), (9, 257, 2)], ids=str)
def test_linreg_has_the_same_bits_in_every_layout(cupy, rng, types, shape):
    X, *rest = checks.regression(rng, *shape, problems=2, stored=types[0], summed=types[1])
    results = {tuple(map(bits, checks.linreg(cupy, view, *rest))) for view in layouts(cupy, X)}
    assert len(results) == 1


def test_linreg_has_the_same_bits_for_any_grid(cupy, rng, monkeypatch):
    X, *rest = checks.regression(rng, 700, 12, 3)
    expected = tuple(map(bits, checks.linreg(cupy, cupy.asarray(X), *rest)))
    for threads, blocks in [(64, 1), (128, 2), (256, 3)]:
        monkeypatch.setattr(cupy_raw._LAUNCHER, "threads", threads, raising=False)
        monkeypatch.setattr(cupy_raw._LAUNCHER, "max_blocks", blocks, raising=False)
        assert tuple(map(bits, checks.linreg(cupy, cupy.asarray(X), *rest))) == expected


def test_linreg_of_a_batch_has_the_bits_of_each_problem(cupy, rng):
    arrays = checks.regression(rng, 120, 20, 2, problems=3)
    together = checks.linreg(cupy, cupy.asarray(arrays[0]), *arrays[1:])
    for i in range(3):
        X, *rest = (array[i : i + 1] for array in arrays)
        alone = checks.linreg(cupy, cupy.asarray(X), *rest)
        assert [bits(one) for one in alone] == [bits(all_[i : i + 1]) for all_ in together]


def test_linreg_may_overwrite_w_while_the_loss_reads_it(cupy, rng):
    X, *rest = checks.regression(rng, 40, 50, 4)
    checks.linreg(cupy, cupy.asarray(X), *rest, l1=1.0, l2=2.0, learning_rate=0.1, out="w")


def test_linreg_keeps_nan(cupy, rng):
    X, y, w, *_ = checks.regression(rng, 20, 3)
    y[0, 5] = np.nan
    out = cupy.empty(w.shape, w.dtype)
    device = [cupy.asarray(array) for array in (X, y, w)]
    cupy_raw.linreg_pass(*device, None, None, l1=0.1, l2=0.0, learning_rate=0.1, out=out, loss=None)
    assert np.isnan(out.get()).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("start", [0, 1])
def test_linreg_reads_each_element_of_X_once(rng, kernel, shape, start):
    """Rows in registers: once for each group of models, which follow one another through the cache."""
    with fake_cupy.install(count_reads=True) as cupy:
        X, *rest = checks.regression(rng, *shape, problems=2)
        cut = lanes.lane_cut(*shape, 4, 4, True)
        built = {
            "tiles": ("linreg", "linreg_partials", X.dtype, X.dtype),
            "lanes": ("linreg_lanes", "linreg_lane_partials", X.dtype, X.dtype, cut.constants),
        }
        _compile.get_kernel(*built[kernel])  # builds what counts
        before = cupy.elements_read()
        checks.linreg(cupy, shifted(cupy, X, start), *rest)
        assert cupy.elements_read() - before == X.size * (cut.model_groups if kernel == "lanes" else 1)


def test_linreg_rows_beyond_shared_memory_are_read_twice(rng):
    n, d = 3, 8200
    assert lanes.lane_cut(n, d, 1, 8, 8, True) is None
    assert not linreg.linreg_geometry(n, d, 1, 8, 8, 65536).is_staged
    with fake_cupy.install(count_reads=True) as cupy:
        X, *rest = checks.regression(rng, n, d, stored="d", summed="d")
        _compile.get_kernel("linreg", "linreg_partials", X.dtype, X.dtype)  # builds what counts
        before = cupy.elements_read()
        checks.linreg(cupy, shifted(cupy, X), *rest)
        assert cupy.elements_read() - before == 2 * X.size


def test_launches_of_many_threads_share_one_limit_of_shared_memory(cupy, rng):
    X, *rest = checks.regression(rng, 9, 3200, stored="d", summed="d")
    cut = linreg.linreg_geometry(9, 3200, 1, 8, 8, cupy_raw._LAUNCHER.shared_bytes_limit)
    assert 49152 < cut.shared_bytes < cupy_raw._LAUNCHER.shared_bytes_limit
    checks.linreg(cupy, cupy.asarray(X), *rest)
    kernel = _compile.get_kernel("linreg", "linreg_partials", X.dtype, X.dtype)
    assert kernel.max_dynamic_shared_size_bytes == cupy_raw._LAUNCHER.shared_bytes_limit


# --- How problems are cut --------------------------------------------------------------------------


def test_lanes_have_room_for_a_row_in_registers_that_a_thread_has():
    for d in (1, 3, 4, 5, 20, 64, 96, 100, 513, 2048):
        for k in (1, 2, 3, 8, 100):
            for stored, summed in [(2, 4), (4, 4), (4, 8), (8, 8)]:
                cut = lanes.lane_cut(1000, d, k, stored, summed, False)
                constants = cut.constants
                columns = constants["LANES"] * constants["LANE_CHUNKS"] * 16 // stored
                assert columns >= d
                assert columns < 4 * d or constants["LANES"] == 1
                assert (
                    (cut.model_groups - 1) * constants["MODELS"] < k <= cut.model_groups * constants["MODELS"]
                )


def test_lanes_bound_the_partial_sums_and_the_rows_of_a_thread():
    for n in (1, 100, 10**4, 10**7, 10**9):
        for d in (1, 7, 64, 500, 4096):
            for k in (1, 8, 100):
                cut = lanes.lane_cut(n, d, k, 4, 4, False)
                constants = cut.constants
                groups = lanes.THREADS // constants["LANES"]
                tile_rows = groups * max(1, lanes.TILE_CHUNKS // constants["LANE_CHUNKS"])
                assert cut.rows_per_block % tile_rows == 0
                assert cut.rows_per_block <= lanes.ROWS_PER_SUM * groups
                assert (cut.blocks_per_problem - 1) * cut.rows_per_block < n
                assert cut.blocks_per_problem * cut.rows_per_block >= n
                is_capped = cut.blocks_per_problem == 1 or cut.rows_per_block == lanes.ROWS_PER_SUM * groups
                partials = (n // cut.rows_per_block) * (d * k + k + 1) * 8
                assert is_capped or partials <= n * d * 4 / 64
                assert cut.shared_bytes <= 65536


@pytest.mark.parametrize(("n", "d"), [(8_000_000, 64), (1_000_000, 512), (125_000, 4096)])
def test_large_problems_fill_a_large_gpu_in_even_rounds(n, d):
    """Two blocks on each of 132 multiprocessors, and none of the rounds but the last one's end is idle."""
    rounds = lanes.lane_cut(n, d, 1, 4, 4, False).blocks_per_problem / (2 * 132)
    assert rounds / np.ceil(rounds) > 0.9


def test_tiles_bound_the_partial_sums_and_the_shared_memory():
    for n in (1, 100, 10**4, 10**7):
        for d in (1, 7, 64, 500, 4096, 10**5):
            for k in (1, 8, 100):
                for stored, summed in [(2, 4), (4, 4), (4, 8), (8, 8)]:
                    cut = linreg.linreg_geometry(n, d, k, stored, summed, 65536)
                    partials = cut.blocks_per_problem * (d * k + k + 1) * 8
                    whole_blocks = n // cut.rows_per_block
                    assert (
                        whole_blocks <= 1
                        or partials / (whole_blocks + 1) * whole_blocks <= n * d * stored / 64
                    )
                    assert cut.blocks_per_problem <= launcher.MAX_BLOCKS_PER_PROBLEM
                    assert cut.shared_bytes <= 65536
                    assert cut.rows_per_block % cut.rows_per_tile == 0
                    assert (cut.blocks_per_problem - 1) * cut.rows_per_block < n


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHARED_LIMIT", cupy_raw._LAUNCHER.shared_bytes_limit),
        ("LANES_PER_TILE", linreg.LANES_PER_TILE),
        ("COLUMN_SLOTS", linreg.COLUMN_SLOTS),
        ("THREADS", launcher.THREADS),
    ],
)
def test_tiles_and_host_agree_on(name, value):
    text = _compile.source("linreg", np.dtype("f"), np.dtype("f"))
    assert f" {name} = {value};" in text


@pytest.mark.parametrize("name", ["THREADS", "WARP", "TILE_CHUNKS", "MOST_VALUES", "MOST_RING_BYTES"])
def test_lanes_and_host_agree_on(name):
    text = _compile.source("linreg_lanes", np.dtype("f"), np.dtype("f"))
    assert f" {name} = {getattr(lanes, name)};" in text
