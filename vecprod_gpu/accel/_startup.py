"""What an interpreter does at its start where ``VECPROD_ACCEL_ENABLED`` asks for it, before NumPy is there.

It needs the standard library alone: it is loaded by its path, and waits for whoever imports NumPy.
"""

import os
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

ON, OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def begin() -> None:
    """Wait for NumPy, if the environment asks for it."""
    asked = os.environ.get("VECPROD_ACCEL_ENABLED", "").strip().lower()
    imports = _imports()
    if asked in ON:
        imports.After("numpy", _install).begin()
    elif asked not in OFF:
        imports.complain(f"VECPROD_ACCEL_ENABLED is {asked!r}; it can be 1 or 0")


def _install() -> None:
    package = str(Path(__file__).parents[2])
    if find_spec("vecprod_gpu") is None:  # run from a checkout that is not installed
        sys.path.append(package)
    from vecprod_gpu import accel

    accel.install()


def _imports() -> Any:
    spec = spec_from_file_location("_vecprod_gpu_imports", Path(__file__).with_name("_imports.py"))
    module = module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module
