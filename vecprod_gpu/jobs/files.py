"""Files as the command line names them, and the columns that it chooses of them."""

from dataclasses import dataclass
from pathlib import Path

from ..stream._paths import list_of, require_readable, split_key
from ..stream._reader import Reader
from ..stream._sources import open_path
from .data import Data

__all__ = ["Source", "list_of", "require_readable", "split_key"]


@dataclass(frozen=True)
class Source:
    """An input of a job.

    Attributes
    ----------
    file : str
        The file, and in an archive the key, as on the command line.
    columns : str, optional
        Names and indices of the columns to take, in one line.
    header : bool, optional
        Whether a CSV file's first line names its columns; by default it must not be all numbers.
    """

    file: str
    columns: str | None = None
    header: bool | None = None

    @property
    def path(self) -> Path:
        """The file without the key."""
        return split_key(self.file)[0]

    def open(self) -> Reader:
        """Look at the file without reading its numbers, where its format allows that."""
        return open_path(self.file, self.header)

    def read(self) -> Data:
        """The numbers of the chosen columns."""
        reader = self.open()
        chosen = None if self.columns is None else reader.columns(self.columns)
        (values,) = reader.read(chosen)
        return Data(self.file, values, reader.names_of(chosen))
