"""A result that is computed and written block by block, and gone on with after a kill."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .._progress import Bar
from .._replace import clear_up, draft_of
from ..errors import ArgumentError, BadInputError
from ._checkpoint import Checkpoint, State, is_output, outputs_of
from ._memory import batch_bytes
from ._outputs import (
    Cut,
    Host,
    Shape,
    Sink,
    block_shape,
    check,
    count,
    cut_size,
    cuts,
    opened,
    path_of,
    place_of,
)

COPIES = 4
"""Of a block, that are in memory at once: the result, the vectors it is made of, and what encodes it."""


class Work(Protocol):
    """An array that is computed in blocks, from any of them on."""

    @property
    def kind(self) -> str:
        """What it is called."""

    @property
    def shape(self) -> Shape:
        """Of the result."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the result."""

    def fingerprint(self) -> dict[str, Any]:
        """What decides a bit of it, as JSON has it."""

    def block(self, grain: Shape, memory: int | None) -> Shape:
        """How large a block is, of an output of that grain and within a budget of memory."""

    def blocks(
        self, parts: Iterator[Cut], place: Callable[[Cut], Host | None]
    ) -> Generator[tuple[Cut, Host], None, None]:
        """Each part with its numbers, which last until the next; `place` says where they may be computed."""


def block_within(
    shape: Shape,
    grain: Shape,
    itemsize: int,
    wanted: int,
    memory: int | None,
    beside: int = 0,
    why: str = "",
) -> Shape:
    """The largest block of whole grains of so many bytes, and within a budget of memory.

    Beside the blocks something else is held in it, for a reason that a message tells.

    Raises
    ------
    ArgumentError
        If the budget does not suffice for a single grain.
    """
    share = wanted if memory is None else batch_bytes(memory, COPIES, beside, memory, why)
    block = block_shape(shape, grain, itemsize, min(wanted, share))
    needed = prod(block) * itemsize
    if memory is not None and needed > share:
        raise ArgumentError(
            f"memory is {memory} bytes, but a chunk of the output alone has {needed} bytes, of which "
            f"{COPIES} are held; give it smaller chunks"
        )
    return block


def write(
    work: Work,
    out: Any,
    bar: Bar,
    *,
    memory: int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    every: float = 30.0,
    confirm: Callable[[], None] = lambda: None,
) -> int:
    """Write a result block by block.

    Parameters
    ----------
    work : Work
        What is computed.
    out, memory, checkpoint, every
        As for `batched_outer`.
    bar : Bar
        Is told of the bytes that are written.
    confirm : callable, optional
        Called where an earlier file is about to be replaced; it may raise.

    Returns
    -------
    int
        Numbers of the result that an earlier run had written already.
    """
    check(out, work.shape, work.dtype)
    job = _Job.begun(work, out, checkpoint, every)
    if job.is_whole():
        clear_up(Path(out))
        job.kept.remove()
        return prod(work.shape)
    with opened(out, work.shape, work.dtype, confirm, job.kept.file) as sink:
        resumed = job.write(sink, memory, bar)
    job.kept.remove()
    return resumed


class _Job:
    """A result on its way into an output, from the first block or from where an earlier run was."""

    def __init__(self, work: Work, out: Any, kept: Checkpoint) -> None:
        self.work, self.out, self.kept = work, out, kept
        state = kept.resume()
        self.block: Shape | None = tuple(state.values["block"]) if state else None
        self.done = int(state.values["done"]) if state else 0
        self._outputs = state.values.get("outputs", {}) if state else {}

    @classmethod
    def begun(cls, work: Work, out: Any, checkpoint: str | PathLike[str] | None, every: float) -> "_Job":
        """A job, which goes on where its checkpoint says."""
        place = place_of(out)
        if checkpoint is not None and place is None:
            raise ArgumentError(
                "a checkpoint needs an output that outlives the process: a path or a memory map"
            )
        fingerprint = {} if checkpoint is None else {**work.fingerprint(), "output": place}
        return cls(work, out, Checkpoint(checkpoint, every, fingerprint, work.kind))

    def is_whole(self) -> bool:
        """Whether an earlier run was killed after its output was in its place.

        Raises
        ------
        BadInputError
            If what it had written is gone.
        """
        draft, kept = self._draft(), self.kept.file
        if self.block is None or draft is None or draft.exists():
            return False
        if is_output(self._outputs, Path(self.out)):
            return True
        raise BadInputError(
            f"what {kept} goes on with is no longer beside {self.out}; remove {kept} to begin anew"
        )

    def write(self, sink: Sink, memory: int | None, bar: Bar) -> int:
        """Write what is not written yet, and return how many numbers were."""
        shape, itemsize = self.work.shape, self.work.dtype.itemsize
        self.block = self.block or self.work.block(sink.grain, memory)
        resumed = sum(map(cut_size, cuts(shape, self.block, stop=self.done)))
        bar.stage(f"writing {place_of(self.out) or 'the result'}", prod(shape) * itemsize, in_bytes=True)
        bar.advance(resumed * itemsize)
        try:
            with closing(self.work.blocks(cuts(shape, self.block, self.done), sink.place)) as blocks:
                for cut, values in blocks:
                    sink.write(cut, values)
                    self.done += 1
                    bar.advance(values.nbytes)
                    if self.kept.due():
                        self._save(sink)
        except BaseException:
            with suppress(OSError):  # a disk that is full has no room for it, and the one before still stands
                self._save(sink)
            raise
        self._save(sink)
        return resumed

    def _save(self, sink: Sink) -> None:
        """Say how far it is, once that is safe."""
        if self.kept.file is not None:
            sink.sync()
            values = {"block": self.block, "done": self.done, "outputs": self._whole_outputs()}
            self.kept.save(State(values=values))

    def _whole_outputs(self) -> dict[str, Any]:
        """What tells the output once all of it is written: another file may stand in its place later."""
        draft = self._draft()
        if draft is None or self.block is None or self.done < count(self.work.shape, self.block):
            return {}
        return outputs_of({Path(self.out): draft})

    def _draft(self) -> Path | None:
        """What is gone on with, and renamed in the end; None of an array, and without a checkpoint."""
        if self.kept.file is None or not isinstance(self.out, str | PathLike):
            return None
        return draft_of(Path(self.out), self.kept.file)


def refuse_inputs(out: Any, **inputs: Any) -> None:
    """Raise where an input would be overwritten before it is read."""
    path = path_of(out)
    for name, source in inputs.items():
        if path is not None and path == path_of(source):
            raise BadInputError(f"{path} is both an input and the output")
        both = isinstance(out, np.ndarray) and isinstance(source, np.ndarray)
        if both and np.may_share_memory(out, source):
            raise ArgumentError(f"out overlaps {name}; give an array of its own")
