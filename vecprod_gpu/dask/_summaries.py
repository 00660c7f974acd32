"""Co-moments and triangular factors of the rows of a cluster."""

from functools import partial
from typing import Any

import dask.array as da
from dask.delayed import Delayed

from ..linreg._streaming.streamed import Streamed
from ..linreg.moments import CoMoments
from ..linreg.tsqr import TSQR
from ._chunks import Blocks, Names
from ._graph import as_delayed, of_blocks
from ._tasks import Groups, summarise_block


def co_moments(
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    columns: Names | None = None,
    lengths: bool | None = None,
) -> Delayed:
    """Co-moments of all rows: ``sum_i s_i (z_i - mean) ⊗ (z_i - mean)`` of ``z = [x y]``, read once.

    Parameters
    ----------
    X : (n, d) dask.array.Array or dask.dataframe.DataFrame
        Observations in rows. Columns that are cut into chunks are joined, lazily.
    y : (n,) or (n, k) array_like, optional
        Targets, brought to the row chunks of X, lazily; of a data frame a name or a list of names.
    sample_weight : (n,) array_like, optional
        Weight of each row, not negative; of a data frame the name of a column.
    columns : sequence of names, optional
        The features of a data frame; all other columns unless given.
    lengths : bool, optional
        Whether the lengths of a data frame's partitions are computed now. Otherwise each partition is a
        block of its own.

    Returns
    -------
    dask.delayed.Delayed
        Computes to a `CoMoments`: it is one object and no array, and goes into other delayed calls, with
        ``dask.compute``, ``persist`` and ``Client.compute``.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        If shapes do not fit, data are not real, or there is no column of a name.
    NotFiniteError
        When computed, if X or y holds NaN or infinity: the message names the row, counted from the first of
        all where the lengths of the chunks are known, else within its block.

    Notes
    -----
    The bits depend neither on the workers and their number nor on the scheduler. If every chunk begins at a
    multiple of the segment length of `CoMoments` (see `aligned_chunks`) they are those of
    ``CoMoments.from_arrays`` of all rows in memory, however they are chunked; otherwise those of
    ``CoMoments.from_blocks`` of the ``from_arrays`` of each chunk.

    Rows are read where they are, those of CuPy on their GPU. From worker to worker go matrices of
    ``(d + k)²`` numbers, of eight neighbours to one of them. Each task uses one thread, as Dask runs one for
    each; ``client.run(vecprod_gpu.set_num_threads, 4)`` allows more.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for
       computing sample variances", COMPSTAT 1982.

    Examples
    --------
    >>> import dask.array as da, numpy as np, vecprod_gpu.dask
    >>> X = da.from_array(np.array([[1., 2.], [2., 3.], [3., 5.]]), chunks=(2, 2))
    >>> moments = vecprod_gpu.dask.co_moments(X, np.array([2., 3., 4.])).compute()
    >>> moments.mean, moments.xy
    (array([2.        , 3.33333333]), array([2., 3.]))
    """
    return _summary(CoMoments, X, y, sample_weight, columns, lengths)


def tsqr(
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    columns: Names | None = None,
    lengths: bool | None = None,
) -> Delayed:
    """Triangular factor of all rows, for ill-conditioned data: R of two parts is R of their triangles.

    Parameters
    ----------
    X, y, sample_weight, columns, lengths
        As for `co_moments`.

    Returns
    -------
    dask.delayed.Delayed
        Computes to a `TSQR`.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError, NotFiniteError
        As for `co_moments`.

    Notes
    -----
    Bits, network and threads are as for `co_moments`. Chunks of CuPy are copied to their worker's host.

    References
    ----------
    .. [1] J. Demmel, L. Grigori, M. Hoemmen, J. Langou, "Communication-optimal parallel and sequential
       QR and LU factorizations", SIAM Journal on Scientific Computing 34 (2012).

    Examples
    --------
    >>> import dask.array as da, numpy as np, vecprod_gpu as vp, vecprod_gpu.dask
    >>> X = da.from_array(np.array([[1., 2.], [2., 3.], [3., 5.], [4., 9.]]), chunks=(2, 2))
    >>> factor = vecprod_gpu.dask.tsqr(X, np.array([2., 3., 4., 6.]))
    >>> vp.linreg_fit(factor.compute()).solver
    'svd'
    """
    return _summary(TSQR, X, y, sample_weight, columns, lengths)


def known_of(kind: type[Streamed], blocks: Blocks) -> da.Array:
    """What is known of each block, of one tree."""
    return of_blocks(partial(summarise_block, kind, blocks.read), blocks.arrays, blocks.places())


def whole(kind: type[Streamed], known: Groups) -> Any:
    """What is known of all rows."""
    return kind.from_part(known.parts[0])


def _summary(kind: type[Streamed], X: Any, y: Any, sample_weight: Any, columns: Any, lengths: Any) -> Delayed:
    blocks = Blocks.of(X, y, sample_weight, columns, lengths)
    return as_delayed(kind.__name__.lower(), known_of(kind, blocks), partial(whole, kind))
