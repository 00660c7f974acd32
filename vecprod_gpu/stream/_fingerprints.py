"""What tells a file or an array from another, cheaply: its size, its time, and some of what it holds."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

Host = np.ndarray[Any, Any]

SPOTS = 4
SPOT_BYTES = 4096


def of_file(path: Path) -> dict[str, Any]:
    """Path, size, time of the last change, and a hash of a few spots from the first bytes to the last."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        for spot in range(SPOTS):
            stream.seek(max(0, size - SPOT_BYTES) * spot // (SPOTS - 1))
            digest.update(stream.read(SPOT_BYTES))
    return {
        "path": str(path),
        "absolute": str(path.absolute()),
        "size": size,
        "mtime_ns": path.stat().st_mtime_ns,
        "hash": digest.hexdigest(),
    }


def of_folder(path: Path) -> dict[str, Any]:
    """Path of a folder, and number, sizes and times of the files below it."""
    states = [entry.stat() for entry in path.rglob("*") if entry.is_file()]
    return {
        "path": str(path),
        "absolute": str(path.absolute()),
        "files": len(states),
        "size": sum(state.st_size for state in states),
        "mtime_ns": max((state.st_mtime_ns for state in states), default=0),
    }


def of_output(path: Path) -> dict[str, Any] | None:
    """What stays as it is where a file or a folder is renamed; None where there is neither."""
    if not path.exists():
        return None
    found = of_folder(path) if path.is_dir() else of_file(path)
    return {name: value for name, value in found.items() if name not in ("path", "absolute")}


def of_array(values: Host) -> dict[str, Any]:
    """Shape, dtype, and a hash of a few rows from the first to the last."""
    digest = hashlib.blake2b(digest_size=16)
    for row in (
        sorted({(len(values) - 1) * spot // (SPOTS - 1) for spot in range(SPOTS)}) if values.ndim else []
    ):
        digest.update(np.ascontiguousarray(values[row : row + 1]).tobytes() if row >= 0 else b"")
    return {"shape": list(values.shape), "dtype": values.dtype.str, "hash": digest.hexdigest()}


def of_numbers(values: Host) -> dict[str, Any]:
    """Shape, dtype, and a hash of all elements, of an array of which there are few."""
    digest = hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16)
    return {"shape": list(values.shape), "dtype": values.dtype.str, "hash": digest.hexdigest()}
