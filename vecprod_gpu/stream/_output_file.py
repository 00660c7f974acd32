"""The one file that a job leaves."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .._replace import DISK_FULL, replaced
from ..errors import BadInputError
from ._paths import list_of, require_path, split_key

SUFFIXES = (".npy", ".npz", ".csv", ".parquet")
DEFAULT_KEY = "result"


@dataclass(frozen=True)
class Output:
    """Where a result goes.

    Attributes
    ----------
    path : Path
        The file.
    force : bool
        Whether it may take the place of an earlier one.
    key : str, optional
        The array's name in an ``.npz`` archive.
    """

    path: Path
    force: bool
    key: str | None = None

    @classmethod
    def parse(cls, word: str, force: bool, suffixes: tuple[str, ...] = SUFFIXES) -> "Output":
        """Read what follows ``--output``."""
        require_path(word)
        path, key = split_key(word)
        suffix = path.suffix.lower()
        if suffix not in suffixes:
            raise BadInputError(f"{word}: the output must end in {list_of(suffixes)}")
        if key and suffix == ".zarr":
            raise BadInputError(f"{word}: a .zarr output is a single array, without a key; needed is {path}")
        return cls(path, force, key or DEFAULT_KEY if suffix == ".npz" else None)

    @property
    def is_table(self) -> bool:
        """Whether the rows go into columns with names."""
        return self.path.suffix.lower() in (".csv", ".parquet")

    def check(self, inputs: Iterable[Path]) -> None:
        """Raise where the output may not be written, before any work is done."""
        try:
            if self.path.is_dir() and self.path.suffix.lower() != ".zarr":
                raise BadInputError(f"cannot write {self.path}: it is a folder")
            if not self.path.exists():
                return
        except OSError as error:
            raise BadInputError(f"cannot write {self.path}: {error.strerror}") from None
        if any(_are_one_file(self.path, path) for path in inputs):
            raise BadInputError(f"{self.path} is both an input and the output")
        if not self.force:
            raise BadInputError(f"{self.path} exists; --force replaces it")

    @contextmanager
    def replaced(self) -> Iterator[IO[bytes]]:
        """A stream that becomes the file when the block ends well, and vanishes when it does not."""
        with ExitStack() as stack:
            try:
                stream = stack.enter_context(replaced(self.path, self.confirm))
            except OSError as error:
                if error.errno in DISK_FULL:
                    raise
                raise BadInputError(f"cannot write {self.path}: {error.strerror}") from None
            yield stream

    def confirm(self) -> None:
        """Raise where a file may not be replaced."""
        if not self.force:
            raise BadInputError(f"{self.path} has come into being meanwhile; --force replaces it")


def _are_one_file(output: Path, other: Path) -> bool:
    """Whether both lead to one file; an input that leads nowhere is told of when it is read."""
    try:
        return output.samefile(other)
    except OSError:
        return False
