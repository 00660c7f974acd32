"""Large products on the CPU, by ordinary stores and past the cache: the same bits, by the faster way."""

import importlib
import re

import numpy as np
import pytest

import vecprod_gpu as vp

outers = importlib.import_module("vecprod_gpu.backends._cpu.products.outers")
operations = importlib.import_module("vecprod_gpu.backends._cpu.products.operations")
ufuncs = importlib.import_module("vecprod_gpu.backends._cpu.products.ufuncs")
stores = importlib.import_module("vecprod_gpu.backends._cpu.products.stores")
shared_loops = importlib.import_module("vecprod_gpu.backends._cpu.products.shared_loops")


def numbers(rng, shape, dtype):
    if np.dtype(dtype).kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, 100, shape).astype(dtype)


@pytest.fixture(params=[False, True], ids=["by threads that sleep", "by threads that wait awake"])
def awake(request, monkeypatch):
    """Whether threads wait for the next result; it makes no difference whether they come."""
    monkeypatch.setattr(operations, "helpers_awake", lambda: int(request.param))
    monkeypatch.setattr(shared_loops, "helpers_awake", lambda: 0)
    return request.param


@pytest.fixture(params=[False, True], ids=["ordinary", "past the cache"])
def way(request, awake, monkeypatch):
    """Every result goes that way, and need not be large for it."""
    monkeypatch.setattr(stores.Stores, "_way", lambda self: request.param)
    monkeypatch.setattr(stores.Stores, "settled", lambda self: request.param)
    monkeypatch.setattr(operations, "LAST_CACHE_BYTES", 1 << 18)
    monkeypatch.setattr("vecprod_gpu._short_products.SMALL_CROSS_BYTES", 0)
    monkeypatch.setattr(operations, "SMALL_CROSS_BYTES", 1 << 18)
    monkeypatch.setattr(operations, "ALONE_OUTER_BYTES", 1 << 18)
    monkeypatch.setattr("vecprod_gpu._short_products.SMALL_OUTER_BYTES", 1 << 18)
    return request.param


@pytest.fixture(params=[False, True], ids=["ordinary", "past the cache"])
def past_cache(request):
    """Of a loop, the one way or the other."""
    return request.param


def assert_same(result, expected):
    """The same bits, but of complex numbers, whose products NumPy may fuse."""
    if result.dtype.kind == "c":
        np.testing.assert_allclose(result, expected, rtol=0, atol=20 * np.finfo(result.dtype).eps)
    else:
        np.testing.assert_array_equal(result, expected)


def outer_products(a, b):
    """Every product and sum rounded by itself, as NumPy does not promise of complex numbers."""
    a, b = a[..., np.newaxis], b[..., np.newaxis, :]
    if a.dtype.kind != "c":
        return a * b
    products = np.empty(np.broadcast_shapes(a.shape, b.shape), a.dtype)
    products.real = a.real * b.real - a.imag * b.imag
    products.imag = a.real * b.imag + a.imag * b.real
    return products


def test_an_operand_that_is_broadcast_takes_no_memory(monkeypatch, rng):
    """What fits the last cache but for copies of one vector that nobody makes is written into it."""
    b = numbers(rng, (1000, 3), "f")
    out = np.empty_like(b)
    monkeypatch.setattr(operations, "LAST_CACHE_BYTES", 2 * b.nbytes)
    for one in (b[:1], np.broadcast_to(b[0], b.shape)):
        assert not operations._goes_to_memory(np.broadcast_to(one, b.shape), b, out)
    assert operations._goes_to_memory(b.copy(), b, out)


@pytest.mark.parametrize("dtype", "bIefdFD")
@pytest.mark.parametrize("excess", [0, 1, 5, 15])
def test_cross_products(way, dtype, excess, rng):
    a, b = (numbers(rng, (100_000 + excess, 3), dtype) for _ in range(2))
    out = np.full_like(a, 77)
    with vp.use_backend("cpu"), np.errstate(all="ignore"):
        vp.cross(a, b, out=out)
        assert_same(out, np.cross(a, b))
        vp.cross(a[7], b, out=out)
        assert_same(out, np.cross(a[7], b))


