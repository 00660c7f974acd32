"""A file that is written beside its place, under another name, and then renamed into it."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def replaced(path: Path, confirm: Callable[[], None] = lambda: None) -> Iterator[IO[bytes]]:
    """A stream that becomes the file when the block ends well, and vanishes when it does not.

    Parameters
    ----------
    path : Path
        The file; an earlier one keeps what it holds until the new one is whole on the disk.
    confirm : callable, optional
        Called where the new file is about to take the place of an earlier one; it may raise.
    """
    final = path.resolve()  # so that a link stays one
    temporary = final.with_name(f".vecprod-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            # A disk that is full is to say so while the earlier file is still there.
            os.fsync(stream.fileno())
        if final.exists():
            confirm()
            shutil.copymode(final, temporary)
        temporary.replace(final)
    finally:
        # There is nothing to remove after it was renamed, or where it could not be made.
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()
