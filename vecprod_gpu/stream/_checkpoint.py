"""What a job knows half way, in a file from which the same job goes on."""

import json
import time
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from .. import _checks
from .._replace import replaced
from ..errors import BadInputError

Host = np.ndarray[Any, Any]

FORMAT = "vecprod-checkpoint"
VERSION = 1

# What NumPy and zipfile raise for a file that is cut short, damaged, pickled, or something else altogether.
_UNREADABLE = (
    *(ValueError, TypeError, KeyError, EOFError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True)
class State:
    """What a job knows.

    Attributes
    ----------
    arrays : mapping of str to ndarray
        Plain arrays; none is named ``header``.
    values : mapping of str to object
        Whatever JSON holds.
    """

    arrays: Mapping[str, Host] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


class Checkpoint:
    """The checkpoint of one job: an ``.npz`` archive of plain arrays with a JSON header.

    It is written beside its place and then renamed, so that a kill at any moment leaves the one before.

    Parameters
    ----------
    file : path or None
        Where it is; None keeps nothing.
    every : float
        Seconds between two of them.
    fingerprint : dict
        What must be the same for the state to be of use, as JSON: the inputs, and the settings that decide
        a bit of it.
    kind : str
        What the state is of, in words.

    Raises
    ------
    ArgumentError
        If `every` is negative.
    BadInputError
        If no file can be written there.
    """

    def __init__(
        self, file: str | PathLike[str] | None, every: float, fingerprint: Mapping[str, Any], kind: str
    ) -> None:
        self.file = None if file is None else Path(file)
        self._every = _checks.real("every", every, minimum=0.0)
        self._fingerprint = json.loads(json.dumps(fingerprint))
        self._kind = kind
        self._saved = time.monotonic()
        if self.file is not None and (self.file.is_dir() or not self.file.absolute().parent.is_dir()):
            reason = "it is a folder" if self.file.is_dir() else "there is no such folder"
            raise BadInputError(f"cannot write the checkpoint {self.file}: {reason}")

    def resume(self) -> State | None:
        """The state that was saved last; None if there is none.

        Raises
        ------
        BadInputError
            If the file is damaged, no checkpoint, or of another job; it is left as it is.
        """
        if self.file is None or not self.file.exists():
            return None
        try:
            with np.load(self.file, allow_pickle=False) as archive:
                if not isinstance(archive, np.lib.npyio.NpzFile):
                    raise ValueError("it holds a single array")
                arrays = {name: archive[name] for name in archive.files}
            header = json.loads(str(arrays.pop("header")))
            if header["format"] != FORMAT or header["version"] != VERSION:
                raise ValueError(f"it is of format {header['format']!r}, version {header['version']}")
            kind, before, values = header["kind"], header["fingerprint"], header["values"]
        except _UNREADABLE as error:
            raise BadInputError(
                f"{self.file} is no whole checkpoint: {error}; remove it to begin anew"
            ) from None
        different = "" if kind == self._kind else f"it is of {kind}, not of {self._kind}"
        different = different or _difference(before, self._fingerprint)
        if different:
            raise BadInputError(
                f"{self.file} is a checkpoint of another job: {different}; remove it to begin anew, or name "
                "another file"
            )
        return State(arrays, values)

    def due(self) -> bool:
        """Whether it is time to save."""
        return self.file is not None and time.monotonic() - self._saved >= self._every

    def save(self, state: State) -> None:
        """Write the state, in the place of the one before."""
        if self.file is None:
            return
        header = {
            "format": FORMAT,
            "version": VERSION,
            "kind": self._kind,
            "fingerprint": self._fingerprint,
            "values": state.values,
        }
        with replaced(self.file) as stream:
            np.savez(stream, header=np.array(json.dumps(header)), **state.arrays)  # type: ignore[arg-type]
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Remove the file: the job is done, and its result is safe."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)


def _difference(before: Any, now: Any, name: str = "") -> str:
    """The first thing that is not as it was, in words; nothing if all is."""
    if before == now:
        return ""
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        if len(now) == 1:
            return _difference(before[0], now[0], name)
        before, now = ({str(place): one for place, one in enumerate(each)} for each in (before, now))
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return f"{name or 'what it was made from'} was {_short(before)} and is {_short(now)}"
    name = now.get("path", name)  # of a file, which says more than where it stands among the others
    for key in (*now, *(key for key in before if key not in now)):
        inner = f"{name}: {key}" if name else str(key)
        if key not in before or key not in now:
            return f"{inner} {'is new' if key in now else 'is missing'}"
        if different := _difference(before[key], now[key], inner):
            return different
    return ""


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
