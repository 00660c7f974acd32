"""Start-up hook of child processes: accelerates NumPy once it is imported, then runs the user's own hook.

Python imports the first ``sitecustomize`` on its path, which is this one where ``vecprod_gpu.accel`` has put
its folder before all others.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).resolve().parent


def _startup() -> Any:
    spec = spec_from_file_location("_vecprod_gpu_startup", _FOLDER.parent / "_startup.py")
    module = module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def _run_the_next() -> None:
    """The ``sitecustomize`` that this one stands before, as if it were not there."""
    others = [entry for entry in sys.path if Path(entry or ".").resolve() != _FOLDER]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


try:
    _startup().begin()
finally:
    _run_the_next()
