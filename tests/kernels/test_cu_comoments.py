"""Sums of outer products through the ``cupy`` backend, against oracles: on a GPU, or through the shim."""

import re
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from tests.conftest import REAL_GPU
from tests.kernels import checks, oracles
from tests.kernels.checks import bits, random, random_weights, shifted
from tests.kernels.test_cu_compile import assert_rounded_and_not_flushed, instructions, source_of, type_pairs
from tests.shim import fake_cupy
from tests.shim.build import ShimError
from vecprod_gpu import _compile, kernels
from vecprod_gpu.backends import cupy_raw
from vecprod_gpu.backends._device import moments
from vecprod_gpu.backends._device.launcher import THREADS

FLOATING = "efdFD"
INTEGERS = "bBhHiIqQ"
PAIRS = ["ef", "ed", "ff", "fd", "dd", "FF", "FD", "DD"]


@pytest.fixture(autouse=True)
def large_problems(monkeypatch):
    """Whatever their size: `tests.kernels.test_small_problems` holds the kernels of small ones."""
    monkeypatch.setattr(moments, "small_cut", lambda *_: None)


@pytest.fixture(params=["one block", "many blocks"])
def blocks(request, monkeypatch):
    """Rows in a single block, whose sums are flushed more than once, or in as many as there can be."""
    is_one = request.param == "one block"
    monkeypatch.setattr(moments, "PARTIALS_SHARE", 0)
    monkeypatch.setattr(moments, "BLOCK_BYTES", 10**9 if is_one else 0)
    monkeypatch.setattr(moments, "FEWEST_ROWS", 10**9 if is_one else 1)
    return is_one


# --- Gram matrices ---------------------------------------------------------------------------------


@pytest.mark.parametrize("has_weight", [False, True])
@pytest.mark.parametrize("code", [*FLOATING, *INTEGERS])
def test_gram_of_every_dtype(cupy, rng, code, has_weight):
    for n, p, q in [(1, 1, 1), (37, 5, 3), (130, 33, 66), (260, 8, 1)]:
        X, Y = random(rng, (2, n, p), code), random(rng, (2, n, q), code)
        weights = random_weights(rng, (2, n), "f" if code == "e" else code) if has_weight else None
        checks.gram(cupy, cupy.asarray(X), cupy.asarray(Y), weights)
        checks.gram(cupy, cupy.asarray(X), None, weights)


@pytest.mark.parametrize("code", "dF")
@pytest.mark.parametrize(("p", "q"), [(1, 65), (65, 1), (64, 64), (63, 130), (131, 17)])
def test_gram_over_several_tiles(cupy, rng, code, p, q):
    X, Y = random(rng, (1, 41, p), code), random(rng, (1, 41, q), code)
    checks.gram(cupy, cupy.asarray(X), cupy.asarray(Y), random_weights(rng, (1, 41), code))
    checks.gram(cupy, cupy.asarray(X))


@pytest.mark.parametrize("code", "fDq")
def test_gram_over_several_blocks_of_rows(cupy, rng, code, blocks):
    n = 1111
    X, Y = random(rng, (2, n, 40), code), random(rng, (2, n, 23), code)
    cut = moments.moment_geometry(n, 40, 23, False, X.itemsize, X.dtype, THREADS)
    assert cut.blocks_per_problem == 1 if blocks else cut.blocks_per_problem > 8
    checks.gram(cupy, cupy.asarray(X), cupy.asarray(Y), random_weights(rng, (2, n), code))
    checks.gram(cupy, cupy.asarray(X))


def test_gram_conjugates_its_first_argument(cupy):
    X, Y = np.array([[[1 + 2j]]]), np.array([[[3 - 1j]]])
    out = checks.gram(cupy, cupy.asarray(X), cupy.asarray(Y))
    np.testing.assert_array_equal(out.get(), np.conj(X) * Y)


def test_gram_of_no_problems(cupy):
    assert checks.gram(cupy, cupy.empty((0, 3, 2), "f")).shape == (0, 2, 2)


def test_gram_keeps_infinities_apart(cupy):
    X = np.ones((1, 5, 3), "F")
    X[0, 2, 1] = np.inf
    out = cupy.empty((1, 3, 3), "F")
    cupy_raw.gram(cupy.asarray(X), None, None, out)
    assert out.get()[0, 1, 1] == np.inf
    np.testing.assert_array_equal(out.get()[0][np.ix_([0, 2], [0, 2])], 5)


