"""Calls and their time, in a folder that a process shares with its children.

Each process has a file of its own there, mapped into memory, so that what it counted is there however it
ends: workers of a pool are killed, and run no exit handler.
"""

import json
import mmap
import os
import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path
from threading import Lock

ENTRIES = 1 << 14  # in one file, which is sparse until they are used


@dataclass(frozen=True, slots=True)
class Entry:
    """What is counted together.

    Attributes
    ----------
    function : str
        As users write it: ``np.cross``.
    is_accelerated : bool
    detail : str
        The backend, or why there was none.
    line : int
        Of the script, where lines are counted; else 0.
    """

    function: str
    is_accelerated: bool
    detail: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """Calls, and the seconds they took."""

    calls: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.calls + other.calls, self.seconds + other.seconds)

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.calls - other.calls, self.seconds - other.seconds)


class Ledger:
    """The counts of this process and of its children.

    Parameters
    ----------
    folder : str
        Where all of them write.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._lock = Lock()
        self._open()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._open_anew)

    def add(self, entry: Entry, seconds: float) -> None:
        """Count one call."""
        with self._lock:
            place = self._places.get(entry)
            if place is None:
                place = self._new_place(entry)
            self._sums[place] += 1
            self._sums[place + 1] += seconds

    def total(self) -> dict[Entry, Spent]:
        """What all processes have counted so far."""
        sums: dict[Entry, Spent] = {}
        for names in Path(self.folder).glob("*.names"):
            for entry, spent in _read(names):
                sums[entry] = sums.get(entry, Spent()) + spent
        return sums

    def processes(self) -> int:
        """How many processes have counted a call."""
        return sum(names.stat().st_size > 0 for names in Path(self.folder).glob("*.names"))

    def _open(self) -> None:
        handle, path = tempfile.mkstemp(".sums", f"{os.getpid()}-", self.folder)
        os.truncate(handle, 16 * ENTRIES)
        self._sums = memoryview(mmap.mmap(handle, 16 * ENTRIES)).cast("d")
        os.close(handle)
        self._names = Path(path).with_suffix(".names").open("a", encoding="utf-8")
        self._places: dict[Entry, int] = {}

    def _open_anew(self) -> None:
        """A forked child counts for itself, with a lock that no other thread of its parent holds."""
        self._lock = Lock()
        if Path(self.folder).is_dir():
            self._open()

    def _new_place(self, entry: Entry) -> int:
        """Where the sums of an entry are to stand; those that no place is left for share the last."""
        place = min(2 * len(self._places), 2 * ENTRIES - 2)
        if len(self._places) < ENTRIES:
            self._names.write(json.dumps(astuple(entry)) + "\n")
            self._names.flush()
        self._places[entry] = place
        return place


def difference(later: dict[Entry, Spent], earlier: dict[Entry, Spent]) -> dict[Entry, Spent]:
    """What was counted between two totals."""
    between = {entry: spent - earlier.get(entry, Spent()) for entry, spent in later.items()}
    return {entry: spent for entry, spent in between.items() if spent.calls}


def _read(names: Path) -> list[tuple[Entry, Spent]]:
    """The sums of one process; a line that was cut off by its end is none."""
    lines = names.read_text(encoding="utf-8").split("\n")[:-1]
    content = names.with_suffix(".sums").read_bytes()[: 16 * len(lines)]
    sums = memoryview(content).cast("d")
    return [
        (Entry(*json.loads(line)), Spent(int(sums[2 * place]), float(sums[2 * place + 1])))
        for place, line in enumerate(lines)
    ]