@pytest.mark.parametrize("dtype", "bIefdFD")
@pytest.mark.parametrize("swapped", [False, True])
def test_cross_products_of_rows_that_lie_apart_with_one(way, dtype, swapped, rng):
    wide = numbers(rng, (100_005, 7), dtype)
    for rows in (wide[:, 2:5], wide[::-1, 4:1:-1], np.asfortranarray(wide[:, :3])):
        a, b = (wide[3, :3], rows) if swapped else (rows, wide[3, :3])
        with vp.use_backend("cpu"), np.errstate(all="ignore"):
            assert_same(vp.cross(a, b), np.cross(a, b))


@pytest.mark.parametrize("dtype", "bIfdFD")
@pytest.mark.parametrize(
    "shape",
    [
        (5000, 16, 16),
        (5000, 8, 32),
        (1, 512, 1024),
        (999, 7, 48),
        (99_999, 7, 1),
        (1, 700_001, 1),
        (2500, 3, 64),
        (99_999, 3, 3),
        (99_999, 2, 2),
    ],
)
def test_outer_products(way, dtype, shape, rng):
    batch, m, n = shape
    a, b = numbers(rng, (batch, m), dtype), numbers(rng, (batch, n), dtype)
    out = np.full(shape, 77, dtype)
    with vp.use_backend("cpu"):
        vp.batched_outer(a, b, out=out)
    np.testing.assert_array_equal(out, outer_products(a, b))


@pytest.mark.parametrize("dtype", "bIfdFD")
@pytest.mark.parametrize(
    "shape", [(40_000, 3, 3), (20_000, 5, 3), (9000, 4, 4), (9000, 16, 17), (1, 700, 1001)]
)
@pytest.mark.parametrize("layout", ["packed", "strided"])
def test_rows_of_any_length(dtype, shape, layout, rng):
    batch, m, n = shape
    a, b = numbers(rng, (batch, 2 * m), dtype), numbers(rng, (2 * batch, n), dtype)
    a, b = (a[:, ::2], b[::2]) if layout == "strided" else (a[:, :m].copy(), b[:batch])
    wide = np.full((batch, m + 2, n), 77, dtype)
    out = wide[:, 1:-1] if layout == "strided" else np.full(shape, 77, dtype)
    with vp.use_backend("cpu"):
        vp.batched_outer(a, b, out=out)
    np.testing.assert_array_equal(out, outer_products(a, b))
    assert (wide[:, [0, -1]] == 77).all()


@pytest.mark.parametrize("dtype", "bHilefdFD")
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("count", [1023, 1024, 60_000, 300_001])
def test_cross_products_with_one_vector(dtype, swapped, count, rng):
    pair = numbers(rng, (count, 3), dtype), numbers(rng, 3, dtype)
    a, b = reversed(pair) if swapped else pair
    with vp.use_backend("cpu"), np.errstate(all="ignore"):
        assert_same(vp.cross(a, b), np.cross(a, b))


@pytest.mark.parametrize("dtype", "bHilfd")
@pytest.mark.parametrize("single", ["a", "b", "neither"])
def test_any_number_of_vectors_and_none_more(dtype, single, past_cache, rng):
    """Registers hold up to 64 vectors, and what is left over goes by fewer."""
    ufunc = ufuncs.cross_rows_ufunc(np.dtype(dtype), past_cache)
    a, b = (numbers(rng, (140, 3), dtype) for _ in range(2))
    for count in range(140):
        x, y = (
            np.broadcast_to(rows[:1], (count, 3)) if name == single else rows[:count]
            for name, rows in (("a", a), ("b", b))
        )
        around = np.full((count + 32, 3), 77, dtype)
        out = around[16:-16]  # as aligned as what is around
        ufunc(x, y, out)
        np.testing.assert_array_equal(out, np.cross(x, y))
        assert (around[:16] == 77).all()
        assert (around[-16:] == 77).all()