# --- Co-moments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_weight", [False, True])
@pytest.mark.parametrize("types", PAIRS)
def test_co_moments_of_every_dtype(cupy, rng, types, has_weight):
    for n, p, q in [(1, 1, 1), (2, 1, 0), (37, 5, 3), (150, 70, 0), (600, 8, 1)]:
        X = cupy.asarray(random(rng, (2, n, p), types[0]))
        Y = cupy.asarray(random(rng, (2, n, q), types[0])) if q else None
        weights = random_weights(rng, (2, n), types[1]) if has_weight else None
        checks.co_moments(cupy, X, Y, weights, summed=types[1], scale=0.25)


@pytest.mark.parametrize("types", PAIRS)
def test_sums_of_columns_leave_copies_on_their_way_alone(cupy, rng, types):
    """They take more memory than a stage of few columns."""
    for columns in (1, 4, 8):
        X, weights = random(rng, (1, 900, columns), types[0]), random_weights(rng, (1, 900), types[1])
        checks.co_moments(cupy, cupy.asarray(X), None, weights, summed=types[1])


@pytest.mark.parametrize("types", ["ff", "fd", "FF"])
@pytest.mark.parametrize(("p", "q"), [(1, 65), (65, 1), (64, 64), (20, 45), (130, 3)])
def test_co_moments_over_several_tiles(cupy, rng, types, p, q):
    X, Y = random(rng, (1, 83, p), types[0]), random(rng, (1, 83, q), types[0])
    weights = random_weights(rng, (1, 83), types[1])
    checks.co_moments(cupy, cupy.asarray(X), cupy.asarray(Y), weights, summed=types[1])


@pytest.mark.parametrize("types", ["ff", "dd", "FD"])
def test_co_moments_over_several_blocks_of_rows(cupy, rng, types, blocks):
    n = 1111
    X, Y = random(rng, (2, n, 40), types[0]), random(rng, (2, n, 23), types[0])
    cut = moments.moment_geometry(n, 40, 23, True, X.itemsize, np.dtype(types[1]), THREADS)
    assert cut.blocks_per_problem == 1 if blocks else cut.blocks_per_problem > 8
    weights = random_weights(rng, (2, n), types[1])
    for s in (None, weights):
        checks.co_moments(cupy, cupy.asarray(X), cupy.asarray(Y), s, summed=types[1], scale=1 / n)


@pytest.mark.parametrize(("summed", "tolerance"), [("f", 2e-6), ("d", 1e-9)])
def test_a_large_mean_costs_no_digits(cupy, rng, blocks, summed, tolerance):
    X = (1e4 + rng.standard_normal((1, 3000, 12))).astype("f")
    out, means, _ = checks.co_moments(cupy, cupy.asarray(X), summed=summed, scale=1 / 2999)
    expected = oracles.co_moments(X, scale=1 / 2999)
    assert np.abs(out.get() - expected[2]).max() <= tolerance
    np.testing.assert_allclose(means.get(), expected[1].astype("d"), rtol=max(1e-15, np.finfo(summed).eps))


def test_means_that_drift_cost_no_digits(cupy, rng, blocks):
    X = rng.standard_normal((1, 2000, 3)) + np.linspace(-1e6, 1e6, 2000)[:, np.newaxis] * [0, 1, 1e-3]
    X[0, 0] += 1e3
    checks.co_moments(cupy, cupy.asarray(X.astype("f")))
    checks.co_moments(cupy, cupy.asarray(X), scale=1 / 1999)


def test_a_long_block_of_rows_costs_no_digits(cupy, rng, monkeypatch):
    """Its first rows lie far from those of the hundreds of stages that follow."""
    monkeypatch.setattr(moments, "FEWEST_ROWS", 10**9)
    monkeypatch.setattr(moments, "BLOCK_BYTES", 10**9)
    X = rng.standard_normal((1, 9000, 40)) + (np.arange(9000) < 30)[:, np.newaxis] * np.logspace(-2, 6, 40)
    assert moments.moment_geometry(9000, 40, 0, True, 4, np.dtype("f"), 128).blocks_per_problem == 1
    checks.co_moments(cupy, cupy.asarray(X.astype("f")))
    checks.co_moments(cupy, cupy.asarray(X.astype("f")), None, random_weights(rng, (1, 9000), "f"))


