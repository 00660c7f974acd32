"""Many small problems in one launch, in both dialects, against oracles: their sums, and their solutions."""

from unittest import mock

import numpy as np
import pytest

from tests.conftest import REAL_GPU
from tests.kernels import checks, every_kernel, numba_arrays, test_numba_simulator
from tests.kernels.checks import bits, random, random_weights, shifted
from tests.kernels.test_cu_compile import assert_rounded_and_not_flushed, instructions, source_of, type_pairs
from tests.shim import fake_cupy
from tests.shim.build import ShimError
from vecprod_gpu.backends._device import moments, small_moments, systems, windows
from vecprod_gpu.backends._device.launcher import THREADS

CODES = "efDBq"
PAIRS = ["ed", "ff", "dd", "FD"]


@pytest.fixture(params=every_kernel.DIALECTS)
def arrays(request, cupy):
    """CuPy or its like of a dialect, whose kernel of large problems must not be needed."""
    with every_kernel.launches(request.param) as counts:
        yield cupy if request.param == "cupy" else numba_arrays
    assert counts["small_co_moments"] or counts["solve_systems"]
    assert not counts["co_moment_partials"]


def few(arrays, many):
    """Problems: of the simulator, whose threads are Python's, no more than two blocks have."""
    return many if arrays is not numba_arrays else min(many, 3)


@pytest.mark.parametrize("code", CODES)
def test_gram_of_every_dtype(arrays, rng, code):
    for n, p, q in [(1, 1, 1), (9, 5, 3)]:
        problems = few(arrays, 41)
        X, Y = random(rng, (problems, n, p), code), random(rng, (problems, n, q), code)
        weights = random_weights(rng, (problems, n), "f" if code == "e" else code)
        checks.gram(arrays, arrays.asarray(X), shifted(arrays, Y), weights)
        checks.gram(arrays, arrays.asarray(X))


