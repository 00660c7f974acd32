"""Numbers read from a file, together with what a message or a header calls their rows and columns."""

import csv
import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInputError

Host = np.ndarray[Any, Any]
Names = tuple[str, ...]

_NAMES_LISTED = 12


@dataclass(frozen=True)
class Data:
    """Numbers of one file, or of some of its columns.

    Attributes
    ----------
    file : str
        The file as it was named on the command line.
    values : ndarray
        The numbers; for a table ``(rows, columns)``.
    names : tuple of str, optional
        What the columns are called, where the file says so.
    positions : tuple of int, optional
        Where the columns stand in the file, where they were chosen.
    row_words : str, optional
        How a message counts the rows, ``{row}`` being the number from 1; indices are given without it.
    """

    file: str
    values: Host
    names: Names | None = None
    positions: tuple[int, ...] | None = None
    row_words: str | None = None

    def place(self, index: tuple[int, ...]) -> str:
        """Where in the file an element is, in words."""
        if self.row_words is None:
            if self.positions is not None:
                index = (*index[:-1], self.positions[index[-1]])
            return f"[{', '.join(map(str, index))}]"
        row, column = index
        return f"{self._column(column)}, {self.row_words.format(row=row + 1)}"

    def vector(self) -> Host:
        """The numbers without the second axis of a table that has a single column."""
        single = self.values.ndim == 2 and self.values.shape[1] == 1
        return self.values[:, 0] if single else self.values

    def _column(self, column: int) -> str:
        if self.names is not None:
            return f"column {self.names[column]!r}"
        return f"column {column if self.positions is None else self.positions[column]}"


class Input(ABC):
    """A file that was found fit to be read, before its numbers are.

    Attributes
    ----------
    file : str
        The file as it was named on the command line.
    path : Path
        Where it is.
    names : tuple of str, optional
        What its columns are called, where it says so.
    width : int, optional
        How many columns it has; None where it is no table.
    """

    file: str
    path: Path
    names: Names | None
    width: int | None

    @abstractmethod
    def read(self, *groups: Sequence[int] | None) -> list[Data]:
        """The numbers of each group of columns, None being all of the file, which is read once."""

    def column(self, word: str) -> int:
        """Position of the column with that name or, where none is called so, with that index."""
        position = self.find(word)
        if position is None:
            raise self.without(word)
        return position

    def find(self, word: str) -> int | None:
        """As `column`, but None where there is no such column."""
        named = self.named(word)
        if named is not None or self.width is None or not re.fullmatch(r"[+-]?\d{1,18}", word):
            return named
        index = int(word)
        return index % self.width if -self.width <= index < self.width else None

    def named(self, name: str) -> int | None:
        """Position of the column of that name."""
        found = [position for position, other in enumerate(self.names or ()) if other == name]
        if len(found) > 1:
            raise BadInputError(f"{self.file} has {len(found)} columns {name!r}; choose one by its index")
        return found[0] if found else None

    def columns(self, words: str) -> list[int]:
        """Positions of columns from one line of names and indices, quoted as in a CSV file."""
        if self.width is None:
            raise BadInputError(f"{self.file} is no table of rows and columns, to choose columns from")
        chosen = [self.column(word.strip()) for word in next(csv.reader([words]), [])]
        if not chosen:
            raise BadInputError("--columns names no column")
        return chosen

    def without(self, word: str) -> BadInputError:
        """The error that there is no such column, with the columns that there are."""
        return BadInputError(f"{self.file} has no column {word!r}; {self._columns_there_are(word)}")

    def _columns_there_are(self, word: str) -> str:
        if self.names is None:
            return f"its columns have no names, but indices from 0 to {(self.width or 0) - 1}"
        if near := difflib.get_close_matches(word, self.names, n=3):
            return "near to it: " + ", ".join(map(repr, near))
        listed = ", ".join(map(repr, self.names[:_NAMES_LISTED]))
        more = len(self.names) - _NAMES_LISTED
        return f"it has {listed}" + (f" and {more} more" if more > 0 else "")


def unnamed(count: int) -> Names:
    """What columns without names are called where a table needs names: x0, x1, and so on."""
    return tuple(f"x{position}" for position in range(count))
