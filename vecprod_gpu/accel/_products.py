"""Which calls of numpy.outer, cross and einsum are ours: whose bits, layout and warnings stay NumPy's."""

import re
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy import ndarray

import vecprod_gpu as vp

from ..backends._small import SMALL_ELEMENTS
from ._loading import loading
from ._routes import TOO_SMALL, Unsuitable, Verdict, ask
from ._sizes import least
from ._watch import watch

# Complex products are left to NumPy, which may fuse them, by the processor.
REAL = frozenset("efdbhilqBHILQ")

# Below these sizes ours was slower, or as fast, on two cores in turns with NumPy.
LEAST_VECTORS = least(3000)  # of a cross product that takes the long way through checks and dispatch
LEAST_OUTER_BYTES = least(24 << 20)  # of a result
LEAST_EINSUM_ELEMENTS = least(1 << 19)  # of a result

# What NumPy takes on such a machine, to reckon when loading ours has paid: a call, a vector, an element.
CROSS_CALL, CROSS_VECTOR, PRODUCT = 40e-6, 50e-9, 2e-9

SURELY_SMALL = least(1 << 16)  # elements of an outer product
SHORT = least(256)  # elements of an input to it; Python keeps its ints up to here, and makes all others anew
A_FEW = least(48)  # elements of an input to a cross product

SEQUENCES = (list, tuple)

HAS_ZEROS = "zeros, whose products have a sign of NumPy's own"
NOT_THREE = "vectors do not have 3 components"


def judge_outer(a: Any, b: Any, out: Any = None) -> Verdict:
    """Of `numpy.outer`."""
    if reason := _unlike(a, b):
        return reason
    dtype = np.multiply.resolve_dtypes((a.dtype, b.dtype, None))[2]
    if a.size * b.size * dtype.itemsize < LEAST_OUTER_BYTES:
        return TOO_SMALL
    if out is not None and (reason := _unlike_result(out, (a.size, b.size), dtype, a, b)):
        return reason
    return loading.obstacle(PRODUCT * a.size * b.size) or partial(vp.outer, a, b, out)


def judge_linalg_outer(x1: Any, x2: Any) -> Verdict:
    """Of `numpy.linalg.outer`."""
    if np.ndim(x1) != 1 or np.ndim(x2) != 1:
        return "inputs are not vectors"
    return judge_outer(x1, x2)


def judge_cross(
    a: Any, b: Any, axisa: Any = None, axisb: Any = None, axisc: Any = None, axis: Any = None
) -> Verdict:
    """Of `numpy.cross`."""
    a, b = _beside(a, b), _beside(b, a)
    if reason := _unlike(a, b):
        return reason
    if 0 in (a.ndim, b.ndim):
        return NOT_THREE
    axisa, axisb, axisc = (-1 if one is None else one for one in (axisa, axisb, axisc))
    if axis is not None:
        axisa = axisb = axisc = axis
    if a.shape[axisa] != 3 or b.shape[axisb] != 3:
        return NOT_THREE
    usual = axisa == axisb == axisc == -1
    if usual and a.dtype is b.dtype and a.shape == b.shape and a.size <= SMALL_ELEMENTS:
        vectors = a.size // 3
    else:
        vectors = max(a.size, b.size) // 3
        if vectors < LEAST_VECTORS:
            return TOO_SMALL
    obstacle = loading.obstacle(CROSS_CALL + CROSS_VECTOR * vectors)
    return obstacle or partial(vp.cross, a, b, axisa, axisb, axisc)


def judge_linalg_cross(x1: Any, x2: Any, axis: Any = -1) -> Verdict:
    """Of `numpy.linalg.cross`, which counts the axis in each input by itself, as `numpy.cross` does."""
    return "no axis is given" if axis is None else judge_cross(x1, x2, axis=axis)


def judge_einsum(*operands: Any, out: Any = None, optimize: Any = False, **others: Any) -> Verdict:
    """Of `numpy.einsum`: the outer product of two vectors, and of a batch of pairs of them."""
    if out is not None or others or optimize is not False:
        return "out, optimize or another option is given"
    if len(operands) != 3 or type(operands[0]) is not str or not is_outer_product(operands[0]):
        return "not an outer product of two operands"
    _, a, b = operands
    if reason := _unlike(a, b):
        return reason
    if a.dtype is not b.dtype:
        return f"the operands are {a.dtype} and {b.dtype}"
    if "..." not in operands[0] and not a.ndim == b.ndim == operands[0].replace(" ", "").index(","):
        return "operands do not have an axis for each letter"
    if a.shape[:-1] != b.shape[:-1]:
        return "batches are broadcast"
    if not (a.flags.c_contiguous and b.flags.c_contiguous):
        return "operands are not contiguous, and the layout of the result follows them"
    elements = a.size * b.shape[-1]
    if elements < LEAST_EINSUM_ELEMENTS:
        return TOO_SMALL
    return loading.obstacle(PRODUCT * elements) or partial(_batched_outer, a, b)