@pytest.mark.parametrize("types", PAIRS)
def test_co_moments_of_every_dtype(arrays, rng, types):
    for n, p, q in [(1, 2, 0), (12, 4, 1)]:
        problems = few(arrays, 41)
        X = arrays.asarray(random(rng, (problems, n, p), types[0]) + 5)
        Y = arrays.asarray(random(rng, (problems, n, q), types[0])) if q else None
        checks.co_moments(arrays, X, Y, summed=types[1], scale=0.25)
        weights = random_weights(rng, (problems, n), types[1])
        weights[:, : n // 3] = 0
        checks.co_moments(arrays, X, Y, weights, summed=types[1], correlation=n > 1)


@pytest.mark.parametrize(("n", "p", "q"), [(300, 3, 0), (40, 17, 4), (700, 2, 0), (3, 25, 0)])
def test_shapes_that_fill_a_block_by_rows_or_by_entries(cupy, rng, n, p, q):
    X, Y = random(rng, (7, n, p), "d"), random(rng, (7, n, q), "d") if q else None
    with every_kernel.launches("cupy") as counts:
        checks.co_moments(cupy, cupy.asarray(X), None if Y is None else cupy.asarray(Y))
    assert set(counts) == {"small_co_moments"}


def test_constant_columns_do_not_vary_at_all(arrays, rng):
    X = random(rng, (few(arrays, 30), 11, 3), "d")
    X[..., 1] = 0.1
    out, means, _ = checks.co_moments(arrays, arrays.asarray(X))
    assert not out.get()[:, 1].any()
    np.testing.assert_array_equal(means.get()[:, 1], 0.1)


def test_a_bad_number_spoils_its_own_column_of_its_own_problem(arrays, rng):
    X = random(rng, (3, 8, 3), "d")
    X[1, 4, 2] = np.inf
    out, means, total = (arrays.empty(shape, "d") for shape in [(3, 3, 3), (3, 3), (3,)])
    options = {"scale": 1.0, "correlation": False, "total": total, "means": means, "out": out}
    checks.backend_of(arrays).co_moments(arrays.asarray(X), None, None, **options)
    spoilt = np.zeros((3, 3, 3), bool)
    spoilt[1, 2], spoilt[1, :, 2] = True, True
    np.testing.assert_array_equal(np.isnan(out.get()), spoilt)


@pytest.mark.parametrize("types", ["ef", "ff", "dd", "FD"])
def test_the_same_bits_in_every_layout_and_for_any_neighbour(arrays, rng, types):
    """As chunks, as numbers and by other strides; and each problem alone."""
    problems = few(arrays, 23)
    X, Y = random(rng, (problems, 12, 4), types[0]), random(rng, (problems, 12, 1), types[0])
    by_columns = arrays.moveaxis(arrays.asarray(np.moveaxis(X, 1, 2).copy()), 1, 2)
    y = arrays.asarray(Y)
    found = {
        tuple(map(bits, checks.co_moments(arrays, x, y, summed=types[1])))
        for x in (arrays.asarray(X), shifted(arrays, X), by_columns)
    }
    assert len(found) == 1
    whole = checks.co_moments(arrays, arrays.asarray(X), y, summed=types[1])
    for i in (0, problems - 1):
        alone = checks.co_moments(
            arrays, arrays.asarray(X[i : i + 1]), arrays.asarray(Y[i : i + 1]), summed=types[1]
        )
        assert [bits(one) for one in alone] == [bits(all_[i : i + 1]) for all_ in whole]


def test_the_same_bits_for_any_grid(arrays, rng):
    X = arrays.asarray(random(rng, (few(arrays, 90), 6, 5), "d"))
    many = tuple(map(bits, checks.co_moments(arrays, X)))
    with one_block(arrays):
        assert tuple(map(bits, checks.co_moments(arrays, X))) == many


def test_a_large_mean_costs_no_digits(arrays, rng):
    X = (1e4 + rng.standard_normal((2, 30, 2))).astype("f")
    checks.co_moments(arrays, arrays.asarray(X), summed="d", scale=1 / 29)


# --- Solutions -------------------------------------------------------------------------------------


def test_systems_are_solved(arrays, rng):
    checks.every_system(arrays, rng, few(arrays, 131))


def test_the_widest_systems_are_solved(cupy, rng):
    widest = max(d for d in range(1, 99) if systems.solves_systems(d, 1))
    X, Y = rng.standard_normal((3, 40, widest)), rng.standard_normal((3, 40, 1))
    checks.solve_systems(cupy, X, Y)


def test_exact_systems_are_told(arrays, rng):
    X = rng.standard_normal((3, 9, 2))
    total, means, matrix = checks.oracles.co_moments(X, X.sum(axis=2, keepdims=True))
    for bad in (0.0, np.nan, np.inf):
        moments_of = matrix.astype("d")
        moments_of[1, 0, 0] += bad
        coef, *others = (arrays.empty(shape, "d") for shape in ((3, 2, 1), (3, 1), (3, 1)))
        condition, share, finite = checks.backend_of(arrays).solve_systems(
            *(arrays.asarray(one.astype("d")) for one in (total, means, moments_of)),
            is_centred=True,
            l2=0.0,
            coef=coef,
            intercept=others[0],
            loss=others[1],
        )
        assert share < 1e-14
        assert finite == (bad == 0)
        assert np.isinf(condition) == (bad != 0)
        np.testing.assert_allclose(coef.get()[[0, 2]], 1, rtol=1e-12)


# --- Geometry, and what the compiler sees -----------------------------------------------------------


@pytest.mark.parametrize("threads", [32, THREADS])
def test_cuts_fit_the_block(threads):
    for _, summed in type_pairs("comoments_small"):
        wide = moments.wide_dtype(summed).itemsize
        for n, p, q, is_joint in [(1, 1, 0, True), (32, 4, 1, True), (7, 3, 2, False), (900, 2, 0, True)]:
            cut = small_moments.small_cut(n, p, q, is_joint, summed, wide, threads)
            assert (cut is None) == (n == 900 and summed.itemsize == 16)
            if cut is not None:
                assert cut.shared_bytes <= small_moments.SHARED_BYTES
                assert cut.problems_per_block * cut.row_lanes <= cut.threads <= threads
                assert max(cut.row_lanes, cut.column_lanes) <= n
        assert small_moments.small_cut(10**5, 1, 0, True, summed, wide, threads) is None
        assert small_moments.small_cut(2, 70, 70, False, summed, wide, threads) is None


@pytest.mark.parametrize("code", "efF")
def test_sums_keep_subnormal_numbers(code):
    for names in instructions(source_of("comoments_small", code)).values():
        assert_rounded_and_not_flushed(names)


# --- Planted faults --------------------------------------------------------------------------------

CUDA_FAULTS = {
    "small: the row of greatest weight": (
        "return rows > 0 ? values[found.row * pitch]",
        "return rows > 0 ? 0",
    ),
    "small: the weight of a distance": ("scaled(weights[row], distance) : distance", "distance : distance"),
    "small: the error of the mean": ("scaled(-share, offsets[i])", "scaled(share, offsets[i])"),
    "small: lanes that are not added": (
        "add_neighbours(widened(entries[k / EDGE][k % EDGE]), lanes)",
        "widened(entries[k / EDGE][k % EDGE])",
    ),
    "small: no barrier before the matrices": ("        __syncthreads();  // the rows have been read\n", ""),
    "small: no barrier before the next rows": (
        "        __syncthreads();  // before the next rows come\n",
        "",
    ),
    "small: the mirror": ("is_mirrored ? conjugate(value) : value", "value"),
    "small: clipping": ("value = clipped(divided(value,", "value = (divided(value,"),
    "systems: the penalty": ("(entry(i, i) + l2) * root(i)", "(entry(i, i)) * root(i)"),
    "systems: an unsound pivot": ("is_sound && pivot > d * EPSILON", "is_sound && pivot == pivot"),
    "systems: signs in a norm": ("work(i) += fabs(product);", "work(i) += product;"),
    "systems: a summary of one": ("int(threadIdx.x) < half; ++i)", "int(threadIdx.x) < half - 1; ++i)"),
}
"""What stands in a kernel, and what the fault makes of it."""


def one_block(arrays):
    """Meanwhile a grid has one block, which takes all problems by turns."""
    if arrays is numba_arrays:
        return mock.patch.object(windows, "max_blocks", return_value=1)
    return mock.patch.object(checks.backend_of(arrays)._LAUNCHER, "max_blocks", 1, create=True)


def small_problems(arrays, problems):
    """Calls that every line of the kernels matters to."""
    rng = np.random.default_rng(0)
    X, Y = random(rng, (problems, 13, 4), "F") + 3, random(rng, (problems, 13, 1), "F")
    X[..., 1] = X[..., 0] / 7  # correlated as far as the clipping allows
    weights = random_weights(rng, (problems, 13), "F")
    weights[:, :5] *= 1e3
    X, Y = shifted(arrays, X), arrays.asarray(Y)
    with one_block(arrays):
        checks.gram(arrays, X, Y, weights)
    checks.co_moments(arrays, X, Y, weights, scale=0.5)
    checks.co_moments(arrays, X, Y, scale=0.5, correlation=True)
    far = (random(rng, (problems, 13, 4), "F") + 1e6).astype("F")
    checks.co_moments(arrays, arrays.asarray(far), None, weights)
    checks.co_moments(arrays, arrays.asarray(random(rng, (2, 300, 1), "F")))  # by several threads each


def solutions(arrays, problems):
    """The same of solutions."""
    checks.every_system(arrays, np.random.default_rng(0), problems)


CALLS = {"small": small_problems, "systems": solutions}


@pytest.mark.parametrize("fault", CUDA_FAULTS)
def test_a_planted_fault_is_noticed(fault):
    correct, wrong = CUDA_FAULTS[fault]
    found = []

    def plant(source):
        found.append(source.count(correct))
        return source.replace(correct, wrong)

    with fake_cupy.install(edit=plant) as cupy, pytest.raises((AssertionError, ShimError)):
        CALLS[fault.split(":")[0]](cupy, 67)
    assert set(found) == {1}, "the text to replace must stand in the kernels exactly once"


def test_without_a_fault_nothing_is_noticed():
    with fake_cupy.install() as cupy:
        for call in CALLS.values():
            call(cupy, 67)


TWIN_FAULTS = {
    ("comoments_small", "small"): [
        ("problem * source.problem_stride", "problem * source.row_stride"),
        ("places.acc.dtype.type(weight * distance)", "distance"),
        ("value -= places.wide.dtype.type(error)", "value += places.wide.dtype.type(error)"),
        ("places.wide[own] += places.wide[own + half]", "places.wide[own] += 0"),
        ("return value.conjugate() if is_mirrored else value", "return value"),
    ],
    ("systems", "systems"): [
        ("0.0 if is_centred else means[start + i] * means[start + j]", "0.0"),
        ("is_sound and pivot > system.d * EPSILON", "is_sound"),
        ("loss[target] = rest / 2 + l2 / 2 * square", "loss[target] = rest / 2 + l2 * square"),
        ("cuda.atomic.min(summary, own", "cuda.atomic.max(summary, own"),
    ],
}

if not REAL_GPU:  # only the simulator survives what some faults read

    @pytest.mark.parametrize(
        ("file", "call", "right", "wrong"),
        [(*key, *fault) for key, faults in TWIN_FAULTS.items() for fault in faults],
    )
    def test_a_planted_fault_in_a_twin_is_noticed(file, call, right, wrong, monkeypatch):
        test_numba_simulator.replace_kernels(file, monkeypatch, right, wrong)
        with pytest.raises((AssertionError, IndexError)):
            CALLS[call](numba_arrays, 3)

    @pytest.mark.parametrize(("file", "call"), TWIN_FAULTS)
    def test_no_fault_is_seen_in_the_twins_themselves(file, call):
        CALLS[call](numba_arrays, 3)
