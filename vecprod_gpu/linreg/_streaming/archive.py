"""The file of a `Streamed` object: an ``.npz`` archive of plain arrays with a JSON header."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from operator import index
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..._replace import replaced
from ...errors import ArchiveError
from .rows import Layout, Rows

Host = np.ndarray[Any, Any]

VERSION = 1


@dataclass(frozen=True)
class Header:
    """What the arrays do not say of themselves; the fields but `layout` stand in the file by their names.

    Attributes
    ----------
    layout : Layout or None
        In the file its fields lead, d and models; null where no row was read.
    dtype : numpy.dtype
        Of the data.
    n_samples : int
        Rows read.
    """

    layout: Layout | None
    dtype: np.dtype[Any]
    n_samples: int


def packed(kind: str, header: Header, levels: list[Any], waiting: Rows | None) -> dict[str, Host]:
    """A header, the summaries of a tree's levels, and the rows that wait, as plain arrays."""
    text = {
        "format": kind,
        "version": VERSION,
        "layout": None if header.layout is None else asdict(header.layout),
        "dtype": header.dtype.str,
        "n_samples": header.n_samples,
        "levels": [level is not None for level in levels],
    }
    arrays = {"header": np.array(json.dumps(text))}
    for number, level in enumerate(levels):
        if level is not None:
            arrays |= {f"level{number}.{part.name}": getattr(level, part.name) for part in fields(level)}
    if waiting is not None:
        parts = {"X": waiting.X, "y": waiting.y, "sample_weight": waiting.weights}
        arrays |= {f"waiting.{name}": part for name, part in parts.items() if part is not None}
    return arrays


def write(file: str | PathLike[str], arrays: dict[str, Host]) -> None:
    """Write what `packed` made."""
    with replaced(Path(file)) as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # the stubs take a keyword for allow_pickle


def read(
    file: str | PathLike[str], kind: str, summary_type: type[Any]
) -> tuple[Header, list[Any], list[Rows]]:
    """Read what `write` wrote of that kind."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            return unpacked(archive, kind, summary_type)
    except (ValueError, KeyError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ArchiveError(f"{file} cannot be loaded as {kind}: {error}") from None


def unpacked(
    archive: Mapping[str, Host], kind: str, summary_type: type[Any]
) -> tuple[Header, list[Any], list[Rows]]:
    """What `packed` was given of that kind.

    Raises
    ------
    ValueError, KeyError, TypeError
        If the arrays are none of that kind and version, or do not fit each other.
    """
    text = json.loads(str(archive["header"]))
    found = text["format"], text["version"]
    if found != (kind, VERSION):
        raise ValueError(f"it is of format {found[0]!r}, version {found[1]}; needed is version {VERSION}")
    header = Header(_layout(text["layout"]), np.dtype(text["dtype"]), index(text["n_samples"]))
    names = [part.name for part in fields(summary_type)]
    levels = [
        summary_type(*(_floats(archive, f"level{number}.{name}") for name in names)) if is_held else None
        for number, is_held in enumerate(text["levels"])
    ]
    if not all(level is None or level.fits(header.layout) for level in levels):
        raise ValueError(f"its levels are not of {header.layout}")
    if "waiting.X" not in archive:
        return header, levels, []
    waiting = Rows.read(*(archive.get(f"waiting.{name}") for name in ("X", "y", "sample_weight")))
    if waiting.layout != header.layout:
        raise ValueError(f"its last rows are {waiting.layout}; needed is {header.layout}")
    return header, levels, [waiting]


def _layout(text: Any) -> Layout | None:
    if text is None:
        return None
    return Layout(tuple(map(index, text["lead"])), index(text["d"]), tuple(map(index, text["models"])))


def _floats(archive: Mapping[str, Host], name: str) -> Host:
    array = archive[name]
    if array.dtype != np.float64:
        raise ValueError(f"{name} holds {array.dtype}; needed is float64")
    return array
