"""Numbers of half precision, which Numba knows on GPUs alone: a type for them in code for the host.

Processors widen them to float32, compute, and round each result by itself, as NumPy does.  float32 has more
than twice their digits, so that being rounded to it in between changes no bit (Figueroa, "When is double
rounding innocuous?", ACM SIGNUM Newsletter 30(3), 1995).
"""

import operator
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import models, register_model
from numba.np.numpy_support import as_dtype

from ..llvm import multiplied, subtracted


class _Half(types.Number):  # type: ignore[misc]
    """Numba's type of a `numpy.float16` on the host."""

    def __init__(self) -> None:
        super().__init__(name="half")


_HALF = _Half()
_DTYPE = np.dtype(np.float16)


@register_model(_Half)
class _HalfModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: _Half) -> None:
        super().__init__(manager, kind, ir.HalfType())


def _define(operation: Any, write: Any) -> None:
    """Let compiled code apply a Python operator to two of them."""

    @infer_global(operation)
    class _Template(ConcreteTemplate):  # type: ignore[misc]
        cases = (signature(_HALF, _HALF, _HALF),)

    @lower_builtin(operation, _HALF, _HALF)  # type: ignore[untyped-decorator]
    def _lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return write(builder, *arguments)


_define(operator.mul, multiplied)
_define(operator.sub, subtracted)


def element_type(dtype: np.dtype[Any]) -> Any:
    """Numba's type of an array's elements."""
    return _HALF if dtype == _DTYPE else numba.from_dtype(dtype)


def element_dtype(kind: Any) -> np.dtype[Any]:
    """NumPy's dtype of such elements."""
    return _DTYPE if kind is _HALF else as_dtype(kind)
