"""Every row of a GPU, its sizes and its bars: the one table of what is raced there."""

from ..bars import EVERY_PEER, Bar
from ..row import Row, Scaled
from . import calls, fits, geometry, gradients, moments, products

MILLION = 1_000_000
X_ELEMENTS = 1 << 29  # 2 GiB of float32

OUTER_BARS = (Bar("limit", 0.95), Bar("peer", 3.0, "torch.bmm"), Bar("peer", 1.0, "cupy"))
CROSS_BARS = (Bar("limit", 0.95), Bar("peer", 5.0, "cupy"), Bar("peer", 1.05, "torch"))
CACHED_CROSS_BARS = (Bar("peer", 5.0, "cupy"), Bar("peer", 1.0, "torch"))
GRADIENT_BARS = (Bar("limit", 0.93), Bar("peer", 1.8, EVERY_PEER))
MODELS_BARS = (
    Bar("cost", 1.15, "ours, one model"),
    Bar("peer", 4.0, "ours, one by one"),
    Bar("peer", 1.0, "two products"),
)
STEPS_BARS = (Bar("peer", 3.0, "single steps"),)
MOMENTS_BARS = (Bar("limit", 0.80), Bar("peer", 1.0, "cuBLAS"))


def rows() -> list[Row]:
    """Small calls first, whole fits and what starts processes last."""
    return [*_calls(), *_products(), *_gradients(), *_moments(), *_geometry(), *_fits()]


def _calls() -> list[Row]:
    title = "small call, cross of {count} vectors"
    bars = (Bar("cost", 1.2, "bare launch"), Bar("peer", 5.0, "cupy"))
    sizes = {"count": 8}
    return [
        Row(
            "call", f"{title}, out=", calls.small_cross, {**sizes, "given_out": True}, 1e-6, "call", bars=bars
        ),
        Row(
            "call",
            f"{title}, fresh",
            calls.small_cross,
            {**sizes, "given_out": False},
            1e-6,
            "call",
            bars=bars,
        ),
    ]


def _products() -> list[Row]:
    def outer(batch: Scaled, m: Scaled | int, n: Scaled | int) -> Row:
        title = "batched outer, {batch:,} x {m:,} x {n:,}"
        sizes = {"batch": batch, "m": m, "n": n}
        return Row("outer", title, products.batched_outer, sizes, 1e-6, "kernel", bars=OUTER_BARS)

    def cross(count: int, bars: tuple[Bar, ...]) -> Row:
        sizes = {"count": Scaled(count, min(count, 8))}
        return Row("cross", "cross, {count:,} vectors", products.cross, sizes, 1e-6, "kernel", "count", bars)

    views = {"count": Scaled(20 * MILLION)}
    one = Scaled(1, 1)
    return [
        cross(8, CACHED_CROSS_BARS),
        cross(1000, CACHED_CROSS_BARS),
        cross(100_000, CACHED_CROSS_BARS),
        cross(5 * MILLION, CROSS_BARS),
        cross(50 * MILLION, CROSS_BARS),
        Row("cross", "cross, strided, {count:,} vectors", products.cross_strided, views, 1e-6, "kernel"),
        Row("cross", "cross, one with {count:,} vectors", products.cross_broadcast, views, 1e-6, "kernel"),
        outer(Scaled(30 * MILLION), 3, 3),
        outer(Scaled(4 * MILLION), 8, 8),
        outer(Scaled(100_000), 64, 64),
        outer(one, Scaled(16384), Scaled(16384)),
        outer(Scaled(2 * MILLION), 16, 17),
    ]


