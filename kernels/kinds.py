"""Arithmetic that is written alike for real numbers, complex ones and integers, as in ``kinds.cuh``."""

import numpy as np
from numba.cuda import config, types
from numba.cuda.extending import intrinsic

from .common import inlined


def _widest(dtype):
    """Numba type in which long sums of numbers of a type are kept."""
    if isinstance(dtype, types.Float):
        return types.float64
    return types.complex128 if isinstance(dtype, types.Complex) else dtype


@intrinsic
def _compiled_wide_dtype(typing_context, array):
    """Type ``wide_dtype``, which takes no instruction."""
    dtype = types.DType(_widest(array.dtype))
    return dtype(array), lambda context, builder, signature, arguments: context.get_dummy_value()


def _simulated_wide_dtype(array):
    """``wide_dtype`` of a NumPy array."""
    return {"f": np.dtype(np.float64), "c": np.dtype(np.complex128)}.get(array.dtype.kind, array.dtype)


wide_dtype = _simulated_wide_dtype if config.ENABLE_CUDASIM else _compiled_wide_dtype
"""dtype in which long sums of an array's numbers are kept: the widest of its kind; of integers its own."""


@intrinsic
def _compiled_from_parts(typing_context, like, real, imag):
    """Type ``from_parts``, and return its code generator."""
    part = like.underlying_float if isinstance(like, types.Complex) else like

    def codegen(context, builder, signature, arguments):
        parts = [
            context.cast(builder, value, kind, part)
            for value, kind in zip(arguments[1:], (real, imag), strict=True)
        ]
        if part == like:
            return parts[0]
        number = context.make_complex(builder, like)
        number.real, number.imag = parts
        return number._getvalue()

    return like(like, real, imag), codegen


def _simulated_from_parts(like, real, imag):
    """``from_parts`` of NumPy scalars."""
    return type(like)(complex(real, imag) if like.dtype.kind == "c" else real)


from_parts = _simulated_from_parts if config.ENABLE_CUDASIM else _compiled_from_parts
"""Number of the type of the first argument; a real one has no use for the imaginary part."""


@inlined
def clipped(x):
    """Clip to [-1, 1]; NaN stays NaN."""
    return 1.0 if x > 1 else (-1.0 if x < -1 else x)
