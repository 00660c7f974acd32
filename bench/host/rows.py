"""Every row of the CPU, its sizes and its bars: the one table of what is raced there.

In float32, but for the fits that are raced against float64 peers.
"""

from collections.abc import Callable

from ..bars import EVERY_PEER, Bar
from ..row import Entry, Row, Scaled
from . import calls, fits, geometry, gradients, moments, products

MILLION = 1_000_000

CROSS_BARS = (Bar("peer", 8.0, "numpy"), Bar("peer", 1.5, "torch"), Bar("peer", 1.5, "jax"))
SMALL_CROSS_BARS = (Bar("peer", 8.0, "numpy"), Bar("peer", 1.0, "torch"))


def rows() -> list[Row]:
    """Small calls first, whole fits last."""
    return [*_products(), *_geometry(), *_moments(), *_gradients(), *_fits(), *_cold_starts()]


def _cold_starts() -> list[Row]:
    def row(title: str, make: Callable[..., Entry], **sizes: int) -> Row:
        name = f"first call of a process, {title}"
        bars = (Bar("cost", 1.5, calls.NUMBAS_IMPORT),)
        return Row("cold start", name, make, dict(sizes), 0.0, "reported", bars=bars, turns=5)

    return [
        row("cross of {count:,}", calls.first_cross, count=8),
        row("cross of {count:,}", calls.first_cross, count=100_000),
        row("gradient {n:,} x {d}", calls.first_gradient, n=100_000, d=16),
    ]


def _products() -> list[Row]:
    def cross(count: int, bars: tuple[Bar, ...], given_out: bool = False) -> Row:
        sizes = {"count": Scaled(count, min(count, 1000)), "given_out": given_out}
        title = "cross, {count:,} vectors" + (", out=" if given_out else "")
        along = "" if given_out else "count"
        return Row("cross", title, products.cross, sizes, 1e-6, along=along, bars=bars)

    def outer(batch: int, length: int | Scaled, bars: tuple[Bar, ...], given_out: bool = False) -> Row:
        sizes = {"batch": Scaled(batch, 1), "length": length, "given_out": given_out}
        title = "batched outer, {batch:,} x {length:,} x {length:,}" + (", out=" if given_out else "")
        return Row("outer", title, products.batched_outer, sizes, 1e-6, bars=bars)

    def views(title: str, make: Callable[..., Entry]) -> Row:
        return Row("cross", title, make, {"count": Scaled(2 * MILLION)}, 1e-6, bars=CROSS_BARS)

    fresh = (Bar("peer", 3.0, "numpy"), Bar("peer", 1.0, EVERY_PEER))
    given = (Bar("limit", 0.8), Bar("peer", 4.0, "numpy"), Bar("peer", 1.0, EVERY_PEER))
    return [
        cross(8, SMALL_CROSS_BARS),
        cross(1000, CROSS_BARS),
        cross(100_000, CROSS_BARS),
        cross(5 * MILLION, CROSS_BARS),
        cross(5 * MILLION, (Bar("limit", 0.8), *CROSS_BARS), given_out=True),
        views("cross, strided, {count:,} vectors, out=", products.cross_strided),
        views("cross, one with {count:,} vectors, out=", products.cross_broadcast),
        outer(1, 8, ()),
        outer(2 * MILLION, 3, fresh),
        outer(2 * MILLION, 3, given, given_out=True),
        outer(100_000, 8, fresh),
        outer(10_000, 64, fresh),
        outer(10_000, 64, given, given_out=True),
        outer(1, Scaled(8192), given, given_out=True),
    ]


def _geometry() -> list[Row]:
    count = {"count": Scaled(5 * MILLION)}
    return [
        Row("areas", "triangle areas, {count:,}", geometry.triangle_areas, count, 1e-6),
        Row("angles", "angles, {count:,}", geometry.angles, count, 1e-6),
        Row("normals", "face normals, {count:,}", geometry.face_normals, count, 1e-5),
    ]


def _moments() -> list[Row]:
    wide = {"n": Scaled(2 * MILLION, 64), "d": 32}
    batched = {"problems": Scaled(100_000), "n": 32, "d": 4}
    in_columns = {**wide, "in_columns": True}
    return [
        Row("gram", "gram, {n:,} x {d}", moments.gram, wide, 1e-5),
        Row("cov", "cov, {n:,} x {d}", moments.cov, wide, 1e-5),
        Row("cov", "cov, {n:,} x {d}, in columns", moments.cov, in_columns, 1e-5),
        Row("cov", "batched cov, {problems:,} x {n} x {d}", moments.batched_cov, batched, 1e-5),
    ]


def _gradients() -> list[Row]:
    def gradient(n: int, d: int, *bars: Bar) -> Row:
        sizes = {"n": Scaled(n, 64), "d": d}
        return Row(
            "gradient", "gradient, {n:,} x {d:,}", gradients.gradient, sizes, 1e-4, along="d", bars=bars
        )

    cached = {"n": Scaled(8000, 64), "d": 64}
    ahead = (Bar("peer", 1.0, EVERY_PEER),)
    models = {"n": Scaled(MILLION, 64), "d": 64, "count": 8}
    faster = Bar("peer", 1.6, EVERY_PEER)
    return [
        gradient(8 * MILLION, 8, Bar("limit", 0.5), faster),
        gradient(4 * MILLION, 16, Bar("limit", 0.5), faster),
        gradient(2 * MILLION, 64, Bar("limit", 0.8), faster),
        gradient(200_000, 512, Bar("limit", 0.8), faster),
        gradient(30_000, 4096, Bar("limit", 0.8), Bar("peer", 1.3, EVERY_PEER)),
        Row(
            "gradient",
            "gradient, {n:,} x {d}, in the cache",
            gradients.gradient,
            cached,
            1e-4,
            bars=ahead,
        ),
        Row("models", "{count} models, {n:,} x {d}", gradients.models, models, 1e-4, bars=ahead),
    ]


def _fits() -> list[Row]:
    half = Scaled(MILLION // 2, 1000)
    steps = {"n": Scaled(MILLION, 1000), "d": 32, "count": 1000}
    path = {"n": half, "d": 64, "count": 100}
    search = {"n": half, "d": 32, "count": 100}
    grid = {"n": half, "d": 32, "count": 20}
    batched = {"problems": Scaled(100_000, 10), "n": 32, "d": 4}
    over_numpy = (Bar("peer", 150.0, "numpy"),)
    over_path, over_search = (Bar("peer", 5.0, "scikit-learn"),), (Bar("peer", 300.0, "scikit-learn"),)
    near_one_pass = (Bar("cost", 3.0, "one pass of ours"),)
    over_many = (Bar("peer", 60.0, "numpy, a loop"), Bar("peer", 8.0, "torch, gels"))
    path_title, search_title = (
        "lasso path of {count}, {n:,} x {d}",
        "search of {count} penalties, {n:,} x {d}",
    )
    grid_title = "search of {count} x {count} x {count}, {n:,} x {d}"
    many_title = "regressions, {problems:,} of {n} x {d}"
    return [
        Row("fits", "{count:,} steps, {n:,} x {d}", fits.steps, steps, 1e-5, bars=over_numpy),
        Row("fits", path_title, fits.lasso_path, path, 1e-2, bars=over_path),
        Row("fits", search_title, fits.ridge_search, search, 1e-9, bars=over_search),
        Row("fits", grid_title, fits.grid_search, grid, 1e-6, bars=near_one_pass),
        Row("fits", many_title, fits.batched, batched, 1e-9, bars=over_many),
    ]
