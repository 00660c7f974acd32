"""Ufuncs of a middle size, shared with threads that wait awake: to wake one takes too long for these.

Threads run the loop of the ufunc itself, by its address, each on its own slices: the bits are its bits.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.ufunc import _internal  # type: ignore[attr-defined]

from ..._small import shared_cross_rows
from ..compiling import compiled, inlined
from ..float_status import clear_flags, raise_flags, raised_flags
from ..memory import empty
from ..processor import LAST_CACHE_BYTES
from ..threads.atomics import look, numbers_on_stack, put
from ..threads.pools import anyone_waits, call_ends, may_wait_awake, thread_count
from ..threads.slices import ALIGNED, all_packed
from ..threads.teams import helpers_for, job_of, seats, share
from ..threads.teams import load as load_team
from .streaming import publish
from .ufuncs import Ufunc, cross_rows_ufunc, loop_of

Array = np.ndarray[Any, Any]

LARGEST_CROSS_BYTES = LAST_CACHE_BYTES // 3  # of a result; a larger one may go past the cache
BLOCKS_A_THREAD = 8  # at least
LARGEST_BLOCK_BYTES = 1 << 20  # of a result: the caller looks between blocks for threads that came late
MOST_NUMBERS = 8  # at least the operands of any ufunc, and the axes that its layout names and one more
NUMBER = 8  # bytes
LOOP, TABLE, HELPERS, PAST_CACHE, LENGTHS, OPERANDS, MOVES = range(0, 7 * NUMBER, NUMBER)  # in a plan

_I64 = ir.IntType(64)
_LOOP = ir.FunctionType(ir.VoidType(), [_I64] * 4)  # three addresses, and one of what no loop here looks at


def share_loop(ufunc: Ufunc, *arrays: Array) -> bool:
    """``ufunc(*arrays)``, which fills the last one, with threads that wait.

    Parameters
    ----------
    ufunc : ufunc
        Of `ufuncs.build`: its loop allocates nothing, and its layout names one axis first in all operands.
    *arrays : arrays
        With the axes that its layout names: nothing is broadcast.

    Returns
    -------
    bool
        False, and nothing is written, where no thread is awake for it.
    """
    if not (helpers := helpers_awake()):
        return False
    shared(ufunc, helpers)(*arrays)
    call_ends()
    return True


def share_cross(a: Array, b: Array, out: Array | None = None) -> Array | None:
    """``a × b`` of arrays of one shape ``(..., 3)`` and dtype, in out or a new array.

    Returns
    -------
    (..., 3) array or None
        None, and nothing is written, where another way is sooner done, or there are more than two axes and an
        array is neither in C order nor one vector that is broadcast.
    """
    if a.nbytes > LARGEST_CROSS_BYTES:
        return None
    if a.ndim > 2:
        if (rows := all_packed(a, b)) is None or not (out is None or out.flags.c_contiguous):
            return None
        length = a.size // 3
        a_rows, b_rows = (x if len(x) == length else np.broadcast_to(x, (length, 3)) for x in rows)
    else:
        a_rows, b_rows = a, b
    if not (helpers := helpers_awake()):
        return None
    if out is None:
        out = empty(a.shape, a.dtype)
    shared(cross_rows_ufunc(out.dtype), helpers)(a_rows, b_rows, out if a.ndim == 2 else out.reshape(-1, 3))
    call_ends()
    return out


def load() -> None:
    """Compile what shares a loop, which calls that follow each other would do."""
    _shared_loop()
    load_team()


def helpers_awake() -> int:
    """How many threads are to help with this call; 0 where none is awake for it."""
    threads = thread_count()
    if threads == 1 or not may_wait_awake(threads):
        return 0
    helpers = helpers_for(threads)
    return helpers if anyone_waits() else 0


@cache
def shared(ufunc: Ufunc, helpers: int, past_cache: bool = False) -> Ufunc:
    """The same ufunc, with a loop that so many helpers share, and that may write past the cache.

    NumPy hands a loop the addresses and strides of arrays in a microsecond; Python takes ten to find them.
    """
    loop = loop_of[ufunc]
    moves = [ufunc.nargs + i for i, axis in enumerate(loop.axes) if axis == loop.axes[0]]
    lengths = 1 + len(set(loop.axes))
    plan = np.array([loop.address, seats.address, helpers, past_cache, lengths, len(moves), *moves])
    return _internal.fromfunc(  # type: ignore[no-any-return]
        ufunc.__name__,
        ufunc.__doc__,
        [_shared_loop()],
        [loop.dtypes],
        ufunc.nin,
        ufunc.nout,
        [plan.ctypes.data],
        plan,  # is kept
        _internal.PyUFunc_None,
        ufunc.signature,
    )


shared_cross_rows.update((np.dtype(char), share_cross) for char in "bBhHiIlLqQefd")


@intrinsic  # type: ignore[untyped-decorator]
def _address_of_shared_loop(typing_context: Any) -> Any:
    """Of a loop as NumPy calls it, which stays as long as the compiled function that asks."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name = builder.module.get_unique_name(f"{builder.function.name}.loop")
        function = ir.Function(builder.module, _LOOP, name)
        function.linkage = "internal"
        inside = ir.IRBuilder(function.append_basic_block())
        call = types.void(*[types.int64] * 4)
        callee = context.compile_subroutine(inside, _share, call).fndesc
        status, _ = context.call_internal_no_propagate(inside, callee, call, function.args)
        with inside.if_then(status.is_error, likely=False):  # memory is short: by this thread alone
            plan = inside.inttoptr(function.args[3], _I64.as_pointer())
            loop = inside.inttoptr(inside.load(plan), _LOOP.as_pointer())
            inside.call(loop, [*function.args[:3], _I64(0)])
        inside.ret_void()
        return builder.ptrtoint(function, _I64)

    return types.int64(), generate


