"""What every format is read through: rows in order, as many at a time as are asked for."""

import csv
import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from ..errors import BadInputError

Host = np.ndarray[Any, Any]
Names = tuple[str, ...]
Group = tuple[int, ...] | None  # positions of columns; None for all that there is, as it stands
Block = Host | list[Host]  # rows of a group, as an array or column by column

_NAMES_LISTED = 12


class Cursor(Protocol):
    """A place between two rows of a reader, which moves on with what is taken."""

    def take(self, rows: int) -> list[Host]:
        """The next rows of each group, fewer only where there are no more."""

    def progress(self) -> int:
        """How much has been read, of the reader's `nbytes`."""


class Reader(ABC):
    """Numbers in rows, that were found fit to be read before they are.

    Attributes
    ----------
    file : str
        What the user calls it.
    paths : tuple of Path
        The files that are read.
    names : tuple of str, optional
        What the columns are called, where the source says so; behind those of `width` columns there may be
        some that are taken only by their names.
    shape : tuple of int
        Of the array; for a table ``(rows, columns)``. The rows are -1 where only reading tells.
    nbytes : int, optional
        How much there is to read.
    is_table : bool
        Whether cells may be empty, and rows are counted from 1.
    overhead : int
        How many bytes are held for each byte of rows that are taken.
    held_bytes : int
        What is held beside those from the first row to the last.
    why_held : str
        Why, and what would make it less, in words; nothing where it is little.
    """

    file: str
    paths: tuple[Path, ...]
    names: Names | None
    shape: tuple[int, ...]
    nbytes: int | None
    is_table = False
    overhead = 1
    held_bytes = 0
    why_held = ""

    @property
    def rows(self) -> int | None:
        """How many rows there are; None where only reading tells, or there are no axes."""
        return self.shape[0] if self.shape and self.shape[0] >= 0 else None

    @property
    def width(self) -> int | None:
        """How many columns there are; None where it is no table."""
        return self.shape[1] if len(self.shape) == 2 else None

    @property
    def whole_bytes(self) -> int | None:
        """What is held while all of it is read at once."""
        return self.nbytes

    @abstractmethod
    def dtype(self, group: Group) -> np.dtype[Any]:
        """The dtype that holds all columns of a group, if no cell is empty."""

    @abstractmethod
    def cursor(self, groups: Sequence[Group], first_row: int, most_rows: int) -> Cursor:
        """A cursor before a row; as many rows as `most_rows` will be taken at a time."""

    @abstractmethod
    def read(self, *groups: Group) -> list[Host]:
        """All rows of each group."""

    @abstractmethod
    def place(self, row: int, column: int | None) -> str:
        """Where an element is, in words that begin with the file."""

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """What tells this source from another, or from itself once it was changed, as JSON has it."""

    def column(self, word: str | int) -> int:
        """Position of the column with that name or, where none is called so, with that index."""
        position = self.find(word)
        if position is None:
            raise self.without(word)
        return position

    def find(self, word: str | int) -> int | None:
        """As `column`, but None where there is no such column."""
        named = None if isinstance(word, int) else self.named(word)
        if named is not None or self.width is None or not re.fullmatch(r"[+-]?\d{1,18}", str(word)):
            return named
        index = int(word)
        return index % self.width if -self.width <= index < self.width else None

    def named(self, name: str) -> int | None:
        """Position of the column of that name."""
        found = [position for position, other in enumerate(self.names or ()) if other == name]
        if len(found) > 1:
            raise BadInputError(f"{self.file} has {len(found)} columns {name!r}; choose one by its index")
        return found[0] if found else None

    def names_of(self, group: Group) -> Names | None:
        """What the columns of a group are called, where the source says so."""
        if self.names is None:
            return None
        return self.names[: self.width] if group is None else tuple(self.names[at] for at in group)

    def columns(self, words: str | Sequence[str | int]) -> tuple[int, ...]:
        """Positions of columns from names and indices, or from one line of them, quoted as in a CSV file."""
        if self.width is None:
            raise BadInputError(f"{self.file} is no table of rows and columns, to choose columns from")
        if isinstance(words, str):
            words = [word.strip() for word in next(csv.reader([words]), [])]
        chosen = tuple(self.column(word) for word in words)
        if not chosen:
            raise BadInputError("columns (--columns) names no column")
        return chosen

    def without(self, word: str | int) -> BadInputError:
        """The error that there is no such column, with the columns that there are."""
        called = repr(str(word))
        return BadInputError(f"{self.file} has no column {called}; {self._columns_there_are(str(word))}")

    def _columns_there_are(self, word: str) -> str:
        if self.names is None:
            return f"its columns have no names, but indices from 0 to {(self.width or 0) - 1}"
        if near := difflib.get_close_matches(word, self.names, n=3):
            return "near to it: " + ", ".join(map(repr, near))
        names = self.names[: self.width]
        listed = ", ".join(map(repr, names[:_NAMES_LISTED]))
        more = len(names) - _NAMES_LISTED
        return f"it has {listed}" + (f" and {more} more" if more > 0 else "")


