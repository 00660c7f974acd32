"""What the Numba kernels share: arithmetic that rounds where it says so, and sums in a fixed order.

NVVM contracts ``a * b - c * d`` to a fused multiply-add, which rounds one product and not the other,
so that ``a × a`` comes out as the rounding error of ``a[1] * a[2]`` instead of 0.  Numba offers no
switch for it: its ``fastmath=False`` leaves contraction on, and link-time optimisation would decide
anew.  An instruction that names its rounding, ``mul.rn``, is never contracted.

Ideas tried: ``libdevice.fmul_rn`` gives the same instruction, but has one name per type, returns
NaN in the simulator and cannot be hidden in an ``@overload``, which asks for a device while
compiling.  ``cuda.fma(x, y, -0.0)`` is folded back into a product by LLVM.

What the simulator lacks comes in pairs: an intrinsic that emits instructions, and a function of NumPy
scalars that gives the same numbers.
"""

import math

import numpy as np
from llvmlite import ir
from numba import cuda
from numba.cuda import config, types
from numba.cuda.extending import intrinsic

inlined = cuda.jit(device=True) if config.ENABLE_CUDASIM else cuda.jit(device=True, forceinline=True)
"""Decorates what kernels are made of.  NVVM inlines it: Numba itself (``inline="always"``) would copy each
function anew for each call, which takes it ten times as long as all the rest of a compilation."""

# ---- Stored and summing types -------------------------------------------------------------------


def _summing(dtype):
    """Numba type that numbers stored as `dtype` are computed in."""
    return types.float32 if dtype == types.float16 else dtype


@intrinsic
def _compiled_sum_dtype(typing_context, array):
    """Type ``sum_dtype``, which takes no instruction."""
    dtype = types.DType(_summing(array.dtype))
    return dtype(array), lambda context, builder, signature, arguments: context.get_dummy_value()


def _simulated_sum_dtype(array):
    """``sum_dtype`` of a NumPy array."""
    return np.dtype(np.float32) if array.dtype == np.float16 else array.dtype


sum_dtype = _simulated_sum_dtype if config.ENABLE_CUDASIM else _compiled_sum_dtype
"""dtype that the numbers of an array are computed in: float32 for float16, else its own."""


@intrinsic
def _compiled_widened(typing_context, x):
    """Type ``widened``, and return its code generator."""
    working = _summing(x)

    def codegen(context, builder, signature, arguments):
        return context.cast(builder, arguments[0], x, working)

    return working(x), codegen


def _simulated_widened(x):
    """``widened`` of a NumPy scalar."""
    return np.float32(x) if isinstance(x, np.float16) else x


widened = _simulated_widened if config.ENABLE_CUDASIM else _compiled_widened
"""A number in the type that it is computed in: float16 as float32, all others as they are."""


# ---- Products -----------------------------------------------------------------------------------

_ROUNDED = {types.float32: "llvm.nvvm.mul.rn.f", types.float64: "llvm.nvvm.mul.rn.d"}


def _multiply_floats(context, builder, dtype, x, y):
    """Emit the one instruction that rounds ``x * y`` to `dtype`."""
    llvm_type = context.get_value_type(dtype)
    function = ir.FunctionType(llvm_type, (llvm_type, llvm_type))
    return builder.call(builder.module.declare_intrinsic(_ROUNDED[dtype], (), function), (x, y))


def _multiply_complex(context, builder, dtype, x, y):
    """Emit the four products and two sums of a complex product."""
    left, right = (context.make_complex(builder, dtype, value) for value in (x, y))
    result = context.make_complex(builder, dtype)

    def multiply(a, b):
        return _multiply_floats(context, builder, dtype.underlying_float, a, b)

    result.real = builder.fsub(multiply(left.real, right.real), multiply(left.imag, right.imag))
    result.imag = builder.fadd(multiply(left.real, right.imag), multiply(left.imag, right.real))
    return result._getvalue()


def _multiply(context, builder, dtype, x, y):
    """Emit ``x * y``, rounded to `dtype` or wrapped at its width."""
    if isinstance(dtype, types.Complex):
        return _multiply_complex(context, builder, dtype, x, y)
    if isinstance(dtype, types.Float):
        return _multiply_floats(context, builder, dtype, x, y)
    return builder.mul(x, y)


def _round_to_half(context, builder, value):
    """Round a float32 to float16 and widen it again."""
    half = context.cast(builder, value, types.float32, types.float16)
    return context.cast(builder, half, types.float16, types.float32)


@intrinsic
def _rounded_product(typing_context, x, y):
    """Type ``product`` for one pair of Numba types, and return its code generator."""
    dtype = typing_context.unify_types(x, y)
    working = _summing(dtype)

    def codegen(context, builder, signature, arguments):
        widened = (
            context.cast(builder, value, kind, working)
            for value, kind in zip(arguments, signature.args, strict=True)
        )
        value = _multiply(context, builder, working, *widened)
        return _round_to_half(context, builder, value) if dtype == types.float16 else value

    return working(x, y), codegen


