"""The public functions, with random inputs of ragged sizes and what they should give of them, in float64."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import vecprod_gpu as vp
from tests.kernels import oracles


@dataclass(frozen=True)
class Operation:
    """One function of the package.

    Attributes
    ----------
    draw : callable
        Random generator to the host arrays that the function takes.
    call : callable
        The function, on arrays of any kind.
    expected : callable
        Host arrays to the result in float64.
    roundings : float
        How many units of the last place of the largest entry the result may be off.
    has_out : bool
        Whether it takes ``out``.
    """

    draw: Callable[[np.random.Generator], tuple[np.ndarray, ...]]
    call: Callable[..., Any]
    expected: Callable[..., np.ndarray]
    roundings: float = 8
    has_out: bool = True

    def check(self, result, arrays):
        """Assert that a result on the host is that of the host arrays."""
        expected = self.expected(*arrays)
        assert result.shape == expected.shape
        tolerance = self.roundings * np.finfo(result.dtype).eps * np.abs(expected).max()
        np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance)


def normal(*shapes, dtype=np.float32):
    """Return a function that draws normal numbers of those shapes."""
    return lambda rng: tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)


def mesh(rng):
    return rng.standard_normal((701, 3)).astype(np.float32), rng.integers(0, 701, (1403, 3))


def triangles(vertices, faces):
    p, q, r = (oracles.wide(vertices)[faces[:, corner]] for corner in range(3))
    return oracles.cross(q - p, r - p)


def unit(vectors):
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def vertex_normals(vertices, faces):
    sums = np.zeros(vertices.shape)
    for corner in range(3):
        np.add.at(sums, faces[:, corner], triangles(vertices, faces))
    return unit(sums)


def grid_normals(z):
    along_rows, along_columns = (np.gradient(oracles.wide(z), axis=axis) for axis in (0, 1))
    return unit(np.stack([-along_columns, -along_rows, np.ones(z.shape)], axis=-1))


def angle(a, b):
    a, b = oracles.wide(a), oracles.wide(b)
    return np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(axis=-1))


def regression(step):
    """Gradient, or proximal step, as `oracles.linreg` gives it for one problem and one model."""

    def expected(X, y, w):
        return oracles.linreg(X[None], y[None, :, None], w[None, :, None], **step)[0][0, :, 0]

    return expected


RATE = {"learning_rate": 0.1, "l1": 0.01}
FEW_ROWS = normal((4099, 37), 4099, 37)

OPERATIONS = {
    "cross": Operation(normal((10007, 3), (10007, 3)), vp.cross, oracles.cross),
    "batched_outer": Operation(normal((1013, 7), (1013, 13)), vp.batched_outer, oracles.batched_outer),
    "outer": Operation(normal(1013, 517), vp.outer, oracles.batched_outer),
    "vecdot": Operation(normal((1013, 131), (1013, 131)), vp.linalg.vecdot, oracles.vecdot, has_out=False),
    "vector_angle": Operation(normal((10007, 3), (10007, 3)), vp.vector_angle, angle),
    "triple_product": Operation(normal(*[(10007, 3)] * 3), vp.triple_product, oracles.triple_product),
    "face_normals": Operation(mesh, vp.face_normals, lambda *its: unit(triangles(*its)), 64),
    "vertex_normals": Operation(mesh, vp.vertex_normals, vertex_normals, 64),
    "grid_normals": Operation(normal((301, 203)), vp.grid_normals, grid_normals),
    "gram": Operation(normal((4099, 37), (4099, 11)), vp.gram, oracles.gram, 24),
    "cov": Operation(
        normal((4099, 37)),
        lambda m: vp.cov(m, rowvar=False),
        lambda m: np.cov(oracles.wide(m), rowvar=False),
        24,
        has_out=False,
    ),
    "linreg_gradient": Operation(FEW_ROWS, vp.linreg_gradient, regression({}), 64),
    "linreg_step": Operation(
        FEW_ROWS, lambda *its, **out: vp.linreg_step(*its, **RATE, **out), regression(RATE), 64
    ),
}


def arrays_of(operation):
    """Host arrays to call an operation with; the same ones each time."""
    return OPERATIONS[operation].draw(np.random.default_rng(7))
