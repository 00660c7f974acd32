"""Numba on the host: compiled at first use, one pass over the data, results written past the cache.

Each operation comes from its room in `_cpu`, when it is first asked for: to import all of them would take a
first call longer than to load its compiled code.
"""

from typing import Any

import numba
import numpy as np

from .._later import imported
from ._cpu.memory import empty
from ._cpu.processor import HAS_HALVES
from ._host_arrays import (
    address,
    assign,
    broadcast_to,
    cast,
    contiguous,
    export,
    moveaxis,
    native,
    overlaps,
    reshape,
)
from ._status import Status

_ROOMS = {
    "batched_outer": "products.operations",
    "co_moments": "moments.operations",
    "coordinate_descent": "linreg.solvers",
    "cross": "products.operations",
    "face_normals": "geometry.normals",
    "gram": "moments.operations",
    "grid_normals": "geometry.normals",
    "linreg_is_kept": "linreg.operations",
    "linreg_pass": "linreg.operations",
    "linreg_steps": "linreg.operations",
    "measure": "geometry.operations",
    "normal_equations": "linreg.solvers",
    "outer_adjoint": "products.adjoints",
    "proximal_descent": "linreg.solvers",
    "solution_loss": "linreg.solvers",
    "solve_positive": "linreg.solvers",
    "vecdot": "products.vecdot",
    "vertex_normals": "geometry.normals",
}

__all__ = [
    "address",
    "assign",
    "broadcast_to",
    "cast",
    "contiguous",
    "empty",
    "export",
    "moveaxis",
    "native",
    "overlaps",
    "reshape",
    "status",
    "supports",
    *_ROOMS,
]

_REAL = frozenset(map(np.dtype, "fd"))
_HALVES = frozenset(map(np.dtype, "e" if HAS_HALVES else ""))
_PRODUCTS = frozenset(map(np.dtype, "bBhHiIlLqQfdFD"))
_DTYPES = {
    "batched_outer": _PRODUCTS | _HALVES,
    "cross": _PRODUCTS | _HALVES,
    "vecdot": _PRODUCTS,
    "measure": _REAL,
    "triple_product": frozenset(map(np.dtype, "bBhHiIlLqQfd")),
    "normals": _REAL,
    "gram": _REAL,
    "co_moments": frozenset(map(np.dtype, "fdFD")),
    "linreg": _REAL,
}


def status() -> Status:
    """Available: the module could be imported."""
    return Status(True, f"Numba {numba.__version__}")


def supports(operation: str, dtype: np.dtype[Any]) -> bool:
    """Products of integers, real and complex numbers, co-moments of the last two, and else real numbers."""
    return dtype in _DTYPES.get(operation, ())


def __getattr__(name: str) -> Any:
    """An operation of the contract in `vecprod_gpu.backends` (PEP 562)."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    operation = getattr(imported(f"{__package__}._cpu.{_ROOMS[name]}"), name)
    globals()[name] = operation
    return operation


def __dir__() -> list[str]:
    """What the module has, with what it has not imported yet."""
    return sorted({*globals(), *_ROOMS})
