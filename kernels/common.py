"""What the Numba kernels share: a product that is rounded by itself, and sums in a fixed order.

NVVM contracts ``a * b - c * d`` to a fused multiply-add, which rounds one product and not the other,
so that ``a × a`` comes out as the rounding error of ``a[1] * a[2]`` instead of 0.  Numba offers no
switch for it: its ``fastmath=False`` leaves contraction on, and link-time optimisation would decide
anew.  An instruction that names its rounding, ``mul.rn``, is never contracted.

Ideas tried: ``libdevice.fmul_rn`` gives the same instruction, but has one name per type, returns
NaN in the simulator and cannot be hidden in an ``@overload``, which asks for a device while
compiling.  ``cuda.fma(x, y, -0.0)`` is folded back into a product by LLVM.
"""

from llvmlite import ir
from numba import cuda
from numba.cuda import config, types
from numba.cuda.extending import intrinsic

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
    working = types.float32 if dtype == types.float16 else dtype

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


@cuda.jit(device=True, inline="always")
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
