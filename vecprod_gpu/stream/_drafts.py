"""Outputs that are written beside their place, as a file or a folder, and renamed into it when whole.

Unlike what `vecprod_gpu._replace` writes, a draft may outlive its process: where the job has a checkpoint,
its name follows from the output and the checkpoint, and the same job goes on with it.
"""

import os
import secrets
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import BadInputError

if sys.platform != "win32":
    import fcntl

_REMOVAL_TRIES = 20  # of a folder into which threads may still be writing


@contextmanager
def drafted(
    path: Path,
    make: Callable[[Path], None],
    confirm: Callable[[], None] = lambda: None,
    *,
    checkpoint: Path | None = None,
) -> Iterator[Path]:
    """A file or folder that takes its place when the block ends well, and vanishes when it does not.

    Parameters
    ----------
    path : Path
        Its place; what stands there stays as it is until the new one is whole.
    make : callable
        Makes an empty draft; not called where there is one to go on with.
    confirm : callable, optional
        Called where something is about to be replaced; it may raise.
    checkpoint : Path, optional
        For as long as there is such a file, the draft does not vanish.

    Raises
    ------
    BadInputError
        If another process writes the same draft.
    """
    final = path.resolve()  # so that a link stays one
    draft = _name(final, checkpoint)
    _clear_up(final)
    if checkpoint is None or not checkpoint.exists():
        remove(draft)
    if not draft.exists():
        make(draft)
    try:
        with _held(draft, path):
            yield draft
            if final.exists():
                confirm()
                shutil.copymode(final, draft)
        _rename(draft, final)
    finally:
        if checkpoint is None or not checkpoint.exists():
            remove(draft)


def draft_of(path: Path, checkpoint: Path) -> Path:
    """Where a job with that checkpoint writes its output until that is whole."""
    return _name(path.resolve(), checkpoint)


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


def _name(final: Path, checkpoint: Path | None) -> Path:
    if checkpoint is None:
        return final.with_name(f"{_prefix(final)}{secrets.token_hex(4)}.tmp")
    key = zlib.crc32(os.fsencode(checkpoint.absolute()))
    return final.with_name(f"{_prefix(final)}{key:08x}.part")


def _aside(final: Path) -> Path:
    return final.with_name(f"{_prefix(final)}earlier")


def _prefix(final: Path) -> str:
    return f".vecprod-{zlib.crc32(os.fsencode(final.name)):08x}-"


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


@contextmanager
def _held(draft: Path, path: Path) -> Iterator[None]:
    """Lock the draft for as long as the block runs, so that no other process takes it for left behind."""
    if sys.platform == "win32":
        yield
        return
    handle = os.open(draft, os.O_RDONLY)
    try:
        if not _is_locked(handle):
            raise BadInputError(f"another process is writing {path}")
        yield
    finally:
        os.close(handle)


def _is_locked(handle: int) -> bool:
    """Lock a file or folder, which the system unlocks when the process ends, however it does."""
    if sys.platform != "win32":
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
    return True


def _clear_up(final: Path) -> None:
    """Undo what processes left that were killed: half a replacement, and drafts that nobody goes on with."""
    aside = _aside(final)
    with suppress(OSError):
        if aside.exists() and not final.exists():
            aside.rename(final)
        remove(aside)
        for draft in final.parent.glob(f"{_prefix(final)}*.tmp"):
            with suppress(BadInputError), _held(draft, final):
                remove(draft)
