"""Products of vectors on arrays of Dask."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask.array.utils import meta_from_array

from .. import products
from .._arrays import Array, summing_dtype
from .._libraries.dask import LIBRARY
from ..backends._cpu.threads.pools import sharing_processors
from ..errors import DTypeError, ShapeError
from ..linreg._streaming.tree import Tree
from ._chunks import beside, whole_rows
from ._graph import as_array, of_blocks


def batched_outer(a: Any, b: Any, *, alpha: Any = 1) -> da.Array:
    """Outer products of a batch of vectors, lazily: ``out[..., i, j] = alpha * a[..., i] * b[..., j]``.

    Parameters
    ----------
    a : (..., m) array_like
        First vectors; a or b is an array of Dask.
    b : (..., n) array_like
        Second vectors; the leading axes of a and b broadcast.
    alpha : number, default 1
        Scales the products.

    Returns
    -------
    (..., m, n) dask.array.Array
        With the chunks of a and b along the leading axes, each m times as large as that of b.

    Raises
    ------
    ShapeError, DTypeError
        As for `vecprod_gpu.batched_outer`.

    Examples
    --------
    >>> import dask.array as da, numpy as np, vecprod_gpu.dask
    >>> a = da.from_array(np.array([[1., 2.], [0., 1.]]), chunks=(1, 2))
    >>> vecprod_gpu.dask.batched_outer(a, a)
    dask.array<transpose, shape=(2, 2, 2), dtype=float64, chunksize=(1, 2, 2), chunktype=numpy.ndarray>
    """
    arrays = da.asarray(a), da.asarray(b)
    return LIBRARY.vector_by_vector(products.batched_outer, arrays, {"alpha": alpha})


def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> da.Array:
    """Cross product of 3-vectors: ``(a1 b2 - a2 b1, a2 b0 - a0 b2, a0 b1 - a1 b0)``, block by block.

    Parameters
    ----------
    a, b : (..., 3) array_like
        Vectors; their other axes broadcast. One of them is an array of Dask.
    axisa, axisb : int, default -1
        Axis of a and of b that holds the components.
    axisc : int, default -1
        Axis of the result that is to hold them.
    axis : int, optional
        If given, takes the place of axisa, axisb and axisc.

    Returns
    -------
    (..., 3) dask.array.Array
        Of the chunks of a and b along the other axes.

    Raises
    ------
    ShapeError, numpy.exceptions.AxisError
        As for `vecprod_gpu.cross`.

    Examples
    --------
    >>> import dask.array as da, numpy as np, vecprod_gpu.dask
    >>> a = da.from_array(np.array([[1, 2, 3], [0, 1, 0]]), chunks=(1, 3))
    >>> vecprod_gpu.dask.cross(a, [4, 5, 6]).compute()
    array([[-3,  6, -3],
           [ 6,  0, -4]])
    """
    arrays = da.asarray(a), da.asarray(b)
    how = {"axisa": axisa, "axisb": axisb, "axisc": axisc, "axis": axis}
    return LIBRARY.vector_by_vector(products.cross, arrays, how)


def gram(X: Any, Y: Any = None, *, weights: Any = None) -> da.Array:
    """Sum of outer products of the rows of X and Y: ``sum_i s_i conj(X[i, :]) ⊗ Y[i, :]``, read once.

    Parameters
    ----------
    X : (n, p) dask.array.Array
        Rows of numbers.
    Y : (n, q) array_like, optional
        As many rows, brought to the row chunks of X, lazily; X itself unless given.
    weights : (n,) array_like, optional
        Factor s of each row; 1 unless given.

    Returns
    -------
    (p, q) dask.array.Array
        ``Xᴴ S Y`` in one chunk, of the kind of X, with NumPy's promoted dtype. Without Y exactly Hermitian.

    Raises
    ------
    ShapeError
        If X, Y or weights have other shapes.
    DTypeError
        If they hold no numbers, or weights are complex.

    Notes
    -----
    Each block is one call of `vecprod_gpu.gram`. Their results, rounded to its dtype, are added pairwise in
    float64 (integers in their own type, and wrap), by a tree that the number of blocks decides: the workers
    cannot be seen in a bit, while other chunks round otherwise.

    Examples
    --------
    >>> import dask.array as da, numpy as np, vecprod_gpu.dask
    >>> X = da.from_array(np.array([[1.0, 2.0], [3.0, 4.0]]), chunks=(1, 2))
    >>> vecprod_gpu.dask.gram(X).compute()
    array([[10., 14.],
           [14., 20.]])
    """
    if not isinstance(X, da.Array):
        raise DTypeError(f"X must be an array of Dask, not {type(X).__name__}")
    given = {"X": X} if Y is None else {"X": X, "Y": beside("Y", Y, X, most_axes=2)}
    for name, array in given.items():
        if array.ndim != 2:
            raise ShapeError(f"{name} has shape {array.shape}; needed is (n, columns)")
    if weights is not None:
        given["weights"] = beside("weights", weights, X, most_axes=1)
        if given["weights"].dtype.kind == "c":
            raise DTypeError(f"weights has dtype {given['weights'].dtype}; needed are real numbers")
    given = {name: whole_rows(array) for name, array in given.items()}
    dtype = np.result_type(*(array.dtype for array in given.values()))
    if dtype.kind not in "iufc":
        raise DTypeError(f"X has dtype {dtype}; needed are numbers")
    shape = X.shape[1], given.get("Y", X).shape[1]
    known = of_blocks(
        partial(_gram_of_block, tuple(given), dtype), list(given.values()), range(X.numblocks[0])
    )
    meta = meta_from_array(X._meta, 2, dtype)
    return as_array("gram", known, partial(_sum, dtype), shape=shape, meta=meta)


@dataclass(frozen=True)
class Matrix:
    """A sum of outer products, as the tree takes it."""

    values: Array

    def merge(self, later: "Matrix") -> "Matrix":
        """The sum of both."""
        return Matrix(self.values + later.values)


@dataclass(frozen=True)
class Matrices:
    """Those of consecutive blocks."""

    tree: Tree

    def join(self, later: "Matrices") -> "Matrices":
        """With those of the blocks after them."""
        tree = self.tree.copy()
        tree.join(later.tree)
        return Matrices(tree)


def _gram_of_block(names: tuple[str, ...], dtype: np.dtype[Any], number: Any, *blocks: Array) -> Matrices:
    sums = summing_dtype(dtype)
    given = dict(zip(names, blocks, strict=True))
    if sums != dtype:  # what is too large for float16 may become small again in the sum
        given["X"] = given["X"].astype(sums)
    with sharing_processors():
        values = products.gram(given["X"], given.get("Y"), weights=given.get("weights"))
    wide = np.promote_types(values.dtype, np.float64) if dtype.kind in "fc" else dtype
    tree = Tree(number.item())
    tree.push(Matrix(values.astype(wide, copy=False)))
    return Matrices(tree)


def _sum(dtype: np.dtype[Any], known: Matrices) -> Array:
    return known.tree.total().values.astype(dtype, copy=False)