@lru_cache
def is_outer_product(subscripts: str) -> bool:
    """Whether the subscripts are those of an outer product, or of a batch of them."""
    subscripts = subscripts.replace(" ", "")
    found = re.fullmatch(r"((?:\.\.\.)?[a-zA-Z]*)([a-zA-Z]),\1([a-zA-Z])->\1\2\3", subscripts)
    if not found:
        return False
    letters = found[1].replace("...", "") + found[2] + found[3]
    return len(set(letters)) == len(letters) and ("..." not in subscripts or not found[1][3:])


def ask_outer(original: Any) -> Any:
    """As `ask`, without its price for what is small."""
    ask_at_length = ask("np.outer", original, judge_outer)

    def relevant(a: Any, b: Any, out: Any = None) -> tuple[Any, ...]:
        if (
            type(a) is type(b) is ndarray
            and out is None
            and not watch.on
            and (a.size < SHORT > b.size or a.size * b.size < SURELY_SMALL)
        ):
            return ()
        return ask_at_length(a, b, out)

    return relevant


def ask_cross(original: Any) -> Any:
    """As `ask`, without its price for single vectors that NumPy keeps."""
    ask_at_length = ask("np.cross", original, judge_cross)

    def relevant(
        a: Any, b: Any, axisa: Any = None, axisb: Any = None, axisc: Any = None, axis: Any = None
    ) -> tuple[Any, ...]:
        if not watch.on:
            kind = type(a)
            if kind is ndarray and type(b) is ndarray:
                if a.size <= A_FEW and b.size <= A_FEW and loading.waits(CROSS_CALL):
                    return ()
            elif kind in SEQUENCES and type(b) in SEQUENCES:
                return ()
        return ask_at_length(a, b, axisa, axisb, axisc, axis)

    return relevant


def ask_einsum(original: Any) -> Any:
    """As `ask`, without its price for what is small or no outer product."""
    ask_at_length = ask("np.einsum", original, judge_einsum)

    def relevant(*operands: Any, **options: Any) -> tuple[Any, ...]:
        if not watch.on and not options and len(operands) == 3:
            subscripts, a, b = operands
            if (
                type(a) is ndarray
                and type(b) is ndarray
                and type(subscripts) is str
                and (a.size * b.size < SURELY_SMALL or not is_outer_product(subscripts))
            ):
                return ()
        return ask_at_length(*operands, **options)

    return relevant


def _batched_outer(a: Any, b: Any) -> Any:
    """Where no product is zero; of those the sign depends on the loop that `numpy.einsum` takes."""
    if a.dtype.kind == "f":
        if not (a.all() and b.all()):
            raise Unsuitable(HAS_ZEROS)
        with np.errstate(under="raise"):
            return vp.batched_outer(a, b)
    return vp.batched_outer(a, b)


def _beside(array: Any, other: Any) -> Any:
    """A list as an array, where it stands beside an array that is worth it."""
    is_list = type(array) in SEQUENCES and type(other) is ndarray and other.size > A_FEW
    return np.asarray(array) if is_list else array


def _unlike(*arrays: Any) -> str:
    """Why arrays are not of the kind that ours computes to the bit as NumPy does; "" where they are."""
    for array in arrays:
        if type(array) is not ndarray:
            return f"{type(array).__name__} is no NumPy array"
        if array.dtype.char not in REAL:
            return f"{array.dtype} dtype is not supported"
        if not array.dtype.isnative:
            return "foreign byte order is not supported"
    return ""


def _unlike_result(out: Any, shape: tuple[int, int], dtype: np.dtype[Any], *inputs: Any) -> str:
    """Why ``out`` is not what the result would be by itself, apart from the inputs; "" where it is."""
    if type(out) is not ndarray or out.shape != shape or out.dtype != dtype or not out.flags.writeable:
        return "out is not such an array as the result"
    if any(np.may_share_memory(out, array) for array in inputs):
        return "out shares memory with an input"
    return ""
