"""Predictions of a linear model for rows that are not all in memory, written batch by batch."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import cached_property
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from .._finite import first_not_finite
from .._progress import Bar, progress_bar
from ..errors import ArgumentError, BadInputError, ShapeError
from . import _fingerprints
from ._memory import parse_memory
from ._observations import Observations, open_observations
from ._output_file import Output
from ._outputs import BLOCK_BYTES, Cut, Host, Shape
from ._outputs import SUFFIXES as ARRAYS
from ._paths import SUFFIXES
from ._reader import Assembler
from ._results import Result
from ._results import write as write_file
from ._run import How, Passes
from ._writing import block_within, refuse_inputs, write


class Prediction:
    """Predictions ``X @ coef + intercept`` for the rows of a source, in blocks of whole rows.

    Parameters
    ----------
    observations : Observations
    coef : (d,) or (d, k) ndarray
    intercept : () or (k,) ndarray
    memory : str, int or None
        What the process may hold.
    bar : Bar, optional
        Is told of the bytes that are read.
    """

    kind = "predictions"

    def __init__(
        self,
        observations: Observations,
        coef: Host,
        intercept: Host,
        memory: str | int | None = None,
        bar: Bar | None = None,
    ) -> None:
        if observations.width != len(coef):
            raise ShapeError(
                f"X has {observations.width} columns; needed are {len(coef)}, one for each coefficient"
            )
        self.coef, self.intercept = coef, intercept
        self.dtype = np.result_type(observations.dtype, coef)
        self.passes = Passes(observations, How(memory, bar=bar or Bar()), self.kind)

    @cached_property
    def shape(self) -> Shape:
        """Of all predictions; the rows are counted for it where nothing else tells how many there are."""
        return (self.passes.count(), *self.coef.shape[1:])

    def fingerprint(self) -> dict[str, Any]:
        """What decides a bit of them."""
        return {
            "rows": self.passes.observations.fingerprint(),
            "coef": _fingerprints.of_numbers(self.coef),
            "intercept": _fingerprints.of_numbers(self.intercept),
            "numpy": np.__version__,
        }

    def block(self, grain: Shape, memory: int | None) -> Shape:
        """How large a block is, of an output of that grain and within a budget of memory."""
        whole = (*grain[:1], *self.shape[1:])
        return block_within(self.shape, whole, self.dtype.itemsize, BLOCK_BYTES, memory)

    def blocks(
        self, parts: Iterator[Cut], place: Callable[[Cut], Host | None] = lambda cut: None
    ) -> Generator[tuple[Cut, Host], None, None]:
        """Each part with its predictions, from the rows after those of the parts before the first."""
        first = next(parts, None)
        if first is None:
            return
        template = np.empty((0, *self.shape[1:]), self.dtype)
        with closing(self.rows(first[0].start)) as rows:
            predicted = Assembler(([some] for some in rows), [template], "C", lambda: self.passes.rows_read)
            for cut in chain([first], parts):
                (values,) = predicted.take(cut[0].stop - cut[0].start)
                if len(values) < cut[0].stop - cut[0].start:
                    raise self._other_length(f"ends after {cut[0].start + len(values)} rows")
                yield cut, values
            if len(predicted.take(1)[0]):
                raise self._other_length("goes on")

    def rows(self, first_row: int = 0) -> Generator[Host, None, None]:
        """The predictions for the rows from one on, in parts as those come."""
        observations = self.passes.observations
        each = np.ascontiguousarray(np.atleast_2d(self.coef.T))
        with closing(self.passes.batches("predicting", first_row)) as batches:
            for batch in batches:
                index = first_not_finite(batch.X)
                if index is not None:
                    raise observations.not_finite("X", batch.first_row + index[0], index[1], batch.X[index])
                dtype = np.result_type(batch.X, self.coef)
                X = np.ascontiguousarray(batch.X, dtype)
                found = np.einsum("nd,kd->nk", X, each.astype(dtype, copy=False)) + self.intercept
                yield found.astype(self.dtype, copy=False).reshape(len(X), *self.coef.shape[1:])

    def _other_length(self, what: str) -> BadInputError:
        """The error of a source that has not the rows that it had when they were counted."""
        return BadInputError(f"{self.passes.observations.files['X']} {what}; it had {self.shape[0]} before")


def predict(
    model: Any,
    source: Any,
    out: Any,
    *,
    columns: str | Sequence[str | int] | None = None,
    header: bool | None = None,
    memory: str | int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    every: float = 30.0,
    progress: bool = False,
) -> None:
    """Predictions ``X @ coef + intercept`` for each row of a source, written batch by batch.

    Parameters
    ----------
    model : FitResult, SearchResult or other object with ``coef`` and ``intercept``, or a pair of them
        Coefficients ``(d,)`` and a number for one target; ``(d, k)`` and ``(k,)`` for k of them.
    source, columns, header, memory, progress
        As for `co_moments`; the columns are those of the coefficients, in their order.
    out : path or array
        Where they go, ``(n,)``, or ``(n, k)`` of k targets, in the promoted dtype of the source and the
        coefficients: a ``.npy``, ``.zarr``, ``.npz``, ``.csv`` or ``.parquet``, which is written beside its
        place and renamed when it is whole; or an array of NumPy (a memory map, too) or Zarr, filled as they
        are computed. In a table the columns are called predicted or predicted0, predicted1, and so on.
    checkpoint, every
        As for `batched_outer`, of an array or a path of ``.npy`` or ``.zarr``.

    Raises
    ------
    ShapeError
        If the source has not as many columns as there are coefficients, or ``out`` another shape.
    BadInputError, ArgumentError, OSError
        As for `co_moments` and `batched_outer`. ArgumentError also where the number of rows, which must be
        known but for a table, is that of an iterator.

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
    is_path = isinstance(out, str | PathLike)
    is_file = is_path and Path(out).suffix.lower() not in ARRAYS
    output = Output.parse(str(out), True, SUFFIXES) if is_file else None
    observations = open_observations(source, columns=columns, header=header)
    refuse_inputs(out, X=source)
    if is_path:
        Output(Path(out), force=True).check(observations.paths)
    with progress_bar(progress) as bar:
        if output is None:
            work = Prediction(observations, coef, intercept, memory)
            budget = None if memory is None else parse_memory(memory)
            write(work, out, bar, memory=budget, checkpoint=checkpoint, every=every)
            return
        if checkpoint is not None:
            raise ArgumentError(f"a checkpoint goes with an array or {' or '.join(ARRAYS)}; out is {out}")
        with output.replaced() as stream:
            work = Prediction(observations, coef, intercept, memory, bar)
            names = (
                ("predicted",) if coef.ndim == 1 else tuple(f"predicted{at}" for at in range(coef.shape[1]))
            )
            write_file(stream, output, as_result(work, names, output.is_table), Bar())


def as_result(work: Prediction, names: Sequence[str], into_table: bool) -> Result:
    """Predictions for all rows, in parts: an array's header says how many there are, a table's does not."""
    known = work.passes.observations.rows
    shape = (known or 0, *work.coef.shape[1:]) if into_table else work.shape
    return Result(shape, work.dtype, work.rows(), "reference", names)  # the sums of products are NumPy's


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