@pytest.mark.parametrize("dtype", "bHilfd")
@pytest.mark.parametrize("single", ["a", "b", "neither"])
def test_any_number_of_vectors_that_lie_apart(dtype, single, past_cache, rng):
    ufunc = ufuncs.cross_rows_ufunc(np.dtype(dtype), past_cache)
    wide, sparse = numbers(rng, (30, 7), dtype), numbers(rng, (60, 3), dtype)
    for count in range(30):
        x, y = wide[::-1, 2:5][:count], sparse[::2][:count]
        if single != "neither":
            x, y = (
                (x, np.broadcast_to(y[:1], x.shape))
                if single == "b"
                else (np.broadcast_to(x[:1], y.shape), y)
            )
        around = np.full((count + 32, 3), 77, dtype)
        ufunc(x, y, around[16:-16])
        np.testing.assert_array_equal(around[16:-16], np.cross(x, y))
        assert (around[:16] == 77).all()
        assert (around[-16:] == 77).all()


@pytest.mark.parametrize("dtype", "bHilfdD")
@pytest.mark.parametrize("single", ["a", "b", "neither"])
@pytest.mark.parametrize("order", "CF")
def test_any_number_of_vectors_in_columns(dtype, single, order, rng):
    ufunc = ufuncs.cross_rows_ufunc(np.dtype(dtype))
    a, b = (numbers(rng, (5, 140), dtype)[1:4].T for _ in range(2))
    for count in range(140):
        x, y = (
            np.broadcast_to(vectors[:1], (count, 3)) if name == single else vectors[:count]
            for name, vectors in (("a", a), ("b", b))
        )
        around = np.full((count + 2, 5), 77, dtype, order)
        out = np.full((count, 3), 77, dtype) if order == "C" else around[1:-1, 1:4]
        ufunc(x, y, out)
        assert_same(out, np.cross(x, y))
        around[1:-1, 1:4] = 77
        assert (around == 77).all()


@pytest.mark.parametrize("dtype", "bIefdFD")
def test_cross_products_of_rows_that_lie_apart(way, dtype, rng):
    a, b = numbers(rng, (100_005, 5), dtype)[::-1, 1:4], numbers(rng, (200_010, 3), dtype)[::2]
    with vp.use_backend("cpu"), np.errstate(all="ignore"):
        assert_same(vp.cross(a, b), np.cross(a, b))


@pytest.mark.parametrize("dtype", "bHilfdFD")
@pytest.mark.parametrize("single", ["a", "b", "neither"])
@pytest.mark.parametrize("side", [1, 2, 3, 4, 5])
def test_any_number_of_squares_and_none_more(dtype, single, side, past_cache, rng):
    if past_cache and side not in outers.SMALL:
        return
    ufunc = ufuncs.outer_rows_ufunc(np.dtype(dtype), past_cache)
    a, b = (numbers(rng, (140, side), dtype) for _ in range(2))
    for count in range(140):
        x, y = (
            np.broadcast_to(rows[:1], (count, side)) if name == single else rows[:count]
            for name, rows in (("a", a), ("b", b))
        )
        around = np.full((count + 32, side, side), 77, dtype)
        out = around[16:-16]  # as aligned as what is around
        ufunc(x, y, out)
        np.testing.assert_array_equal(out, outer_products(x, y))
        assert (around[:16] == 77).all()
        assert (around[-16:] == 77).all()


@pytest.mark.parametrize("dtype", "bHifdFD")
@pytest.mark.parametrize("layout", ["packed", "strided", "one b", "columns apart"])
def test_rows_of_every_length_and_nothing_beside_them(dtype, layout, rng):
    ufunc = ufuncs.outer_rows_ufunc(np.dtype(dtype))
    for length in range(140):
        a, b = numbers(rng, (7, 3), dtype), numbers(rng, (7, length), dtype)
        wide = np.full((7, 5, 2 * length + 2), 77, dtype)
        out = wide[:, 1:4, 1 : length + 1]
        if layout == "packed":
            out = np.full((7, 3, length), 77, dtype)
        elif layout == "strided":
            a = np.asfortranarray(a)[::-1]
        elif layout == "one b":
            b = np.broadcast_to(b[0], b.shape)
        else:
            out = wide[:, 1:4, 1:-1:2]
        expected = outer_products(a, b)
        ufunc(a, b, out)
        np.testing.assert_array_equal(out, expected)
        out[...] = 77
        assert (wide == 77).all()


