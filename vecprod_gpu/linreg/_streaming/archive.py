"""The file of a `Streamed` object: an ``.npz`` archive of plain arrays with a JSON header."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from operator import index
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ArchiveError
from . import npz
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
    rows = {} if waiting is None else {"X": waiting.X, "y": waiting.y, "sample_weight": waiting.weights}
    rows = {name: part for name, part in rows.items() if part is not None}
    text = {
        "format": kind,
        "version": VERSION,
        "layout": None if header.layout is None else asdict(header.layout),
        "dtype": header.dtype.str,
        "n_samples": header.n_samples,
        "levels": [level is not None for level in levels],
        "waiting": list(rows),
    }
    arrays = {"header": np.array(json.dumps(text))}
    for number, level in enumerate(levels):
        if level is not None:
            arrays |= {f"level{number}.{part.name}": getattr(level, part.name) for part in fields(level)}
    return arrays | {f"waiting.{name}": part for name, part in rows.items()}


def read(
    file: str | PathLike[str], kind: str, summary_type: type[Any]
) -> tuple[Header, list[Any], list[Rows]]:
    """Read from a file what `packed` made of that kind."""
    with (
        Path(file).open("rb") as stream,
        npz.refusing(lambda reason: ArchiveError(f"{file} cannot be loaded as {kind}: {reason}")),
    ):
        return unpacked(npz.read(stream), kind, summary_type)


def unpacked(
    archive: Mapping[str, Host], kind: str, summary_type: type[Any]
) -> tuple[Header, list[Any], list[Rows]]:
    """What `packed` was given of that kind.

    Raises
    ------
    ValueError, LookupError, TypeError
        If the arrays are none of that kind and version, or do not fit each other.
    """
    text = npz.header_of(archive, kind, VERSION)
    header = Header(_layout(text["layout"]), _dtype(text["dtype"]), index(text["n_samples"]))
    names = [part.name for part in fields(summary_type)]
    _check_members(archive, text["levels"], names, text["waiting"])
    levels = [
        summary_type(*(_floats(archive, f"level{number}.{name}") for name in names)) if is_held else None
        for number, is_held in enumerate(text["levels"])
    ]
    waiting = [_rows(archive)] if text["waiting"] else []
    _check_count(header, levels, waiting)
    for level in levels:
        if level is not None:
            _check_level(level, header)
    for rows in waiting:
        _check_rows(rows, header)
    return header, levels, waiting


def _layout(text: Any) -> Layout | None:
    if text is None:
        return None
    return Layout(tuple(map(index, text["lead"])), index(text["d"]), tuple(map(index, text["models"])))


def _dtype(text: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(text)
    if dtype.kind != "f":
        raise ValueError(f"its dtype is {dtype}; needed are real numbers")
    return dtype


def _check_members(archive: Mapping[str, Host], levels: Any, names: list[str], waiting: Any) -> None:
    """Raise unless the arrays are those of the levels and of the rows that wait."""
    held = [number for number, is_held in enumerate(levels) if is_held]
    needed = {f"level{number}.{name}" for number in held for name in names}
    npz.check_names(archive, needed | {"header", *(f"waiting.{name}" for name in waiting)})


def _rows(archive: Mapping[str, Host]) -> Rows:
    return Rows.read(archive["waiting.X"], archive.get("waiting.y"), archive.get("waiting.sample_weight"))


def _check_count(header: Header, levels: list[Any], waiting: list[Rows]) -> None:
    """Raise unless there may be so many rows; how many a level holds is known to nobody, but it has some."""
    held = sum(level is not None for level in levels)
    least = held + sum(rows.n for rows in waiting)
    n_samples = header.n_samples
    if n_samples < least or (n_samples > least and not held) or (n_samples == 0) != (header.layout is None):
        raise ValueError(f"it tells of {n_samples} rows of {header.layout}, but holds {least} at least")


def _check_level(level: Any, header: Header) -> None:
    if not level.fits(header.layout):
        raise ValueError(f"a level is not of {header.layout}")
    if not (level.is_finite() and (level.total >= 0).all()):
        raise ValueError("a level holds what no rows give")


def _check_rows(rows: Rows, header: Header) -> None:
    if rows.layout != header.layout:
        raise ValueError(f"its last rows are {rows.layout}; needed is {header.layout}")
    rows.check_weights()
    if not rows.is_finite():
        raise ValueError("its last rows hold NaN or infinity")


def _floats(archive: Mapping[str, Host], name: str) -> Host:
    array = archive[name]
    if array.dtype != np.float64:
        raise ValueError(f"{name} holds {array.dtype}; needed is float64")
    return array
