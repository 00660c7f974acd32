"""What an interpreter does at its start where ``VECPROD_ACCEL_ENABLED`` asks for it, before NumPy is there.

It needs the standard library alone: it is loaded by its path, and waits for whoever imports NumPy.
"""

import os
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

ON, OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
BEGUN = "_vecprod_gpu_imports"  # the module that waits; where it is there, another hook has begun


def begin() -> None:
    """Wait for NumPy, if the environment asks for it, and nobody waits yet."""
    asked = os.environ.get("VECPROD_ACCEL_ENABLED", "").strip().lower()
    if asked in OFF or BEGUN in sys.modules:
        return
    imports = _imports()
    if asked in ON:
        _wait(imports.After)
    else:
        imports.complain(f"VECPROD_ACCEL_ENABLED is {asked!r}; it can be 1 or 0")


def _wait(after: Any) -> None:
    """Install ours once NumPy is imported; where our own package imports it, once that is imported, too."""

    def install() -> None:
        if not ours.is_underway:
            ours.end()
            _install()

    ours = after("vecprod_gpu", install)
    ours.begin()
    after("numpy", install).begin()


def _install() -> None:
    package = str(Path(__file__).parents[2])
    if find_spec("vecprod_gpu") is None:  # run from a checkout that is not installed
        sys.path.append(package)
    from vecprod_gpu import accel

    accel.install()


def _imports() -> Any:
    spec = spec_from_file_location(BEGUN, Path(__file__).with_name("_imports.py"))
    module = module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules[BEGUN] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module