@pytest.mark.parametrize("dtype", "bHifdFD")
@pytest.mark.parametrize("layout", ["packed", "strided", "one a", "one b", "rows apart"])
def test_one_column_of_any_length_and_nothing_beside_it(dtype, layout, rng):
    ufunc = ufuncs.outer_rows_ufunc(np.dtype(dtype))
    for length in range(140):
        a, b = numbers(rng, (7, length), dtype), numbers(rng, (7, 1), dtype)
        wide = np.full((7, 2 * length + 2, 3), 77, dtype)
        out = wide[:, 1 : length + 1, 1:2]
        if layout == "packed":
            out = np.full((7, length, 1), 77, dtype)
        elif layout == "strided":
            a = np.asfortranarray(a)[::-1]
        elif layout == "one a":
            a = np.broadcast_to(a[0], a.shape)
        elif layout == "one b":
            b = np.broadcast_to(b[0], b.shape)
        else:
            out = wide[:, 1:-1:2, 1:2]
        expected = outer_products(a, b)
        ufunc(a, b, out)
        np.testing.assert_array_equal(out, expected)
        out[...] = 77
        assert (wide == 77).all()


@pytest.mark.parametrize("dtype", "bIefdFD")
@pytest.mark.parametrize(
    ("shape_a", "shape_b"),
    [
        ((40_000, 3), (3,)),
        ((3,), (40_000, 3)),
        ((40_000, 1, 2), (2, 3)),
        ((300, 1, 4), (1, 200, 4)),
        ((2, 30_000, 3), (2, 1, 3)),
        ((9, 1, 16), (500, 16)),
    ],
)
def test_outer_products_of_vectors_that_are_broadcast(way, dtype, shape_a, shape_b, rng):
    a, b = numbers(rng, shape_a, dtype), numbers(rng, shape_b, dtype)
    with vp.use_backend("cpu"):
        np.testing.assert_array_equal(vp.batched_outer(a, b), outer_products(a, b))


@pytest.mark.parametrize("dtype", "bIefdFD")
@pytest.mark.parametrize(
    "shapes",
    [
        ((300, 1, 3), (1, 200, 3)),
        ((30_000, 1, 3), (1, 2, 3)),
        ((2, 1, 3), (30_000, 3)),
        ((30_000, 2, 3), (2, 3)),
        ((1, 30_000, 1, 3), (2, 1, 1, 3)),
    ],
)
def test_cross_products_of_vectors_that_are_broadcast(way, dtype, shapes, rng):
    a, b = (numbers(rng, shape, dtype) for shape in shapes)
    with vp.use_backend("cpu"), np.errstate(all="ignore"):
        assert_same(vp.cross(a, b), np.cross(a, b))


def test_nothing_warns_that_numpy_does_not_warn_of(way):
    a = np.full((100_001, 3), 1e30, np.float32)
    a[:, 1:] = 0
    with np.errstate(all="raise"):
        vp.cross(a, np.roll(a, 1, axis=1) * np.float32(1e-30))
        with pytest.raises(FloatingPointError, match="overflow"):
            vp.cross(a, np.roll(a, 1, axis=1))


