"""Batched outer and cross products of vectors that need not fit in memory, block by block."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from math import prod
from os import PathLike
from typing import Any

import numpy as np

from .. import _checks, _dispatch, products
from .._progress import progress_bar
from ..errors import ShapeError
from . import _gpu
from ._memory import parse_memory
from ._outputs import BLOCK_BYTES, Cut, Host, Shape
from ._vectors import Vectors, open_vectors
from ._writing import block_within, refuse_inputs, write

DEVICE_BLOCK_BYTES = 1 << 25
"""Of a result that a GPU computes: its copies take a millisecond, beside which what starts them is little."""

RELEASED_BYTES = 1 << 22
"""Of vectors that were read; fewer are not worth telling the system about."""


class Operand:
    """One factor, of which rows are read as they are needed; a part that many blocks share is read once."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self.shape: Shape = tuple(vectors.shape)
        self._row_bytes = prod(self.shape[1:]) * vectors.dtype.itemsize
        self._range = (0, 0)
        self._rows: Host | None = None
        self._oldest = 0  # that may still be in memory

    def part(self, lead: Cut, components: slice) -> Host:
        """What broadcasts to those rows of the result, and of each vector those components."""
        axes = len(self.shape) - 1
        if not axes:
            return self.vectors.read(0, self.shape[0])[components]
        own = zip(self.shape, lead[len(lead) - axes :], strict=False)
        rows, *others = (slice(0, 1) if length == 1 else cut for length, cut in own)
        return self._read(rows.start, rows.stop)[(slice(None), *others, components)]

    def _read(self, start: int, stop: int) -> Host:
        if self._rows is None or self._range != (start, stop):
            last = self._range[1]
            if start < self._oldest or (last - self._oldest) * self._row_bytes >= RELEASED_BYTES:
                self.vectors.release(self._oldest, last)
                self._oldest = start
            self._rows, self._range = self.vectors.read(start, stop), (start, stop)
        return self._rows


@dataclass(frozen=True)
class Product:
    """A product of two arrays of vectors, in blocks.

    Attributes
    ----------
    function : callable
        The same in memory.
    a, b : Operand
        The factors.
    lead : tuple of int
        Axes that broadcast.
    tail : tuple of int
        Axes of each result.
    dtype : numpy.dtype
        Of the result.
    choice : Choice
        The backend that the call on all of it would run on, as then each block does.
    """

    function: Callable[..., Any]
    a: Operand
    b: Operand
    lead: Shape
    tail: Shape
    dtype: np.dtype[Any]
    choice: _dispatch.Choice = field(init=False)

    def __post_init__(self) -> None:
        stand_ins = (np.broadcast_to(np.zeros((), one.vectors.dtype), one.shape) for one in (self.a, self.b))
        object.__setattr__(self, "choice", _dispatch.explain(self.function, *stand_ins))

    @classmethod
    def outer(cls, a: Vectors, b: Vectors) -> "Product":
        """``(..., m)`` and ``(..., n)`` give ``(..., m, n)``."""
        for name, vectors in (("a", a), ("b", b)):
            _checks.at_least_1d(name, _Shaped(tuple(vectors.shape)))
        lead = _checks.broadcast("a", tuple(a.shape[:-1]), "b", tuple(b.shape[:-1]))
        dtype = np.multiply.resolve_dtypes((a.dtype, b.dtype, None))[2]
        return cls(products.batched_outer, Operand(a), Operand(b), lead, (a.shape[-1], b.shape[-1]), dtype)

    @classmethod
    def cross(cls, a: Vectors, b: Vectors) -> "Product":
        """``(..., 3)`` and ``(..., 3)`` give ``(..., 3)``."""
        for vectors in (a, b):
            if tuple(vectors.shape[-1:]) != (3,) or vectors.dtype == bool:
                raise ShapeError(
                    f"{vectors.name} has shape {tuple(vectors.shape)} and dtype {vectors.dtype}; needed are "
                    "numbers of shape (..., 3), vectors of 3 components"
                )
        lead = _checks.broadcast("a", tuple(a.shape[:-1]), "b", tuple(b.shape[:-1]))
        dtype = np.result_type(a.dtype, b.dtype)
        return cls(products.cross, Operand(a), Operand(b), lead, (3,), dtype)

    @property
    def kind(self) -> str:
        """What it is called."""
        return self.function.__name__

    @property
    def shape(self) -> Shape:
        """Of the result."""
        return (*self.lead, *self.tail)

    def fingerprint(self) -> dict[str, Any]:
        """What decides a bit of it."""
        return {
            "a": self.a.vectors.fingerprint(),
            "b": self.b.vectors.fingerprint(),
            "backend": self.choice.backend,
        }

    def block(self, grain: Shape, memory: int | None) -> Shape:
        """How large a block is, of an output of that grain and within a budget of memory."""
        whole = grain if len(self.tail) == 2 else (*grain[:-1], 3)
        wanted = DEVICE_BLOCK_BYTES if self.choice.backend == "cupy" else BLOCK_BYTES
        read = [self.a.vectors, self.b.vectors]
        return block_within(
            self.shape,
            whole,
            self.dtype.itemsize,
            wanted,
            memory,
            sum(vectors.held_bytes for vectors in read),
            "; ".join(vectors.why_held for vectors in read if vectors.why_held),
        )

    def blocks(
        self, parts: Iterator[Cut], place: Callable[[Cut], Host | None] = lambda cut: None
    ) -> Generator[tuple[Cut, Host], None, None]:
        """Each part with its numbers, which last until the next; `place` says where they may be computed."""
        if self.choice.backend == "cupy":
            tasks = ((cut, dict(zip("ab", self._operands(cut), strict=True))) for cut in parts)
            with (
                closing(_gpu.Lanes()) as lanes,
                closing(lanes.overlapped(tasks, lambda arrays: (self._compute(**arrays),))) as results,
            ):
                for cut, (block,) in results:
                    yield cut, block
            return
        buffer = np.empty(0, self.dtype)  # used again, so that its pages are there already
        for cut in parts:
            there = place(cut)
            if there is None:
                shape = tuple(one.stop - one.start for one in cut)
                if buffer.size < prod(shape):
                    buffer = np.empty(prod(shape), self.dtype)
                there = buffer[: prod(shape)].reshape(shape)
            self._compute(*self._operands(cut), out=there)
            yield cut, there

    def _operands(self, cut: Cut) -> tuple[Host, Host]:
        """The vectors behind one part of the result."""
        lead, tail = cut[: len(self.lead)], cut[len(self.lead) :]
        return self.a.part(lead, tail[0]), self.b.part(lead, tail[-1])

    def _compute(self, a: Any, b: Any, out: Any = None) -> Any:
        asked = _dispatch.mode.get()
        if asked is not None and asked.backend is not None:
            return self.function(a, b, out=out)
        with _dispatch.use_backend(self.choice.backend):
            return self.function(a, b, out=out)


@dataclass(frozen=True)
class _Shaped:
    """What has a shape only, for a check of that."""

    shape: Shape

    @property
    def ndim(self) -> int:
        return len(self.shape)


def batched_outer(
    a: Any,
    b: Any,
    out: Any,
    *,
    columns: Any = None,
    header: bool | None = None,
    memory: str | int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    every: float = 30.0,
    progress: bool = False,
) -> None:
    """Outer products of vectors that need not fit in memory: ``out[..., i, j] = a[..., i] * b[..., j]``.

    Parameters
    ----------
    a : (..., m) path or array
        First vectors: a ``.npy``, ``.npz``, ``.csv``, ``.parquet`` or ``.zarr``, as a path, or an array of
        NumPy or Zarr. In a table, each row is a vector.
    b : (..., n) path or array
        Second vectors; the leading axes of a and b broadcast.
    out : (..., m, n) path or array
        Where the result goes: a new ``.npy`` file or ``.zarr`` folder, which replaces an earlier one when it
        is whole, or an array of NumPy (a memory map, too) or Zarr, filled as it is computed.
    columns : str or sequence, optional
        Columns of the tables that are the components, by name or index; of all that have any.
    header : bool, optional
        Whether the first line of a CSV file names its columns; by default it must not be all numbers.
    memory : str or int, optional
        What the process may hold, as ``"1GB"`` or in bytes, its own size included.
    checkpoint : path, optional
        A file that says how far the result is written. Where it is there already, from the same call that was
        killed, that goes on where it was. It is removed when the result is whole.
    every : float, default 30
        Seconds between two checkpoints.
    progress : bool, default False
        Whether to show a bar on a terminal.

    Raises
    ------
    ShapeError, DTypeError
        If the shapes do not broadcast, or ``out`` has another shape or cannot hold the result.
    ArgumentError
        If the memory does not suffice, or an array without a file is to have a checkpoint.
    BadInputError
        If an input cannot be read, is the output as well, or has changed since the checkpoint.
    OSError
        If the disk is full. An earlier output is then what it was, and nothing is left beside it but what a
        checkpoint goes on with.

    See Also
    --------
    vecprod_gpu.batched_outer : The same in memory, with the same bits.

    Notes
    -----
    A result is written in blocks of some MiB; on a GPU, if the result as a whole would be computed there,
    the copies to it and from it overlap with the kernels.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np, vecprod_gpu as vp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     out = pathlib.Path(folder) / "products.npy"
    ...     vp.stream.batched_outer(np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([3.0, 4.0]), out)
    ...     np.load(out)
    array([[[3., 4.],
            [6., 8.]],
    <BLANKLINE>
           [[0., 0.],
            [3., 4.]]])
    """
    _stream(Product.outer, a, b, out, columns, header, memory, checkpoint, every, progress)


def cross(
    a: Any,
    b: Any,
    out: Any,
    *,
    columns: Any = None,
    header: bool | None = None,
    memory: str | int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    every: float = 30.0,
    progress: bool = False,
) -> None:
    """Cross products of 3-vectors that need not fit in memory.

    ``out[..., :] = (a1 b2 - a2 b1, a2 b0 - a0 b2, a0 b1 - a1 b0)``

    Parameters
    ----------
    a, b : (..., 3) path or array
        Vectors along the last axis, otherwise as for `batched_outer`; the other axes broadcast.
    out : (..., 3) path or array
        Where the result goes, as for `batched_outer`.
    columns, header, memory, checkpoint, every, progress
        As for `batched_outer`.

    Raises
    ------
    ShapeError
        If vectors have not three components, or as for `batched_outer`.
    DTypeError, ArgumentError, BadInputError, OSError
        As for `batched_outer`.

    See Also
    --------
    vecprod_gpu.cross : The same in memory, with the same bits.

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> out = np.empty((2, 3))
    >>> vp.stream.cross(np.eye(3)[:2], np.array([0.0, 0.0, 1.0]), out)
    >>> out
    array([[ 0., -1.,  0.],
           [ 1.,  0.,  0.]])
    """
    _stream(Product.cross, a, b, out, columns, header, memory, checkpoint, every, progress)


def _stream(
    kind: Callable[[Vectors, Vectors], Product],
    a: Any,
    b: Any,
    out: Any,
    columns: Any,
    header: bool | None,
    memory: str | int | None,
    checkpoint: str | PathLike[str] | None,
    every: float,
    progress: bool,
) -> None:
    refuse_inputs(out, a=a, b=b)
    product = kind(*(open_vectors(source, columns=columns, header=header) for source in (a, b)))
    budget = None if memory is None else parse_memory(memory)
    with progress_bar(progress) as bar:
        write(product, out, bar, memory=budget, checkpoint=checkpoint, every=every)
