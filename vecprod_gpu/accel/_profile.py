"""Counting calls for a while, here and in children."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from ._children import COUNTS, SCRIPT, Environment
from ._ledger import Ledger, difference
from ._report import Report
from ._watch import watch

_lock = Lock()
_environment = Environment()
_ledger: Ledger | None = None
_owner = 0  # the process that made the folder, and clears it away
_users = 0


def join() -> None:
    """Count where the parent process asks for it."""
    global _ledger
    folder = os.environ.get(COUNTS, "")
    if _ledger is None and Path(folder).is_dir() and folder:
        _ledger = Ledger(folder)
        watch.keep(_ledger, os.environ.get(SCRIPT))


@contextmanager
def counting(script: str | None = None) -> Iterator[Report]:
    """Count calls, of children too; the report is filled at the end.

    Parameters
    ----------
    script : str, optional
        The file whose lines are counted by themselves.
    """
    ledger = _acquire(script)
    report = Report(script)
    before = ledger.total()
    try:
        yield report
    finally:
        report.counts = difference(ledger.total(), before)
        report.processes = ledger.processes()
        _release()


def _acquire(script: str | None) -> Ledger:
    global _ledger, _owner, _users
    with _lock:
        if _ledger is None:
            _ledger, _owner = Ledger(tempfile.mkdtemp(prefix="vecprod-accel-")), os.getpid()
            _environment.set(**{COUNTS: _ledger.folder})
        _users += 1
        if script is not None:
            _environment.set(**{SCRIPT: script})
        watch.keep(_ledger, os.environ.get(SCRIPT))
        return _ledger


def _release() -> None:
    global _ledger, _users
    with _lock:
        _users -= 1
        if _users == 0 and _ledger is not None and _owner == os.getpid():
            watch.keep(None)
            shutil.rmtree(_ledger.folder, ignore_errors=True)
            _environment.restore()
            _ledger = None
