"""Co-moments and triangular factors of rows that are not all in memory, and what follows from them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any, Generic, TypeVar

import numpy as np

from .._progress import progress_bar
from ..errors import NotFiniteError
from ..linreg._streaming.streamed import Streamed
from ..linreg.moments import CoMoments
from ..linreg.tsqr import TSQR
from ._observations import Batch, open_observations
from ._run import How, Passes

Host = np.ndarray[Any, Any]
Of = TypeVar("Of", bound=Streamed)


class Sums(Generic[Of]):
    """One summary of all rows."""

    def __init__(self, kind: type[Of]) -> None:
        self.kind: type[Streamed] = kind
        self.value = kind()

    def update(self, batch: Batch) -> None:
        """Take in the next rows."""
        self.value.update(batch.X, batch.y, batch.sample_weight)

    def packed(self) -> dict[str, Host]:
        """All that is known, as plain arrays."""
        return self.value.packed()

    def unpack(self, arrays: Mapping[str, Host]) -> None:
        """Go on from what was packed."""
        self.value = type(self.value).unpacked(arrays)


class FoldSums:
    """Co-moments of each of some stretches of rows, one after the other.

    Parameters
    ----------
    stops : sequence of int
        Where each stretch ends and the next begins.
    """

    def __init__(self, stops: Sequence[int]) -> None:
        self.kind: type[Streamed] = CoMoments
        self._stops = list(stops)
        self.parts: list[CoMoments] = [CoMoments()]

    def update(self, batch: Batch) -> None:
        """Take in the next rows."""
        start, end = 0, len(batch.X)
        while start < end:
            fold = len(self.parts) - 1
            stop = min(end, self._stops[fold] - batch.first_row)
            X, y, weights = (
                None if array is None else array[start:stop]
                for array in (batch.X, batch.y, batch.sample_weight)
            )
            try:
                self.parts[-1].update(X, y, weights)
            except NotFiniteError as error:
                if error.row is not None:
                    error.row += self._stops[fold - 1] if fold else 0
                raise
            if batch.first_row + stop == self._stops[fold]:
                self.parts[-1] = self.parts[-1].merge(CoMoments())  # which keeps no rows
                if fold + 1 < len(self._stops):
                    self.parts.append(CoMoments())
            start = stop

    def packed(self) -> dict[str, Host]:
        """All that is known, as plain arrays."""
        packed = [part.packed() for part in self.parts]
        return {
            f"{fold}:{name}": array for fold, arrays in enumerate(packed) for name, array in arrays.items()
        }

    def unpack(self, arrays: Mapping[str, Host]) -> None:
        """Go on from what was packed."""
        folds: dict[int, dict[str, Host]] = {}
        for key, array in arrays.items():
            fold, _, name = key.partition(":")
            folds.setdefault(int(fold), {})[name] = array
        self.parts = [CoMoments.unpacked(folds[fold]) for fold in sorted(folds)]


@contextmanager
def reading(
    source: Any,
    kind: str,
    *,
    target: Any,
    sample_weight: Any,
    columns: Any,
    header: bool | None,
    memory: str | int | None,
    checkpoint: str | PathLike[str] | None,
    every: float,
    progress: bool,
    **settings: Any,
) -> Iterator[Passes]:
    """Passes over a source, as public functions are told; the checkpoint is removed if all went well."""
    observations = open_observations(
        source, target=target, sample_weight=sample_weight, columns=columns, header=header
    )
    with progress_bar(progress) as bar:
        passes = Passes(observations, How(memory, checkpoint, every, bar), kind, settings)
        yield passes
    passes.finish()


def co_moments(
    source: Any,
    *,
    target: Any = None,
    sample_weight: Any = None,
    columns: str | Sequence[str | int] | None = None,
    header: bool | None = None,
    memory: str | int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    every: float = 30.0,
    progress: bool = False,
) -> CoMoments:
    """Weights, means and centred sums of outer products of the columns, in one read.

    The numbers and their bits are those of ``CoMoments.from_arrays(X, y, sample_weight)``, whatever the
    size of the batches, the memory, the number of threads and the interruptions.

    Parameters
    ----------
    source : path, (n, d) array, or iterable of batches
        A path of ``.npy``, ``.npz``, ``.csv``, ``.parquet`` or ``.zarr``; a folder or a pattern of
        ``.csv`` or ``.parquet`` files; an array of NumPy or Zarr; or an iterable of ``X``, ``(X, y)`` or
        ``(X, y, sample_weight)``.
    target : str, int, path or array, optional
        y: a column of the source by name or index, a file of its own, or an array, ``(n,)`` or ``(n, k)``.
    sample_weight : str, int, path or array, optional
        The same for the weight of each row, ``(n,)``, not negative.
    columns : sequence of str and int, or str, optional
        The columns of X, by name or index; by default all that are nothing else.
    header : bool, optional
        Whether the first line of a CSV file names its columns; by default it does, and must not be all
        numbers.
    memory : str or int, optional
        What the process may hold, as "1GB" or in bytes: the pages of mapped files count, and so does what
        it holds already. Without it, batches have the size that is fastest, 64 MiB at most.
    checkpoint : path, optional
        A file in which what is known is kept: after a kill, the same call goes on from there. It is removed
        when the call returns.
    every : float, default 30.0
        Seconds between two checkpoints.
    progress : bool, default False
        Whether to show a bar, where standard error is a terminal.

    Returns
    -------
    CoMoments
        Which `linreg_fit` and others take, and which can be updated, merged and saved.

    Raises
    ------
    BadInputError
        If a file is missing, damaged or holds no finite numbers, or the checkpoint is damaged, that of
        other inputs, or where none can be written; the message is one line that names the file, and the row.
    ArgumentError
        If the memory does not suffice, or an argument is out of its range.
    OSError
        If the disk is too full for the checkpoint.

    See Also
    --------
    vecprod_gpu.CoMoments

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu import stream
    >>> rows = np.array([[1., 2.], [2., 3.], [3., 5.]])
    >>> moments = stream.co_moments(rows[i : i + 1] for i in range(3))
    >>> moments.n_samples, moments.mean
    (3, array([2.        , 3.33333333]))
    """
    with reading(source, "co-moments", **_how(locals())) as passes:
        return passes.run("moments", Sums(CoMoments)).value


def tsqr(
    source: Any,
    *,
    target: Any = None,
    sample_weight: Any = None,
    columns: str | Sequence[str | int] | None = None,
    header: bool | None = None,
    memory: str | int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    every: float = 30.0,
    progress: bool = False,
) -> TSQR:
    """Triangular factor of the columns, in one read: for columns that nearly depend on each other.

    The numbers and their bits are those of ``TSQR.from_arrays(X, y, sample_weight)``.

    Parameters
    ----------
    source, target, sample_weight, columns, header, memory, checkpoint, every, progress
        As for `co_moments`.

    Returns
    -------
    TSQR
        Which `linreg_fit` takes for ``solver="svd"``.

    Raises
    ------
    BadInputError, ArgumentError, OSError
        As for `co_moments`.

    See Also
    --------
    vecprod_gpu.TSQR

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> from vecprod_gpu import stream
    >>> table = np.array([[1., 2., 2.], [2., 3., 3.], [3., 5., 4.], [4., 9., 6.]])
    >>> data = stream.tsqr(table, target=-1)
    >>> vp.linreg_fit(data).solver
    'svd'
    """
    with reading(source, "a triangular factor", **_how(locals())) as passes:
        return passes.run("factor", Sums(TSQR)).value


def cov(
    source: Any,
    *,
    ddof: float = 1,
    sample_weight: Any = None,
    columns: str | Sequence[str | int] | None = None,
    header: bool | None = None,
    memory: str | int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    every: float = 30.0,
    progress: bool = False,
) -> Host:
    """Covariance matrix of the columns, in one read: ``sum(s (x - mean) ⊗ (x - mean)) / (sum(s) - ddof)``.

    Parameters
    ----------
    source, sample_weight, columns, header, memory, checkpoint, every, progress
        As for `co_moments`.
    ddof : float, default 1
        What is taken from the sum of the weights, which count repeated rows.

    Returns
    -------
    (d, d) ndarray of float64
        Of the bits of ``CoMoments.from_arrays(X).cov(ddof)``.

    Raises
    ------
    BadInputError, ArgumentError, OSError
        As for `co_moments`.

    See Also
    --------
    vecprod_gpu.cov

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu import stream
    >>> stream.cov(np.array([[1., 2.], [2., 3.], [3., 4.]]))
    array([[1., 1.],
           [1., 1.]])
    """
    with reading(source, "co-moments", target=None, **_how(locals())) as passes:
        return passes.run("moments", Sums(CoMoments)).value.cov(ddof)


def corrcoef(
    source: Any,
    *,
    sample_weight: Any = None,
    columns: str | Sequence[str | int] | None = None,
    header: bool | None = None,
    memory: str | int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    every: float = 30.0,
    progress: bool = False,
) -> Host:
    """Correlation matrix of the columns, in one read.

    Parameters
    ----------
    source, sample_weight, columns, header, memory, checkpoint, every, progress
        As for `co_moments`.

    Returns
    -------
    (d, d) ndarray of float64
        Of the bits of ``CoMoments.from_arrays(X).corrcoef()``.

    Raises
    ------
    BadInputError, ArgumentError, OSError
        As for `co_moments`.

    See Also
    --------
    vecprod_gpu.corrcoef

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu import stream
    >>> stream.corrcoef(np.array([[1., 2.], [2., 3.], [3., 4.]]))
    array([[1., 1.],
           [1., 1.]])
    """
    with reading(source, "co-moments", target=None, **_how(locals())) as passes:
        return passes.run("moments", Sums(CoMoments)).value.corrcoef()


_HOW = ("target", "sample_weight", "columns", "header", "memory", "checkpoint", "every", "progress")


def _how(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those arguments of a public function that say how its source is read."""
    return {name: arguments[name] for name in _HOW if name in arguments}
