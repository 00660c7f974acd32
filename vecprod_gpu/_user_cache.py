"""The folder where the package keeps what it can make again: compiled kernels, and what was measured here."""

import os
import sys
from pathlib import Path


def folder() -> Path:
    """The package's folder among the caches of the user, as the system has them; it may not exist yet."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111  # Path.home() raises where a user has none
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "vecprod_gpu" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "vecprod_gpu"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "vecprod_gpu"
