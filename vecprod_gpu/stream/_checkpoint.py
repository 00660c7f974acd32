"""What a job knows half way, in a file from which the same job goes on."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from .. import _checks
from .._replace import DISK_FULL, clear_up, require_room
from ..errors import BadInputError
from ..linreg._streaming import npz
from . import _fingerprints

Host = np.ndarray[Any, Any]

FORMAT = "vecprod-checkpoint"
VERSION = 2


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
        if self.file is not None:
            _require_writable(self.file)

    def resume(self) -> State | None:
        """The state that was saved last; None if there is none.

        Raises
        ------
        BadInputError
            If the file is damaged, no checkpoint, or of another job; it is left as it is.
        """
        if self.file is None or not self.file.exists():
            return None
        header, arrays = _read(self.file)
        kind = header["kind"]
        different = "" if kind == self._kind else f"it is of {kind}, not of {self._kind}"
        different = different or _difference(header["fingerprint"], self._fingerprint)
        if different:
            raise BadInputError(
                f"{self.file} is a checkpoint of another job: {different}; remove it to begin anew, or name "
                "another file"
            )
        return State(arrays, header["values"])

    def refusing(self) -> AbstractContextManager[None]:
        """Raise BadInputError, which names the file, where nothing can be made of the state that it held."""
        return _refusing(self.file)

    def is_there(self) -> bool:
        """Whether a state is saved."""
        return self.file is not None and self.file.exists()

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
            "arrays": list(state.arrays),
        }
        npz.write(self.file, {"header": np.array(json.dumps(header)), **state.arrays})
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Remove the file: the job is done, and its result is safe."""
        if self.file is not None:
            self.file.resolve().unlink(missing_ok=True)
            clear_up(self.file)


def outputs_of(drafts: Mapping[Path, Path]) -> dict[str, Any]:
    """What a state says of outputs whose drafts are whole, so that `wrote` knows them in their places."""
    return {str(path.resolve()): _fingerprints.of_output(draft) for path, draft in drafts.items()}


def wrote(checkpoint: Path, output: Path) -> bool:
    """Whether what stands at the output is what a job put there that was killed before its checkpoint went.

    Raises
    ------
    BadInputError
        If there is such an output, and the checkpoint is damaged or none.
    """
    if not all(map(os.path.exists, (output, checkpoint))):  # false of names that cannot be
        return False
    header, _ = _read(checkpoint)
    return is_output(header["values"].get("outputs", {}), output)


def is_output(outputs: Mapping[str, Any], path: Path) -> bool:
    """Whether what stands at a path is one of the `outputs_of` a job."""
    known = outputs.get(str(path.resolve()))
    return known is not None and known == _fingerprints.of_output(path)


def _require_writable(file: Path) -> None:
    try:
        if file.is_dir() or not file.absolute().parent.is_dir():
            reason = "it is a folder" if file.is_dir() else "there is no such folder"
            raise BadInputError(f"cannot write the checkpoint {file}: {reason}")
        require_room(file)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise BadInputError(f"cannot write the checkpoint {file}: {error.strerror}") from None


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Host]]:
    """Header and arrays of a file that is a whole checkpoint."""
    try:
        with _refusing(file), file.open("rb") as stream:
            arrays = npz.read(stream)
            header = npz.header_of(arrays, FORMAT, VERSION)
            npz.check_names(arrays, {"header", *header["arrays"]})
    except OSError as error:
        raise BadInputError(f"cannot read the checkpoint {file}: {error.strerror}") from None
    del arrays["header"]
    return header, arrays


def _refusing(file: Path | None) -> AbstractContextManager[None]:
    return npz.refusing(
        lambda reason: BadInputError(
            f"{file} is no whole checkpoint: {reason}; name another file, or remove it to begin anew"
        )
    )


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