@compiled()
def _shared_loop() -> int:
    return _address_of_shared_loop()  # type: ignore[no-any-return]


def _share(places: int, lengths: int, strides: int, plan: int) -> None:
    """What the loop does: the addresses of operands' beginnings, of lengths, of strides, of a plan."""
    if look(lengths) != 1:  # calls of the loop, which no function here makes
        _call(look(plan + LOOP), places, lengths, strides)
        return
    slices, helpers, last = look(lengths + NUMBER), look(plan + HELPERS), look(plan + OPERANDS) - 1
    slice_bytes = max(1, abs(_move(strides, plan, last)))
    block = min(-(-slices // (BLOCKS_A_THREAD * (helpers + 1))), LARGEST_BLOCK_BYTES // slice_bytes)
    block += -block % ALIGNED if block > 0 else 1
    job, arguments = _slices_job((places, lengths, strides, plan))
    raise_flags(share(look(plan + TABLE), helpers, job, arguments, slices, block))


_numbers = numbers_on_stack(MOST_NUMBERS)


def _slices_of(arguments: Any, start: int, stop: int) -> int:
    places, lengths, strides, plan = arguments
    begins, sizes = _numbers(), _numbers()
    for i in range(look(plan + OPERANDS)):
        put(begins + NUMBER * i, look(places + NUMBER * i) + start * _move(strides, plan, i))
    for i in range(look(plan + LENGTHS)):
        put(sizes + NUMBER * i, look(lengths + NUMBER * i))
    put(sizes + NUMBER, stop - start)  # of the axis after that of the calls
    clear_flags()
    _call(look(plan + LOOP), begins, sizes, strides)
    if look(plan + PAST_CACHE):
        publish()
    return raised_flags()


@inlined()
def _move(strides: int, plan: int, operand: int) -> int:
    """Bytes from one slice of an operand to the next."""
    return look(strides + NUMBER * look(plan + MOVES + NUMBER * operand))  # type: ignore[no-any-return]


_slices_job = job_of(_slices_of)


@intrinsic  # type: ignore[untyped-decorator]
def _call(typing_context: Any, loop: Any, places: Any, lengths: Any, strides: Any) -> Any:
    """Call the loop of a ufunc, as NumPy does."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loop, *addresses = arguments
        builder.call(builder.inttoptr(loop, _LOOP.as_pointer()), [*addresses, _I64(0)])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate
