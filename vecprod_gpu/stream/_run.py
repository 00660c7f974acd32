"""The loop of a job: batches read ahead on one thread, what is made of them, and checkpoints on the way."""

import mmap
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from .. import _dispatch
from .._costs import Work
from .._progress import Bar
from .._version import __version__
from ..errors import ArgumentError, NotFiniteError
from ..linreg._streaming.rows import Rows, join
from ..linreg._streaming.streamed import SEGMENT_BYTES, Streamed
from ..linreg.moments import CoMoments
from ._checkpoint import Checkpoint, State, outputs_of
from ._gpu import most_batch_bytes, sharing_gpus
from ._memory import LEAST_BATCH_BYTES, batch_bytes, parse_memory
from ._observations import Batch, Observations

Host = np.ndarray[Any, Any]

BATCHES_HELD = 3  # one that is summed, one that is read, and what numbers of the one are converted to
SEGMENTS_HELD = 2  # rows that wait for their segment to be full, and that segment
REFERENCE_COPIES = 5  # in float64, that NumPy makes of a segment on the way to its co-moments


@dataclass(frozen=True)
class How:
    """How a source is read.

    Attributes
    ----------
    memory : str, int or None
        What the process may hold, in bytes or as "1GB".
    checkpoint : path or None
        The file to go on from after a kill.
    every : float
        Seconds between two checkpoints.
    bar : Bar
        What shows the progress.
    """

    memory: str | int | None = None
    checkpoint: str | PathLike[str] | None = None
    every: float = 30.0
    bar: Bar = field(default_factory=Bar)


class Accumulator(Protocol):
    """What is made of rows that come in order.

    Attributes
    ----------
    kind : type
        Of the summaries that it consists of.
    """

    kind: type[Streamed]

    def update(self, batch: Batch) -> None:
        """Take in the next rows."""

    def packed(self) -> dict[str, Host]:
        """All that is known, as plain arrays."""

    def unpack(self, arrays: Mapping[str, Host]) -> None:
        """Go on from what was packed."""


Kept = TypeVar("Kept", bound=Accumulator)


class Passes:
    """Passes over the rows of one source, any of which may be interrupted by a kill and gone on with.

    Parameters
    ----------
    observations : Observations
    how : How
    kind : str
        What is made of the rows, in words.
    settings : dict
        What decides a bit of it, beside the rows, as JSON.

    Attributes
    ----------
    rows : int
        Rows that there are, once a pass has come to its end.
    rows_resumed : int
        Rows that were not read again, since a checkpoint knew of them.
    rows_read : int
        Rows that were read.
    shapes : dict of str to tuple
        Of each argument the axes behind the first, and the dtype, once rows have come.
    """

    def __init__(
        self, observations: Observations, how: How, kind: str, settings: Mapping[str, Any] | None = None
    ) -> None:
        if how.checkpoint is not None and not observations.resumable:
            raise ArgumentError("a checkpoint needs rows that can be read again; X is an iterator, read once")
        self.observations, self.bar, self.backend = observations, how.bar, _backend()
        self.rows = self.rows_read = self.rows_resumed = 0
        self.shapes: dict[str, tuple[list[int], str]] = {}
        self._memory = None if how.memory is None else parse_memory(how.memory)
        self._batch_bytes = 0
        fingerprint = {
            "rows": observations.fingerprint() if how.checkpoint is not None else None,
            "settings": dict(settings or {}),
            "backend": self.backend,
            "versions": {"vecprod_gpu": __version__, "numpy": np.__version__},
        }
        self._checkpoint = Checkpoint(how.checkpoint, how.every, fingerprint, kind)
        self._passes: dict[str, Any] = {}
        self._arrays: dict[str, Host] = {}
        state = self._checkpoint.resume()
        if state is not None:
            self._passes, self._arrays = dict(state.values["passes"]), dict(state.arrays)
            self.rows_resumed = sum(each["rows"] for each in self._passes.values())
            self.shapes = {name: (axes, dtype) for name, (axes, dtype) in state.values["shapes"].items()}

    def run(self, name: str, accumulator: Kept) -> Kept:
        """Give the accumulator all rows, or those after the ones that a checkpoint knows of."""
        before = self._passes.get(name, {"rows": 0, "is_whole": False})
        if before["rows"]:
            prefix = f"{name}:"
            mine = {key for key in self._arrays if key.startswith(prefix)}
            with self._checkpoint.refusing():
                accumulator.unpack({key.removeprefix(prefix): self._arrays[key] for key in mine})
        row = before["rows"]
        if not before["is_whole"]:
            description = f"reading {self.observations.files['X']}"
            with sharing_gpus(), closing(self.batches(description, row, accumulator.kind)) as batches:
                for batch in batches:
                    try:
                        accumulator.update(batch)
                    except NotFiniteError as error:
                        raise self.observations.located(error) from None
                    row = batch.first_row + len(batch.X)
                    if self._checkpoint.due():
                        self._keep(name, accumulator, row, is_whole=False)
                        self._save({})
        self.rows = row
        if self._checkpoint.file is not None:
            self._keep(name, accumulator, row, is_whole=True)
        return accumulator

    def parts(self, most: int, start: int = 0, stop: int | None = None) -> Iterator[Rows]:
        """The rows from start to stop once more, so many at a time, in memory of their own and in C order."""
        waiting: list[Rows] = []
        for rows in self._between(start, stop):
            while rows.n:
                part = rows.part(0, min(rows.n, most - sum(each.n for each in waiting)))
                rows = rows.part(part.n, rows.n)
                waiting.append(part.copy())
                if sum(each.n for each in waiting) == most:
                    yield join(waiting)
                    waiting = []
        if waiting:
            yield join(waiting)

    def count(self) -> int:
        """How many rows there are: they are read for it where nothing else tells."""
        if self.observations.rows is not None:
            return self.observations.rows
        if not self.observations.resumable:
            raise ArgumentError(
                "X is an iterator, whose rows can be read once: their number must be known before"
            )
        self.bar.stage("counting rows")
        batches = self.observations.batches(0, LEAST_BATCH_BYTES)
        return sum(len(batch.X) for batch in batches)

    def seal(self, drafts: Mapping[Path, Path]) -> None:
        """Have the checkpoint, if there is one, know the outputs, by their places and their whole drafts.

        A kill may come when they are in their places, and the checkpoint is still there.
        """
        if self._checkpoint.is_there():
            with suppress(OSError):  # as of a full disk, which is no reason to lose the result
                self._save(outputs_of(drafts))

    def finish(self) -> None:
        """Remove the checkpoint: what was made of the rows is safe."""
        self._checkpoint.remove()

    def _between(self, start: int, stop: int | None) -> Iterator[Rows]:
        """The rows from start to stop, as they come."""
        with closing(self.batches("reading once more", start)) as batches:
            for batch in batches:
                rows = Rows.read(batch.X, batch.y, batch.sample_weight)
                left = rows.n if stop is None else min(rows.n, stop - batch.first_row)
                if left <= 0:
                    return
                yield rows.part(0, left)
                rows.release()

    def batches(
        self, description: str, row: int, kind: type[Streamed] | None = None
    ) -> Generator[Batch, None, None]:
        """All batches from a row on, read ahead, behind the bar."""
        observations = self.observations
        batches = observations.batches(row, self._most_bytes(kind))
        self.bar.stage(description, observations.nbytes, in_bytes=True)
        done = 0
        with closing(read_ahead(batches)) as ahead:
            for batch in ahead:
                self.shapes = _shapes(batch)  # which a checkpoint of this batch is to know
                yield batch
                self.rows_read += len(batch.X)
                self.bar.advance(batch.bytes_done - done)
                done = batch.bytes_done

    def _most_bytes(self, kind: type[Streamed] | None = None) -> int:
        """What a batch may take, found out once the kernels and readers are in memory themselves."""
        if not self._batch_bytes:
            if self._memory is not None and self.observations.resumable:
                self._warm_up(kind)
            self._batch_bytes = self._share(kind)
        return self._batch_bytes

    def _share(self, kind: type[Streamed] | None) -> int:
        """What is left for a batch."""
        observations, copies, segments = self.observations, BATCHES_HELD, SEGMENTS_HELD
        if kind is CoMoments and self.backend == "reference":
            segments += REFERENCE_COPIES
            # Threads take the segments of a batch side by side.
            copies += REFERENCE_COPIES * max(1, 8 // observations.dtype.itemsize)
        beside = segments * SEGMENT_BYTES + observations.held_bytes
        return batch_bytes(self._memory, copies, beside, most_batch_bytes(), observations.why_held)

    def _warm_up(self, kind: type[Streamed] | None) -> None:
        """Load all that the first rows need, so that it counts among what is held already."""
        if kind is not None:
            kind.from_rows(
                Rows.read(np.zeros((2, self.observations.width), self.observations.dtype), None, None)
            )
        self._share(kind)  # so that the first rows are not read where they would take more than there is
        next(self.observations.batches(0, LEAST_BATCH_BYTES), None)

    def _save(self, outputs: Mapping[str, Any]) -> None:
        """Write the checkpoint."""
        values = {"passes": self._passes, "shapes": self.shapes, "outputs": outputs}
        self._checkpoint.save(State(self._arrays, values))

    def _keep(self, name: str, accumulator: Accumulator, row: int, is_whole: bool) -> None:
        """Remember what the checkpoint holds of a pass."""
        for key in [key for key in self._arrays if key.startswith(f"{name}:")]:
            del self._arrays[key]
        self._arrays |= {f"{name}:{key}": array for key, array in accumulator.packed().items()}
        self._passes[name] = {"rows": row, "is_whole": is_whole}


def _shapes(batch: Batch) -> dict[str, tuple[list[int], str]]:
    """Of each argument the axes behind the first, and the dtype."""
    arrays = {"X": batch.X, "y": batch.y, "sample_weight": batch.sample_weight}
    return {
        name: (list(array.shape[1:]), str(array.dtype)) for name, array in arrays.items() if array is not None
    }


def _backend() -> str:
    """Where segments of the rows are summed, which their bits may depend on."""
    work = Work(bytes=SEGMENT_BYTES)
    return _dispatch.choose("co_moments", "numpy", np.dtype(np.float64), work).backend


def read_ahead(batches: Iterator[Batch]) -> Generator[Batch, None, None]:
    """The batches, each read on another thread while the one before it is worked on."""
    with ThreadPoolExecutor(1, "vecprod-reader") as reader:
        coming = reader.submit(_next, batches)
        while (batch := coming.result()) is not None:
            coming = reader.submit(_next, batches)
            yield batch


def _next(batches: Iterator[Batch]) -> Batch | None:
    batch = next(batches, None)
    if batch is not None:
        _bring([batch.X, batch.y, batch.sample_weight])
    return batch


def _bring(arrays: Iterable[Host | None]) -> None:
    """Touch every page of the arrays: those of a file are then there before a kernel waits for them."""
    for array in arrays:
        if array is not None and array.size:
            steps = [max(1, mmap.PAGESIZE // max(1, abs(stride))) for stride in array.strides]
            np.count_nonzero(array[tuple(slice(None, None, step) for step in steps)])
