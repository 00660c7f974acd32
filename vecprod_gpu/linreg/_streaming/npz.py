"""Archives of plain arrays (``.npz``) with a header in JSON, which are read whole or not at all."""

import errno
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..._replace import replaced
from ..._words import in_one_line

Host = np.ndarray[Any, Any]

# What zipfile, NumPy and readers of the arrays raise where a file is damaged, or something else altogether.
_UNREADABLE = (
    *(ValueError, TypeError, LookupError, EOFError, RuntimeError, OverflowError, OSError),
    *(zipfile.BadZipFile, zlib.error),
)
# Of these OSErrors the first is that of a seek to where a damaged directory points, the second bz2's.
_ERRNOS_OF_DAMAGE = (errno.EINVAL, None)


@contextmanager
def refusing(refusal: Callable[[str], Exception]) -> Iterator[None]:
    """Turn whatever an archive that is damaged, or none, brings up into the refusal for that reason."""
    try:
        yield
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno not in _ERRNOS_OF_DAMAGE:
            raise
        raise refusal(in_one_line(error) or type(error).__name__) from None


def write(file: str | PathLike[str], arrays: Mapping[str, Host]) -> None:
    """Write the arrays; an earlier file keeps what it holds until the new one is whole."""
    with replaced(Path(file)) as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # the stubs take a keyword for allow_pickle


def read(stream: IO[bytes]) -> dict[str, Host]:
    """The members of an archive, whose checksums are compared before anything is made of them."""
    with zipfile.ZipFile(stream) as archive:
        if "header.npy" not in archive.namelist():
            raise ValueError("it is an archive without a header")
        damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} is another one")
        arrays = {}
        for name in archive.namelist():
            with archive.open(name) as member:
                arrays[name.removesuffix(".npy")] = np.lib.format.read_array(member, allow_pickle=False)
        return arrays


def header_of(arrays: Mapping[str, Host], kind: str, version: int) -> dict[str, Any]:
    """The header of an archive that must be of that format and version."""
    header: dict[str, Any] = json.loads(str(arrays["header"]))
    found = header["format"], header["version"]
    if found != (kind, version):
        raise ValueError(
            f"it is of format {found[0]!r}, version {found[1]}; needed is {kind!r}, version {version}"
        )
    return header


def check_names(arrays: Mapping[str, Host], needed: set[str]) -> None:
    """Raise unless the arrays are those that the header speaks of: a damaged directory may lose some."""
    if different := needed ^ set(arrays):
        raise ValueError(f"header and arrays differ in {', '.join(sorted(different))}")