class Assembler:
    """A cursor over pieces that come in lengths of their own.

    Parameters
    ----------
    pieces : iterator of list of Block
        For each group a block, all of the same rows.
    templates : sequence of ndarray
        For each group an array without rows, with the axes and the dtype of what is taken, where the
        pieces hold no wider one.
    order : {"C", "F"}
        Layout of what is put together from several pieces, or from columns.
    progress : callable
        How much the pieces have read.
    """

    def __init__(
        self,
        pieces: Iterator[list[Block]],
        templates: Sequence[Host],
        order: Literal["C", "F"],
        progress: Callable[[], int],
    ) -> None:
        self._pieces, self._templates, self._order = pieces, templates, order
        self._piece: list[Block] = [template[:0] for template in templates]
        self._start = 0
        self.progress = progress

    def take(self, rows: int) -> list[Host]:
        """The next rows of each group, fewer only where there are no more."""
        self._advance()
        if self._left >= rows and all(isinstance(block, np.ndarray) for block in self._piece):
            return [self._part(block, rows) for block in self._moved(rows)]
        taken = [
            np.empty((rows, *template.shape[1:]), template.dtype, self._order) for template in self._templates
        ]
        filled = 0
        while filled < rows and self._advance():
            count = min(rows - filled, self._left)
            start = self._start
            for group, block in enumerate(self._moved(count)):
                taken[group] = _filled(taken[group], filled, block, start, start + count)
            filled += count
        return [array[:filled] for array in taken]

    @property
    def _left(self) -> int:
        return _length(self._piece[0]) - self._start

    def _advance(self) -> bool:
        """Go on to the next piece where this one is used up; whether there are rows."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._piece, self._start = piece, 0
        return True

    def _moved(self, count: int) -> list[Block]:
        self._start += count
        return self._piece

    def _part(self, block: Block, rows: int) -> Host:
        return block[self._start - rows : self._start]  # type: ignore[return-value]


def _length(block: Block) -> int:
    return len(block[0]) if isinstance(block, list) else len(block)


def _filled(target: Host, at: int, block: Block, start: int, stop: int) -> Host:
    """The target with rows of a block from `at` on, itself or a copy of a dtype that holds both."""
    columns = block if isinstance(block, list) else [block]
    dtype = np.result_type(target, *columns)
    if dtype != target.dtype:
        target = target.astype(dtype)
    rows = slice(at, at + stop - start)
    if isinstance(block, list):
        for position, column in enumerate(block):
            target[rows, position] = column[start:stop]
    else:
        target[rows] = block[start:stop]
    return target


def unnamed(count: int) -> Names:
    """What columns without names are called where a table needs names: x0, x1, and so on."""
    return tuple(f"x{position}" for position in range(count))