def _simulated_product(x, y):
    """``x * y`` of two NumPy scalars, which already round and wrap as `product` promises."""
    return x * y


product = _simulated_product if config.ENABLE_CUDASIM else _rounded_product
"""``x * y`` as NumPy rounds it: to the wider of both types, and before anything is added to it.

Integers wrap.  The product of two float16 is rounded to float16 and held in a float32, because
Numba's float16 arithmetic calls functions that are linked in from outside.
"""


@inlined
def _compiled_fused(x, y, z):
    """``fused``, in one instruction."""
    return cuda.fma(x, y, z)


def _simulated_fused(x, y, z):
    """``fused`` of NumPy scalars: in integers, whose quotient Python rounds correctly."""
    if not (math.isfinite(x) and math.isfinite(y)):
        return x * y + z
    if not math.isfinite(z):
        return z
    (x_over, x_under), (y_over, y_under), (z_over, z_under) = (
        float(number).as_integer_ratio() for number in (x, y, z)
    )
    over = x_over * y_over * z_under + z_over * x_under * y_under
    if over == 0:
        return x * y + z  # which is exact then, and has the right sign
    try:
        return type(x)(over / (x_under * y_under * z_under))
    except OverflowError:
        return type(x)(math.inf if over > 0 else -math.inf)


fused = _simulated_fused if config.ENABLE_CUDASIM else _compiled_fused
"""``x * y + z`` of floats of one type, rounded once."""


@inlined
def difference_of_products(a, b, c, d):
    """``a * b - c * d`` with the rounding errors of both products, however much of it cancels.

    By Cornea, Harrison and Tang, as ``geometry.cuh`` tells; swapped products change the sign alone.
    """
    left, right = product(a, b), product(c, d)
    left_error, right_error = fused(a, b, -left), fused(c, d, -right)
    return (left - right) + (left_error - right_error)


# ---- Scales -------------------------------------------------------------------------------------

_MANTISSA_BITS = {32: 23, 64: 52}
_EXPONENT_BIAS = {32: 127, 64: 1023}


@intrinsic
def _compiled_root_scale(typing_context, x):
    """Type ``root_scale``, and return its code generator."""
    integer = ir.IntType(x.bitwidth)
    shift, three_biases = integer(_MANTISSA_BITS[x.bitwidth]), integer(3 * _EXPONENT_BIAS[x.bitwidth])

    def codegen(context, builder, signature, arguments):
        exponent = builder.lshr(builder.bitcast(arguments[0], integer), shift)
        root = builder.lshr(builder.sub(three_biases, exponent), integer(1))
        return builder.bitcast(builder.shl(root, shift), arguments[0].type)

    return x(x), codegen


def _simulated_root_scale(x):
    """``root_scale`` of a NumPy scalar."""
    width = 8 * x.itemsize
    bits = x.view(f"u{x.itemsize}")
    root = (3 * _EXPONENT_BIAS[width] - (int(bits) >> _MANTISSA_BITS[width])) >> 1
    return type(bits)(root << _MANTISSA_BITS[width]).view(x.dtype)


root_scale = _simulated_root_scale if config.ENABLE_CUDASIM else _compiled_root_scale
"""Power of two near ``1 / sqrt(x)`` of a float that is not negative: ``(x * root) * root`` is in [0.5, 2).

Multiplying twice by the root scales exactly where the scale itself, 2**149 for the least float32, is no
float32.  Halving the biased exponent leaves it in the middle of its range, whatever x: 0, infinity and
NaN need no case of their own, a subnormal x is scaled to 2**-23 at least, and 1 / root is finite.
"""


# ---- Sums and searches in a fixed order ----------------------------------------------------------


@inlined
def fold_lanes(values, lanes, items):
    """Add `lanes` (a power of two) rows of `items` numbers by halves, into the first row.

    Every thread of the block calls it; the first barrier also waits for whoever wrote the lanes.
    """
    half = lanes // 2
    while half > 0:
        cuda.syncthreads()
        for i in range(cuda.threadIdx.x, half * items, cuda.blockDim.x):
            values[i] += values[half * items + i]
        half //= 2
    cuda.syncthreads()


@inlined
def place_of(key, keys, order, start, end, is_after_equals):
    """Where `key` belongs in the sorted run ``keys[order[start:end]]``: before its equals, or after them."""
    low, high = start, end
    while low < high:
        middle = (low + high) // 2
        other = keys[order[middle]]
        if other < key or (is_after_equals and other == key):
            low = middle + 1
        else:
            high = middle
    return low
