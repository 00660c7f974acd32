"""Files as they are named: ``data.csv``, ``a.npy``, ``arrays.npz:key``, ``folder``, ``parts/*.parquet``."""

import glob
import os
import re
import stat
from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ..errors import BadInputError

ARRAYS = (".npy", ".npz", ".zarr")
TABLES = (".csv", ".parquet")
SUFFIXES = (".npy", ".npz", ".csv", ".parquet", ".zarr")

_MISSING = "__HIVE_DEFAULT_PARTITION__"
_HIDDEN = ("_", ".")  # by which writers of tables mark what holds no rows, as _SUCCESS


def split_key(word: str) -> tuple[Path, str | None]:
    """The path and the key in ``file.npz:key`` and ``store.zarr:key``; other words are paths as they are."""
    archive = re.fullmatch(r"(.*\.(?:npz|zarr|zarr\.zip)):(.+)", word, flags=re.IGNORECASE | re.DOTALL)
    return (Path(archive[1]), archive[2]) if archive else (Path(word), None)


def require_path(word: str) -> None:
    """Raise for what is the name of no file."""
    if not word:
        raise BadInputError("the name of a file is empty")
    if re.match(r"[a-z][a-z0-9+.-]*://", word, flags=re.IGNORECASE):
        raise BadInputError(f"{word} is a URL; needed is a file or a folder of this machine")


def suffix_of(path: Path) -> str:
    """The suffix that tells the format, in small letters."""
    return ".zarr" if path.name.lower().endswith(".zarr.zip") else path.suffix.lower()


def has_suffix(word: str, suffixes: Sequence[str] = SUFFIXES) -> bool:
    """Whether a word names a file of one of the formats."""
    return suffix_of(split_key(word)[0]) in suffixes


def list_of(suffixes: Sequence[str]) -> str:
    """The suffixes as a sentence names them."""
    return " or ".join(filter(None, (", ".join(suffixes[:-1]), suffixes[-1])))


def require_readable(path: Path, *, may_be_folder: bool = False) -> None:
    """Raise unless the path leads to a file, as the system says, that may be read."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise BadInputError(f"cannot read {path}: {error.strerror}") from None
    if not stat.S_ISREG(mode) and not (may_be_folder and stat.S_ISDIR(mode)):
        raise BadInputError(f"cannot read {path}: it is {'a folder' if stat.S_ISDIR(mode) else 'no file'}")
    if not os.access(path, os.R_OK):
        raise BadInputError(f"cannot read {path}: permission denied")


def is_pattern(word: str) -> bool:
    """Whether a word stands for several files, by its wildcards."""
    return glob.has_magic(word) and not os.path.exists(word)  # noqa: PTH110  # false of names that cannot be


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder, and not of a name that cannot be."""
    return os.path.isdir(path)  # noqa: PTH112


def table_files(word: str) -> list[Path]:
    """The files of a folder or of a pattern, in the order of their names; all are of one format."""
    if is_pattern(word):
        found = [Path(name) for name in glob.iglob(word, recursive=True)]  # noqa: PTH207  # of absolute patterns too
        files = [path for path in found if suffix_of(path) in TABLES and path.is_file()]
        where = f"no file matches {word}"
    else:
        root = Path(word)
        if not os.access(root, os.R_OK | os.X_OK):
            raise BadInputError(f"cannot read {root}: permission denied")
        files = [path for path in root.rglob("*") if suffix_of(path) in TABLES and _counts(root, path)]
        where = f"{word} holds no file"
    if not files:
        raise BadInputError(f"{where} that ends in {list_of(TABLES)}")
    if len({suffix_of(path) for path in files}) > 1:
        raise BadInputError(f"{word} holds files of {list_of(TABLES)} both; name those to read by a pattern")
    return sorted(files)


def partition_keys(files: Sequence[Path], base: Path | None) -> list[dict[str, Any]]:
    """What the folders of each file say of its rows, as Hive writes it: ``year=2024``, ``%20`` for a space.

    Values are whole numbers where those of all files are, else texts; those that are missing are NaN.
    """
    found: list[dict[str, Any]] = []
    for path in files:
        folders = (path if base is None else path.relative_to(base)).parent.parts
        pairs = (folder.partition("=") for folder in folders if "=" in folder)
        found.append({key: unquote(value) for key, _, value in pairs})
    if len({tuple(keys) for keys in found}) > 1:
        raise BadInputError(
            f"{files[0]} and other files are in folders that name different keys; needed are the same ones"
        )
    for key in found[0]:
        values = [keys[key] for keys in found]
        is_whole = all(re.fullmatch(r"[+-]?\d{1,18}", value) for value in values if value != _MISSING)
        for keys in found:
            missing = keys[key] == _MISSING
            keys[key] = nan if missing else int(keys[key]) if is_whole else keys[key]
    return found


def _counts(root: Path, path: Path) -> bool:
    parts = path.relative_to(root).parts
    return not any(part.startswith(_HIDDEN) for part in parts) and path.is_file()