def test_weights_that_grow_cost_no_digits(cupy, rng, blocks):
    """The first rows weigh next to nothing, and lie far from all others."""
    X = rng.standard_normal((1, 1500, 9)).astype("f")
    X[0, :512] += 1e4
    weights = np.ones((1, 1500), "f")
    weights[0, :512] = 1e-12
    checks.co_moments(cupy, cupy.asarray(X), None, weights)


@pytest.mark.parametrize("code", "fF")
def test_rows_without_weight_leave_no_trace(cupy, rng, blocks, code):
    X, weights = random(rng, (1, 1200, 40), code), random_weights(rng, (1, 1200), code)
    weights[0, :200], weights[0, 300:700], weights[0, -1] = 0, 0, 0
    X[weights == 0] = 1e30
    kept = weights[0] != 0
    left, _, total = checks.co_moments(cupy, cupy.asarray(X[:, kept]), None, weights[:, kept])
    checked, _, total_checked = checks.co_moments(cupy, cupy.asarray(X), None, weights)
    eps = 64 * np.finfo(code).eps
    np.testing.assert_allclose(checked.get(), left.get(), rtol=0, atol=eps * np.abs(left.get()).max())
    np.testing.assert_allclose(total_checked.get(), total.get(), rtol=1e-14)


def test_weights_of_nothing_divide_by_nothing(cupy, rng):
    X, weights = random(rng, (1, 700, 3), "d"), np.zeros((1, 700))
    out, means, total = (cupy.empty(shape, "d") for shape in [(1, 3, 3), (1, 3), (1,)])
    options = {"scale": 1.0, "correlation": False, "total": total, "means": means, "out": out}
    cupy_raw.co_moments(cupy.asarray(X), None, cupy.asarray(weights), **options)
    assert not out.get().any()
    assert total.get() == 0


