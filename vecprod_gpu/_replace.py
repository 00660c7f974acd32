"""Files and folders that are written beside their place, under another name, and then renamed into it."""

import errno
import os
import shutil
import stat
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from .errors import BadInputError

if sys.platform != "win32":
    import fcntl

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_REMOVAL_TRIES = 20  # of a folder into which threads may still be writing


@contextmanager
def replaced(path: Path, confirm: Callable[[], None] = lambda: None) -> Iterator[IO[bytes]]:
    """A stream that becomes the file when the block ends well, and vanishes when it does not.

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
    try:
        with drafted(path, new_file, confirm) as draft, draft.open("r+b") as stream:
            yield stream
            stream.flush()
            # A disk that is full is to say so while the earlier file is still there.
            os.fsync(stream.fileno())
    except OSError as error:
        if error.errno in DISK_FULL and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


@contextmanager
def drafted(
    path: Path,
    make: Callable[[Path], None],
    confirm: Callable[[], None] = lambda: None,
    checkpoint: Path | None = None,
) -> Iterator[Path]:
    """A file or folder that takes its place when the block ends well, and vanishes when it does not.

    What processes that were killed left of it is removed, or gone on with where there is a checkpoint.

    Parameters
    ----------
    path : Path
        Its place; what stands there stays as it is until the new one, which the block has written to the
        disk, is renamed.
    make : callable
        Makes an empty draft; not called where there is one to go on with.
    confirm : callable, optional
        Called where something is about to be replaced; it may raise.
    checkpoint : Path, optional
        For as long as there is such a file, the draft does not vanish; its name follows from both paths.

    Raises
    ------
    BadInputError
        If another process writes the same draft.
    OSError
        If it cannot be made or renamed.
    """
    final = path.resolve()  # so that a link stays one
    clear_up(final)
    is_kept = checkpoint is not None and checkpoint.exists()
    draft, lock = _locked_draft(path, final, make, checkpoint, is_kept)
    try:
        yield draft
        if final.exists():
            confirm()
            shutil.copymode(final, draft)
        _rename(draft, final)
    finally:
        if checkpoint is None or not checkpoint.exists():
            remove(draft)
        _unlock(lock)


def draft_of(path: Path, checkpoint: Path) -> Path:
    """Where a job with that checkpoint writes its output until that is whole."""
    return _name(path.resolve(), checkpoint)


def new_file(path: Path) -> None:
    """Make an empty file."""
    path.touch(exist_ok=False)


def require_room(path: Path) -> None:
    """Raise OSError where no file of that name can be written, as far as an empty draft tells."""
    final = path.resolve()
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(final.stat().st_mode):  # of a name too long it fails, as no draft of it would
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    draft = _name(final, None)
    new_file(draft)
    remove(draft)


def remove(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for _ in range(_REMOVAL_TRIES):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(0.05)


def _locked_draft(
    path: Path, final: Path, make: Callable[[Path], None], checkpoint: Path | None, is_kept: bool
) -> tuple[Path, int | None]:
    """A draft that no other process takes for left behind: it is locked for as long as it is written."""
    while True:
        draft = _name(final, checkpoint)
        if is_kept and draft.exists():
            lock = _lock(draft, path)
        else:
            if draft.exists():
                _unlock(_lock(draft, path))
                remove(draft)
            make(draft)
            try:
                lock = _lock(draft, path, wait=True)
            except FileNotFoundError:
                continue
        if lock is None or draft.exists():
            return draft, lock
        _unlock(lock)  # another process took it, not locked yet, for one that was left behind


def _rename(draft: Path, final: Path) -> None:
    """Put the draft in its place; a folder that stands there makes way first, since none can be replaced."""
    if not final.is_dir():
        draft.replace(final)
        return
    aside = _aside(final)
    final.rename(aside)
    try:
        draft.rename(final)
    except BaseException:
        aside.rename(final)
        raise
    remove(aside)


def clear_up(path: Path) -> None:
    """Undo what processes left that were killed: half a replacement, and drafts that nobody goes on with.

    Drafts of jobs with a checkpoint stay: from their names alone nobody can tell whether it is still there.
    """
    final = path.resolve()
    aside = _aside(final)
    with suppress(OSError):
        if aside.exists() and not final.exists():
            aside.rename(final)
        for draft in [aside, *final.parent.glob(f"{_prefix(final)}*.tmp")]:
            with suppress(BadInputError, OSError):
                lock = _lock(draft, final)
                remove(draft)
                _unlock(lock)


def _lock(draft: Path, path: Path, wait: bool = False) -> int | None:
    """Lock a file or folder, which the system unlocks when the process ends, however it does.

    Where there are no such locks it is None; Windows refuses to remove what another process has open.
    """
    if sys.platform == "win32":
        return None
    handle = os.open(draft, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(handle)
        raise BadInputError(f"another process is writing {path}") from None
    except OSError:  # a file system without locks
        os.close(handle)
        return None
    return handle


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def _name(final: Path, checkpoint: Path | None) -> Path:
    if checkpoint is None:
        return final.with_name(f"{_prefix(final)}{os.urandom(4).hex()}.tmp")
    key = zlib.crc32(os.fsencode(checkpoint.absolute()))
    return final.with_name(f"{_prefix(final)}{key:08x}.part")


def _aside(final: Path) -> Path:
    return final.with_name(f"{_prefix(final)}earlier")


def _prefix(final: Path) -> str:
    """How the names of drafts of one output begin: no longer than any name may be."""
    return f".vecprod-{zlib.crc32(os.fsencode(final.name)):08x}-"
