"""How exact the results are, by dtype: ``python -m bench.accuracy`` prints the table of the README.

The error is that of the computation and of rounding its result, not of storing the inputs: the largest
difference from the result that exact inputs of that dtype have in a wider type, over the largest magnitude.
"""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

import vecprod_gpu as vp

Array = np.ndarray[Any, Any]

DTYPES = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
}
ROWS, COLUMNS = 20_000, 16


def outer(draw: Callable[..., Array]) -> tuple[Array, Array]:
    """Many products of 64 by 64 numbers."""
    a, b = draw(500, 64), draw(500, 64)
    return vp.batched_outer(a, b), _wide(a)[:, :, None] * _wide(b)[:, None, :]


def cross(draw: Callable[..., Array]) -> tuple[Array, Array]:
    """Of as many vectors as there are rows."""
    a, b = draw(ROWS, 3), draw(ROWS, 3)
    return vp.cross(a, b), np.cross(_wide(a), _wide(b))


def gram(draw: Callable[..., Array]) -> tuple[Array, Array]:
    """Sums over all rows."""
    X = draw(ROWS, COLUMNS)
    return vp.gram(X), _wide(X).T @ _wide(X)


def cov(draw: Callable[..., Array]) -> tuple[Array, Array]:
    """Of numbers around 4; the result of narrow ones is asked for in float32."""
    X = draw(ROWS, COLUMNS, mean=4)
    dtype = np.float64 if X.dtype == np.float64 else np.float32
    centred = _wide(X) - _wide(X).mean(axis=0)
    return vp.cov(X, rowvar=False, dtype=dtype), centred.T @ centred / (ROWS - 1)


def gradient(draw: Callable[..., Array]) -> tuple[Array, Array]:
    """Of linear regression, at random coefficients."""
    X, y, w = draw(ROWS, COLUMNS), draw(ROWS), draw(COLUMNS)
    residual = _wide(X) @ _wide(w) - _wide(y)
    return vp.linreg_gradient(X, y, w), _wide(X).T @ residual / ROWS


OPERATIONS = {"outer": outer, "cross": cross, "gram": gram, "cov": cov, "gradient": gradient}


def error(operation: str, dtype: str) -> float:
    """The largest error of an operation, over the largest magnitude in its result."""
    rng = np.random.default_rng(0)

    def draw(*shape: int, mean: float = 0.0) -> Array:
        return rng.normal(mean, size=shape).astype(DTYPES[dtype])

    result, exact = OPERATIONS[operation](draw)
    return float(np.abs(_wide(result) - exact).max() / np.abs(exact).max())


def table() -> str:
    """All errors, as Markdown."""
    lines = [f"| | {' | '.join(DTYPES)} |", "|---" * (len(DTYPES) + 1) + "|"]
    for operation in OPERATIONS:
        cells = (f"{error(operation, dtype):.0e}" for dtype in DTYPES)
        lines.append(f"| {operation} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _wide(array: Array) -> Array:
    return np.asarray(array).astype(np.longdouble)


if __name__ == "__main__":
    print(table())