def test_whole_weights_are_repetitions(cupy, rng):
    X, weights = random(rng, (1, 400, 7), "d"), rng.integers(0, 4, (1, 400)).astype("d")
    weighted, means, total = checks.co_moments(cupy, cupy.asarray(X), None, weights)
    repeated = np.repeat(X, weights[0].astype(int), axis=1)
    plain, plain_means, plain_total = checks.co_moments(cupy, cupy.asarray(repeated))
    np.testing.assert_allclose(weighted.get(), plain.get(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(means.get(), plain_means.get(), rtol=0, atol=1e-14)
    assert total.get() == plain_total.get() == weights.sum()


@pytest.mark.parametrize("types", ["ef", "ff", "dd", "FD"])
def test_constant_columns_do_not_vary_at_all(cupy, rng, blocks, types):
    X = random(rng, (1, 1100, 6), types[0])
    X[..., 2] = 0.1
    X[..., 4] = 12345.678
    for weights in (None, rng.random((1, 1100)) + 0.1):
        out, means, _ = checks.co_moments(cupy, cupy.asarray(X), None, weights, summed=types[1])
        assert not out.get()[:, [2, 4]].any()
        np.testing.assert_array_equal(means.get()[:, [2, 4]], X[:, 0, [2, 4]])


def test_co_moments_conjugate_their_second_factor(cupy):
    X = np.array([[[1, 1j], [-1, -1j]]], "D")
    out, *_ = checks.co_moments(cupy, cupy.asarray(X))
    np.testing.assert_array_equal(out.get()[0], [[2, -2j], [2j, 2]])


@pytest.mark.parametrize("position", [0, 5, 600])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bad_number_spoils_its_own_column(cupy, rng, value, position):
    X = random(rng, (1, 700, 5), "f")
    X[0, position, 3] = value
    out, means, total = (
        cupy.empty(shape, code) for shape, code in [((1, 5, 5), "f"), ((1, 5), "f"), ((1,), "d")]
    )
    options = {"scale": 1.0, "correlation": False, "total": total, "means": means, "out": out}
    cupy_raw.co_moments(cupy.asarray(X), None, None, **options)
    spoilt = np.zeros((5, 5), bool)
    spoilt[3], spoilt[:, 3] = True, True
    np.testing.assert_array_equal(np.isnan(out.get()[0]), spoilt)


# --- Correlation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("types", PAIRS)
def test_correlation_of_every_dtype(cupy, rng, types):
    X, Y = random(rng, (2, 300, 6), types[0]), random(rng, (2, 300, 2), types[0])
    X[..., 0] = -2 * Y[..., 0]  # correlated as far as the clipping allows
    out, *_ = checks.co_moments(
        cupy, cupy.asarray(X), cupy.asarray(Y), summed=types[1], scale=1 / 299, correlation=True
    )
    host = out.get()
    assert np.abs(host.real).max() <= 1
    assert np.abs(host.imag).max() <= 1
    np.testing.assert_allclose(np.einsum("bii->bi", host), 1, rtol=4 * np.finfo(host.dtype).eps)


def test_correlation_is_that_of_numpy(cupy, rng):
    X = rng.standard_normal((1, 90, 7)) + 3
    out, *_ = checks.co_moments(cupy, cupy.asarray(X), scale=1 / 89, correlation=True)
    np.testing.assert_allclose(out.get()[0], np.corrcoef(X[0], rowvar=False), rtol=0, atol=1e-14)


def test_correlation_over_several_tiles_and_blocks(cupy, rng, blocks):
    X = cupy.asarray(random(rng, (1, 500, 75), "f"))
    checks.co_moments(cupy, X, None, random_weights(rng, (1, 500), "f"), scale=1 / 499, correlation=True)


def test_correlation_of_what_does_not_vary_is_no_number(cupy, rng):
    X = random(rng, (1, 50, 3), "d")
    X[..., 1] = 0.1
    checks.co_moments(cupy, cupy.asarray(X), scale=1 / 49, correlation=True)
    single = cupy.asarray(X[:, :1])
    out, *_ = checks.co_moments(cupy, single, scale=1.0, correlation=True)
    assert np.isnan(out.get()).all()


# --- The same bits ---------------------------------------------------------------------------------


def layouts(cupy, X):
    """The same X in memory of many shapes."""
    problems, n, d = X.shape
    yield cupy.asarray(X)
    yield from (shifted(cupy, X, elements) for elements in (1, 2, 3))
    yield cupy.moveaxis(cupy.asarray(np.moveaxis(X, 1, 2).copy()), 1, 2)
    yield cupy.asarray(X[:, ::-1, ::-1].copy())[:, ::-1, ::-1]
    for padding in (4, 5):
        padded = cupy.empty((problems, n, d + padding), X.dtype)[:, :, 1 : 1 + d]
        padded[...] = cupy.asarray(X)
        yield padded


@pytest.mark.parametrize("types", ["ef", "ff", "dd", "FF"])
@pytest.mark.parametrize("p", [3, 32, 72])
def test_the_same_bits_in_every_layout(cupy, rng, types, p):
    X, Y = random(rng, (2, 300, p), types[0]), random(rng, (2, 300, 4), types[0])
    weights = random_weights(rng, (2, 300), types[1])
    products, matrices = set(), set()
    for x, y in zip(layouts(cupy, X), layouts(cupy, Y), strict=True):
        products.add(bits(checks.gram(cupy, x, y, weights)))
        matrices.add(tuple(map(bits, checks.co_moments(cupy, x, y, weights, summed=types[1]))))
    assert len(products) == len(matrices) == 1


def test_the_same_bits_for_any_grid(cupy, rng, blocks, monkeypatch):
    X, Y = (cupy.asarray(random(rng, (2, 900, d), "f")) for d in (40, 33))
    results = set()
    for most in (65535, 3, 1):
        monkeypatch.setattr(cupy_raw._LAUNCHER, "max_blocks", most, raising=False)
        results.add((bits(checks.gram(cupy, X, Y)), *map(bits, checks.co_moments(cupy, X, Y))))
    assert len(results) == 1


@pytest.mark.parametrize("threads", [64, 128])
def test_smaller_blocks_of_threads_take_smaller_tiles(cupy, rng, monkeypatch, threads):
    monkeypatch.setattr(cupy_raw._LAUNCHER, "threads", threads, raising=False)
    for types in ("ff", "FF"):
        X, Y = (cupy.asarray(random(rng, (1, 200, d), types[0])) for d in (40, 33))
        checks.gram(cupy, X, Y)
        checks.co_moments(cupy, X, Y, random_weights(rng, (1, 200), types[1]), correlation=True)


def test_a_batch_has_the_bits_of_each_problem(cupy, rng, blocks):
    X, weights = random(rng, (3, 700, 20), "f"), random_weights(rng, (3, 700), "f")
    together = checks.co_moments(cupy, cupy.asarray(X), None, weights)
    for i in range(3):
        alone = checks.co_moments(cupy, cupy.asarray(X[i : i + 1]), None, weights[i : i + 1])
        assert [bits(one) for one in alone] == [bits(all_[i : i + 1]) for all_ in together]


def test_repeated_rows_columns_and_problems_are_read_in_place(cupy, rng):
    device = cupy.asarray(random(rng, (2, 60, 7), "f"))
    for view in (device[:, :1], device[:, :, :1], device[:1], device[:1, :1, :1]):
        repeated = cupy.broadcast_to(view, device.shape)
        assert 0 in repeated.strides
        checks.gram(cupy, repeated, device)
        checks.gram(cupy, device, repeated)
        checks.co_moments(cupy, repeated, device[:, ::-1])


if not REAL_GPU:  # CuPy itself makes no view of a field that is not aligned

    def test_fields_of_packed_records_are_copied(cupy, rng):
        records = np.zeros((1, 40, 6), np.dtype([("flag", "i1"), ("value", "f4")]))
        records["value"] = random(rng, records.shape, "f")
        X = cupy.asarray(records)["value"]
        assert X.strides[-1] % X.itemsize
        checks.gram(cupy, X, X)
        checks.co_moments(cupy, X)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("d", [1, 13, 32, 64])
def test_each_element_of_X_is_read_once(rng, d, start):
    with fake_cupy.install(count_reads=True) as cupy:
        X = random(rng, (2, 700, d), "f")
        constants = moments.tile_constants(d, 0, True, X.dtype, X.dtype)
        _compile.get_kernel(
            "comoments", "co_moment_partials", X.dtype, X.dtype, constants
        )  # builds what counts
        for compute in (checks.gram, checks.co_moments):
            before = cupy.elements_read()
            compute(cupy, shifted(cupy, X, start))
            assert cupy.elements_read() - before == X.size


# --- Geometry --------------------------------------------------------------------------------------


def test_geometry_bounds_blocks():
    for n in (1, 100, 10**4, 10**7):
        for p, q in [(1, 0), (1, 1), (7, 1), (64, 0), (65, 64), (1, 4096), (4096, 0)]:
            for stored, summed in type_pairs("comoments"):
                for is_joint in (True, False) if q else (True,):
                    threads = moments.tile_constants(p, q, is_joint, stored, summed)["THREADS"]
                    cut = moments.moment_geometry(n, p, q, is_joint, stored.itemsize, summed, threads)
                    assert (cut.blocks_per_problem - 1) * cut.rows_per_block < n
                    assert (cut.blocks_per_problem - 1) * cut.tiles < moments.MOST_BLOCKS_BY_THREES


def test_partial_sums_are_small_where_rows_are_many():
    for d in (1, 8, 32, 64, 200, 1000):
        cut = moments.moment_geometry(10**8, d, 0, True, 4, np.dtype("f"), 128)
        assert cut.blocks_per_problem * cut.tiles > moments.MOST_BLOCKS * 3 // 4
        assert cut.blocks_per_problem * d * (d + 1) * 4 <= 10**8 * d * 4 / 50


FOLDER = Path(kernels.__file__).parent


IN_KERNELS = {"MOST_COLUMNS": 2, "FINISH_LANES": 2}
"""Constants of the host that kernels have too, and in how many dialects."""


@pytest.mark.parametrize("name", [name for name in vars(moments) if re.fullmatch("[A-Z_]+", name)])
def test_kernels_and_host_agree_on(name):
    texts = [
        (FOLDER / file).read_text() for file in ("tiles.cuh", "comoments.cu", "tiles.py", "comoments.py")
    ]
    found = [int(value) for text in texts for value in re.findall(rf"\b{name} = (\d+)\b", text)]
    assert found == [getattr(moments, name)] * IN_KERNELS.get(name, 0)


@pytest.mark.parametrize("columns", [1, 32, 33, 1000])
def test_kernels_fit_into_any_gpu(columns):
    for stored, summed in type_pairs("comoments"):
        constants = moments.tile_constants(columns, 0, True, stored, summed)
        assert constants == moments.tile_constants(columns - 1, 1, True, stored, summed)
        assert constants == moments.tile_constants(1, columns, False, stored, summed)
        assert constants["SHARED_BYTES"] <= cupy_raw._LAUNCHER.shared_bytes_limit
        assert constants["THREADS"] <= THREADS


# --- What the compiler and the oracle see ----------------------------------------------------------


@pytest.mark.parametrize("code", "efF")
def test_sums_keep_subnormal_numbers(code):
    for names in instructions(source_of("comoments", code)).values():
        assert_rounded_and_not_flushed(names)


FAULTS = {
    "a column past those of X": ("is_y ? side.first + of_x - problem.p", "is_y ? side.first + of_x"),
    "the stride of a step": ("step * source.row_stride;", "source.row_stride;"),
    "the step in a buffer": ("store(destination + k * buffer_step)", "store(destination + k)"),
    "the barrier before products": (
        "        }\n        __syncthreads();\n        copy_stage(problem, tile, own, stage + STAGES);",
        "        }\n        copy_stage(problem, tile, own, stage + STAGES);",
    ),
    "the barrier after copies": ("if (tile.has_numbers || problem.has_weight)", "if (problem.has_weight)"),
    "weights overwritten": ("stage % (STAGES + 1)", "stage % STAGES"),
    "rows past the end": (
        "const int rows = tile.rows_of(stage);\n        wait",
        "const int rows = tile.stage_rows; wait",
    ),
    "the weight of a block": (
        "run = {column_sums_t(), weight, 0, 0};",
        "run = {column_sums_t(), run.weight, 0, 0};",
    ),
    "the distance from the mean so far": ("run.weight_before * share /", "run.weight_before /"),
    "the distance from the centre": ("::of(-run.weight", "::of(run.weight"),
    "the mean moves on": ("add(mean, scaled(share, distance))", "add(mean, distance)"),
    "a group of rows": (
        "add_rows<false>(tile, at, tile.buffer(stage), tile.weights(stage), group,",
        "add_rows<false>(tile, at, tile.buffer(stage), tile.weights(stage), 0,",
    ),
    "sums flushed before": ("is_first ? total : add(before, total)", "total"),
    "sums flushed twice": ("    sums.clear();\n    __syncthreads();\n}", "    __syncthreads();\n}"),
    "sums of columns flushed before": (
        "add(tile.run_sums()[column], column_sums[column])",
        "column_sums[column]",
    ),
    "sums of columns of a run": (
        "= moved;\n        tile.run_sums()[column] = wide_t();",
        "= moved;",
    ),
    "the lanes of a flush": ("        total = add_neighbours(total, lanes);\n", ""),
    "the lanes of a column": ("fold_lanes(ways, count, columns);", "fold_lanes(ways, 1, columns);"),
    "conjugation": (
        "is_centred ? scaled(scale, merged.entry) : conjugate",
        "is_centred ? scaled(scale, merged.entry) : ",
    ),
    "the mirror": ("narrowed(conjugate(value))", "narrowed(value)"),
    "blocks between": ("scaled(first.weight * share, left)", "scaled(share, left)"),
    "a block read twice": ("if (block + k * blocks.lanes < blocks.count) merged", "merged"),
    "clipping": ("clipped(divided(value,", "(divided(value,"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_noticed(fault):
    correct, wrong = FAULTS[fault]
    found = []

    def plant(source):
        found.append(source.count(correct))
        return source.replace(correct, wrong)

    with fake_cupy.install(edit=plant) as cupy, pytest.raises((AssertionError, ShimError)):
        sums_of_every_kind(cupy)
    assert set(found) == {1}, "the text to replace must stand in the kernels exactly once"


def test_without_a_fault_nothing_is_noticed():
    with fake_cupy.install() as cupy:
        sums_of_every_kind(cupy)


def sums_of_every_kind(cupy):
    """Calls that every line of the kernels matters to."""
    rng = np.random.default_rng(0)
    X, Y = random(rng, (1, 1200, 37), "D"), random(rng, (1, 1200, 3), "D") + 1
    for column in range(1, 6):
        X[..., column] = column / 7 * X[..., 0]  # correlated as far as the clipping allows
    weights = random_weights(rng, (1, 1200), "D")
    weights[0, 600:] *= 1e3
    for fewest_rows in (1, 10**9):
        with mock.patch.multiple(
            moments, PARTIALS_SHARE=0, BLOCK_BYTES=fewest_rows - 1, FEWEST_ROWS=fewest_rows
        ):
            checks.gram(cupy, cupy.asarray(X), cupy.asarray(Y), weights)
            checks.gram(cupy, shifted(cupy, X.real))
            checks.gram(cupy, shifted(cupy, X.real[:, :, :7].astype("e")))
            checks.co_moments(cupy, cupy.asarray(X[:, :, :9]), cupy.asarray(Y), weights, scale=0.5)
            checks.co_moments(cupy, cupy.asarray(X.real + 5))
            checks.co_moments(cupy, cupy.asarray(X[:, :, :7]), scale=0.5, correlation=True)
