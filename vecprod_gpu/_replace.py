"""A file that is written beside its place, under another name, and then renamed into it."""

import errno
import os
import secrets
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replaced(path: Path, confirm: Callable[[], None] = lambda: None) -> Iterator[IO[bytes]]:
    """A stream that becomes the file when the block ends well, and vanishes when it does not.

    What a process left beside the file that was killed while it wrote there is removed.

    Parameters
    ----------
    path : Path
        The file; an earlier one keeps what it holds until the new one is whole on the disk.
    confirm : callable, optional
        Called where the new file is about to take the place of an earlier one; it may raise.

    Raises
    ------
    OSError
        Where the file cannot be written; of a disk that is full, it names the file.
    """
    final = path.resolve()  # so that a link stays one
    _remove_left_behind(final)
    temporary, stream = _opened(final)
    try:
        with stream:
            yield stream
            stream.flush()
            # A disk that is full is to say so while the earlier file is still there.
            os.fsync(stream.fileno())
            if final.exists():
                confirm()
                shutil.copymode(final, temporary)
            if sys.platform != "win32":
                temporary.replace(final)
        if sys.platform == "win32":  # which renames no file that is open
            temporary.replace(final)
    except OSError as error:
        if error.errno in DISK_FULL and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        # There is nothing to remove after it was renamed.
        with suppress(FileNotFoundError):
            temporary.unlink()


def _opened(final: Path) -> tuple[Path, IO[bytes]]:
    """A new file beside the final one, locked for as long as it is open."""
    while True:
        temporary = final.with_name(f"{_prefix(final)}{secrets.token_hex(4)}.tmp")
        stream = temporary.open("xb")
        if _is_locked(stream) and os.fstat(stream.fileno()).st_nlink == 0:
            stream.close()  # another process took it, not locked yet, for one that was left behind
            continue
        return temporary, stream


def _remove_left_behind(final: Path) -> None:
    """Remove the temporary files of this one that nobody holds open any more."""
    with suppress(OSError):
        for temporary in final.parent.glob(f"{_prefix(final)}*.tmp"):
            with suppress(OSError):
                if sys.platform == "win32":  # which refuses while another has it open
                    temporary.unlink()
                    continue
                with temporary.open("rb") as stream:
                    if _is_locked(stream, wait=False):
                        temporary.unlink()


def _is_locked(stream: IO[bytes], wait: bool = True) -> bool:
    """Lock an open file, which the system unlocks when the process ends, however it does."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # held by another, or a file system without locks, where nothing is removed
        return False
    return True


def _prefix(final: Path) -> str:
    """How the names of temporary files of one file begin: no longer than any name may be."""
    return f".vecprod-{zlib.crc32(os.fsencode(final.name)):08x}-"
