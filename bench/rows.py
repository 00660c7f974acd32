"""Every row of the benchmark."""

from functools import partial

from . import fits, geometry, gradients, moments, products
from .row import Row

MILLION = 1_000_000


def rows() -> list[Row]:
    """Every row, small calls first; in float32, but for the fits that are raced against float64 peers."""
    return [
        Row("cross, 8 vectors", partial(products.cross, count=8), 1e-6),
        Row("cross, 1,000 vectors", partial(products.cross, count=1000), 1e-6),
        Row("cross, 5,000,000 vectors", partial(products.cross, count=5 * MILLION), 1e-6),
        Row(
            "cross, 5,000,000 vectors, out=", partial(products.cross, count=5 * MILLION, given_out=True), 1e-6
        ),
        Row("batched outer, 1 x 8 x 8", partial(products.batched_outer, batch=1, length=8), 1e-6),
        Row("batched outer, 100,000 x 8 x 8", partial(products.batched_outer, batch=100_000, length=8), 1e-6),
        Row(
            "batched outer, 10,000 x 64 x 64", partial(products.batched_outer, batch=10_000, length=64), 1e-6
        ),
        Row(
            "batched outer, 10,000 x 64 x 64, out=",
            partial(products.batched_outer, batch=10_000, length=64, given_out=True),
            1e-6,
        ),
        Row("triangle areas, 5,000,000", partial(geometry.triangle_areas, count=5 * MILLION), 1e-6),
        Row("angles, 5,000,000", partial(geometry.angles, count=5 * MILLION), 1e-6),
        Row("face normals, 5,000,000", partial(geometry.face_normals, count=5 * MILLION), 1e-5),
        Row("gram, 2,000,000 x 32", partial(moments.gram, n=2 * MILLION, d=32), 1e-5),
        Row("cov, 2,000,000 x 32", partial(moments.cov, n=2 * MILLION, d=32), 1e-5),
        Row(
            "cov, 2,000,000 x 32, in columns",
            partial(moments.cov, n=2 * MILLION, d=32, in_columns=True),
            1e-5,
        ),
        Row("batched cov, 100,000 x 32 x 4", partial(moments.batched_cov, problems=100_000, n=32, d=4), 1e-5),
        Row("gradient, 4,000,000 x 16", partial(gradients.gradient, n=4 * MILLION, d=16), 1e-4),
        Row("gradient, 2,000,000 x 64", partial(gradients.gradient, n=2 * MILLION, d=64), 1e-4),
        Row("gradient, 200,000 x 512", partial(gradients.gradient, n=200_000, d=512), 1e-4),
        Row("gradient, 30,000 x 4,096", partial(gradients.gradient, n=30_000, d=4096), 1e-4),
        Row("1,000 steps, 1,000,000 x 32", partial(fits.steps, n=MILLION, d=32, count=1000), 1e-5),
        Row(
            "lasso path of 100, 500,000 x 64", partial(fits.lasso_path, n=MILLION // 2, d=64, count=100), 1e-2
        ),
        Row(
            "search of 100 penalties, 500,000 x 32",
            partial(fits.ridge_search, n=MILLION // 2, d=32, count=100),
            1e-9,
        ),
        Row(
            "search of 20 x 20 x 20, 500,000 x 32",
            partial(fits.grid_search, n=MILLION // 2, d=32, count=20),
            1e-6,
        ),
        Row("regressions, 100,000 of 32 x 4", partial(fits.batched, problems=100_000, n=32, d=4), 1e-9),
    ]
