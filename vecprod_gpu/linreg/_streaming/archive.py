"""The file of a `Streamed` object: an ``.npz`` archive of plain arrays with a JSON header."""

import json
import zipfile
from dataclasses import asdict, dataclass, fields
from operator import index
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..._replace import replaced
from ...errors import ArchiveError
from .rows import Layout, Rows

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


def write(
    file: str | PathLike[str], kind: str, header: Header, levels: list[Any], waiting: Rows | None
) -> None:
    """Write a header, the summaries of a tree's levels, and the rows that wait."""
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
    with replaced(Path(file)) as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # the stubs take a keyword for allow_pickle


def read(
    file: str | PathLike[str], kind: str, summary_type: type[Any]
) -> tuple[Header, list[Any], list[Rows]]:
    """Read what `write` wrote of that kind."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            return _parse(archive, kind, summary_type)
    except (ValueError, KeyError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ArchiveError(f"{file} cannot be loaded as {kind}: {error}") from None


def _parse(archive: Any, kind: str, summary_type: type[Any]) -> tuple[Header, list[Any], list[Rows]]:
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


def _floats(archive: Any, name: str) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = archive[name]
    if array.dtype != np.float64:
        raise ValueError(f"{name} holds {array.dtype}; needed is float64")
    return array