class TestTheFasterWay:
    @pytest.fixture
    def race(self, monkeypatch):
        """Write so many results, where each way takes so many seconds a part; the ways taken."""
        clock = [0.0]
        monkeypatch.setattr(stores.time, "perf_counter", lambda: clock[0])
        part = np.empty(stores.TELLING_BYTES, np.int8)

        def race(chooser, results, ordinary, past_cache, parts=1):
            taken = []

            def loop(way, seconds):
                def run(out):
                    taken.append(way)
                    clock[0] += seconds

                return run

            for _ in range(results):
                write = chooser.writer(loop("ordinary", ordinary), loop("past", past_cache))
                for _ in range(parts):
                    write(part)
            return taken

        return race

    def test_is_taken_once_both_were_tried(self, race):
        for faster, times in (("ordinary", (1, 2)), ("past", (2, 1))):
            taken = race(stores.Stores(), 3 * stores.LATEST, *times)
            tried, then = taken[: 2 * stores.LATEST], taken[2 * stores.LATEST :]
            assert tried.count("past") == stores.LATEST
            trials = [k for k, way in enumerate(then, 1) if way != faster]
            assert trials == [k for k in stores.EARLY_TRIALS if k <= len(then)]

    def test_is_past_the_cache_where_that_takes_little_longer(self, race):
        """Ordinary stores leave lines in the caches that the next call has to write."""
        chooser = stores.Stores()
        race(chooser, 2 * stores.LATEST, 20, 21)
        assert race(chooser, 1, 20, 21) == ["past"]
        chooser = stores.Stores()
        race(chooser, 2 * stores.LATEST, 20, 23)
        assert race(chooser, 1, 20, 23) == ["ordinary"]

    def test_is_found_out_by_the_parts_of_one_result(self, race):
        chooser = stores.Stores()
        assert race(chooser, 1, 2, 1, parts=2 * stores.LATEST).count("past") == stores.LATEST
        assert set(race(chooser, 1, 2, 1)) == {"past"}

    def test_is_tried_again_now_and_then_and_for_a_whole_result(self, race):
        chooser = stores.Stores()
        race(chooser, 1, 2, 3, parts=2 * stores.LATEST)
        taken = race(chooser, 2 * stores.RESULTS_A_TRIAL - 2, 2, 1, parts=stores.LATEST)
        ways = "".join(way[0] for way in taken)
        wrong, *rest = re.findall("o+|p+", ways)
        assert wrong == "o" * stores.LATEST
        assert all(set(run) == {"p"} or run == "o" * stores.LATEST for run in rest)
        assert ways.count("o") == (1 + len(stores.EARLY_TRIALS)) * stores.LATEST

    def test_is_tried_again_soon_where_its_pages_were_not_there(self, race):
        """Which the kernel clears, and leaves in the cache."""
        chooser = stores.Stores()
        race(chooser, 1, 2, 3, parts=2 * stores.LATEST)
        taken = race(chooser, 10, 2, 1, parts=stores.LATEST)
        assert taken[stores.LATEST * stores.EARLY_TRIALS[0] :].count("past") > len(taken) // 2

    def test_is_settled_but_for_trials(self, race):
        chooser = stores.Stores()
        assert chooser.settled() is None
        race(chooser, 1, 2, 3, parts=2 * stores.LATEST)
        settled = [chooser.settled()]
        while len(settled) < stores.RESULTS_A_TRIAL:
            if settled[-1] is None:
                assert race(chooser, 1, 2, 3) == ["past"]
            settled.append(chooser.settled())
        assert [k for k, way in enumerate(settled, 1) if way is None] == [*stores.EARLY_TRIALS, 32]
        assert set(settled) == {None, False}

    def test_is_not_told_by_one_part(self, race):
        """Which found its lines in the cache, or its pages not there."""
        chooser = stores.Stores()
        race(chooser, 2 * stores.LATEST, 2, 1)
        race(chooser, 1, 9, 9)
        assert race(chooser, 4, 2, 1).count("past") == 2

    def test_is_not_told_by_small_parts(self):
        chooser = stores.Stores()
        small = np.empty(stores.TELLING_BYTES - 1, np.int8)
        chooser.writer(lambda out: None, lambda out: None)(small)
        assert not chooser._seconds[False]

    def test_is_that_of_results_of_about_the_same_size(self, race):
        chooser = stores.StoresBySize()
        small, large = (chooser._stores[nbytes.bit_length()] for nbytes in (1 << 25, 1 << 27))
        race(small, 2 * stores.LATEST, 1, 2)
        race(large, 2 * stores.LATEST, 2, 1)
        taken = []
        for nbytes in (1 << 25, 1 << 27):
            write = chooser.writer(
                lambda out: taken.append("ordinary"), lambda out: taken.append("past"), nbytes
            )
            write(np.empty(1))
        assert taken == ["ordinary", "past"]


@pytest.mark.parametrize(
    "shapes", [((455, 9), (1, 2)), ((1, 9), (455, 2)), ((3, 1, 5), (1, 40, 7)), ((9,), (30, 4))]
)
@pytest.mark.parametrize("dtype", "dD")
def test_a_few_pairs_that_are_broadcast(shapes, dtype, rng):
    """Too few for a second thread, whose loops take as many vectors on either side."""
    a, b = (numbers(rng, shape, dtype) for shape in shapes)
    with vp.use_backend("cpu"):
        result = vp.batched_outer(a, b)
    np.testing.assert_array_equal(result, outer_products(a, b))
