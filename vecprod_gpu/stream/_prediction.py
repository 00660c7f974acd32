"""Predictions of a linear model for rows that are not all in memory, written batch by batch."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain
from os import PathLike
from typing import Any

import numpy as np

from .._finite import first_not_finite
from .._progress import progress_bar
from ..errors import ShapeError
from ._observations import open_observations
from ._output_file import Output
from ._results import Result, write
from ._run import How, Passes

Host = np.ndarray[Any, Any]


def predict(
    model: Any,
    source: Any,
    out: str | PathLike[str],
    *,
    columns: str | Sequence[str | int] | None = None,
    header: bool | None = None,
    memory: str | int | None = None,
    progress: bool = False,
) -> None:
    """Predictions ``X @ coef + intercept`` for each row of a source, written to a file batch by batch.

    Parameters
    ----------
    model : FitResult, SearchResult or other object with ``coef`` and ``intercept``, or a pair of them
        Coefficients ``(d,)`` and a number for one target; ``(d, k)`` and ``(k,)`` for k of them.
    source, columns, header, memory, progress
        As for `co_moments`; the columns are those of the coefficients, in their order.
    out : path
        A ``.npy``, ``.npz``, ``.csv`` or ``.parquet`` file, which is written beside its place and renamed
        when it is whole: ``(n,)``, or ``(n, k)`` of k targets, in the promoted dtype of the source and the
        coefficients. In a table the columns are called predicted or predicted0, predicted1, and so on.

    Raises
    ------
    ShapeError
        If the source has not as many columns as there are coefficients.
    BadInputError, ArgumentError, OSError
        As for `co_moments`; and if the output cannot be written.

    Notes
    -----
    Each prediction is a sum of products by itself, whose bits depend on neither the batches nor the
    threads; a matrix product, as of `FitResult.predict`, may round the last digit in another way.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from vecprod_gpu import stream
    >>> out = pathlib.Path(tempfile.mkdtemp()) / "predictions.npy"
    >>> stream.predict(([1.0, 10.0], 0.5), np.array([[1., 2.], [3., 4.]]), out)
    >>> np.load(out)
    array([21.5, 43.5])
    """
    coef, intercept = _coefficients(model)
    output = Output.parse(str(out), force=True)
    observations = open_observations(source, columns=columns, header=header)
    if observations.width != len(coef):
        raise ShapeError(
            f"X has {observations.width} columns; needed are {len(coef)}, one for each coefficient"
        )
    output.check(observations.paths)
    names = ("predicted",) if coef.ndim == 1 else tuple(f"predicted{at}" for at in range(coef.shape[1]))
    with progress_bar(progress) as bar, output.replaced() as stream:
        passes = Passes(observations, How(memory, bar=bar), "predictions")
        write(stream, output, predictions(passes, coef, intercept, names, output.is_table), bar)


def predictions(passes: Passes, coef: Host, intercept: Any, names: Sequence[str], into_table: bool) -> Result:
    """Predictions for all rows, of coefficients ``(d,)`` or ``(d, k)``, in parts.

    An array's header says how many rows there are; into a table they go uncounted.
    """
    blocks = _blocks(passes, coef, intercept)
    first = next(blocks, np.empty((0, *coef.shape[1:]), coef.dtype))
    rows = passes.observations.rows
    if rows is None:
        rows = len(first) if into_table else passes.count()
    # Sums of products are left to NumPy.
    return Result((rows, *coef.shape[1:]), first.dtype, chain([first], blocks), "reference", names)


def _blocks(passes: Passes, coef: Host, intercept: Any) -> Iterator[Host]:
    each = np.ascontiguousarray(np.atleast_2d(coef.T))
    with closing(passes.batches("predicting", 0)) as batches:
        for batch in batches:
            index = first_not_finite(batch.X)
            if index is not None:
                raise passes.observations.not_finite(
                    "X", batch.first_row + index[0], index[1], batch.X[index]
                )
            dtype = np.result_type(batch.X, coef)
            X = np.ascontiguousarray(batch.X, dtype)
            found = np.einsum("nd,kd->nk", X, each.astype(dtype, copy=False)) + intercept
            passes.rows += len(X)
            yield found.astype(dtype, copy=False).reshape(len(X), *coef.shape[1:])


def _coefficients(model: Any) -> tuple[Host, Host]:
    """Coefficients ``(d,)`` or ``(d, k)``, and intercepts that go with them."""
    coef, intercept = model if isinstance(model, tuple) else (model.coef, model.intercept)
    coef, intercept = np.asarray(coef), np.asarray(intercept)
    if coef.ndim not in (1, 2) or intercept.shape not in ((), coef.shape[1:]):
        raise ShapeError(
            f"coef has shape {coef.shape} and intercept {intercept.shape}; needed are (d,) and a number, or "
            "(d, k) and (k,)"
        )
    return coef, intercept