def _gradients() -> list[Row]:
    def gradient(d: int, bars: tuple[Bar, ...], dtype: str = "float32", bits: int = 32) -> Row:
        sizes = {"n": Scaled(X_ELEMENTS * 32 // bits // d, 8), "d": d, "dtype": dtype}
        title = "gradient, {n:,} x {d:,}" + ("" if bits == 32 else ", {dtype}")
        tolerance = {16: 5e-3, 32: 1e-4, 64: 1e-10}[bits]
        along = "d" if bits == 32 else ""
        return Row("gradient", title, gradients.gradient, sizes, tolerance, "kernel", along, bars)

    def steps(n: int, d: int, bars: tuple[Bar, ...]) -> Row:
        sizes = {"n": Scaled(n, 8), "d": d, "count": Scaled(1000, 3)}
        title = "a step of {count:,}, {n:,} x {d:,}"
        return Row("steps", title, gradients.steps, sizes, 1e-4, "kernel", bars=bars)

    cached = {"n": Scaled(40_000, 8), "d": 64}
    models = {"n": Scaled(8 * MILLION, 8), "d": 64, "count": 8}
    # At d = 8 the bytes of y come to an eighth of those of X, which are the ones that count.
    narrow = (Bar("limit", 0.93 * 8 / 9), GRADIENT_BARS[1])
    return [
        gradient(8, narrow),
        *(gradient(d, GRADIENT_BARS) for d in (16, 64, 512, 4096)),
        gradient(64, GRADIENT_BARS, "float16", 16),
        gradient(64, GRADIENT_BARS, "float64", 64),
        Row(
            "gradient",
            "gradient, {n:,} x {d}, in the cache",
            gradients.gradient,
            cached,
            1e-4,
            "kernel",
            bars=(Bar("peer", 1.3, EVERY_PEER),),
        ),
        Row(
            "gradient",
            "gradient, {n:,} x {d}, inputs rotate",
            gradients.gradient,
            {**cached, "rotates": True},
            1e-4,
            "kernel",
        ),
        Row(
            "models",
            "{count} models, {n:,} x {d}",
            gradients.models,
            models,
            1e-4,
            "kernel",
            bars=MODELS_BARS,
        ),
        steps(20_000, 64, STEPS_BARS),
        steps(256, 8, (Bar("seconds", 2e-6), *STEPS_BARS)),
    ]


def _moments() -> list[Row]:
    def sizes(d: int) -> dict[str, Scaled | int]:
        return {"n": Scaled(X_ELEMENTS // d, 8), "d": d}

    def bars(d: int) -> tuple[Bar, ...]:
        return MOMENTS_BARS if d <= 32 else ()

    def cov_bars(d: int) -> tuple[Bar, ...]:
        return (Bar("limit", 0.80), Bar("peer", 1.0, EVERY_PEER)) if d <= 32 else ()

    widths = (8, 16, 32, 64)
    gram, cov = moments.gram, moments.cov
    return [
        *(Row("gram", "gram, {n:,} x {d}", gram, sizes(d), 1e-4, "kernel", "d", bars(d)) for d in widths),
        *(Row("cov", "cov, {n:,} x {d}", cov, sizes(d), 1e-4, "kernel", "d", cov_bars(d)) for d in widths),
    ]


def _geometry() -> list[Row]:
    sizes = {"count": Scaled(20 * MILLION)}
    faster = (Bar("peer", 1.0, EVERY_PEER),)
    return [
        Row(
            "areas", "triangle areas, {count:,}", geometry.triangle_areas, sizes, 1e-5, "kernel", bars=faster
        ),
        Row("angles", "angles, {count:,}", geometry.angles, sizes, 1e-5, "kernel", bars=faster),
        Row("normals", "face normals, {count:,}", geometry.face_normals, sizes, 1e-4, "kernel", bars=faster),
    ]


def _fits() -> list[Row]:
    steps = {"n": Scaled(10 * MILLION, 64), "d": 32, "count": Scaled(1000, 4), "few": Scaled(10, 2)}
    batched = {"problems": Scaled(100_000), "n": 32, "d": 4}
    on_host = {"count": Scaled(5 * MILLION)}
    return [
        Row("fits", "{count:,} steps, {n:,} x {d}", fits.steps, steps, 1e-4),
        Row("fits", "regressions, {problems:,} of {n} x {d}", fits.batched, batched, 1e-9),
        Row("transfers", "cross of host arrays, {count:,} vectors", calls.from_host, on_host, 1e-6),
        Row("cold start", "first call of a process", calls.cold_start, {}, 0.0, "reported", turns=2),
    ]
