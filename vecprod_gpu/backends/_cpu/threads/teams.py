"""Threads that share a call with no Python in between, by a table of seats in memory.

A thread that sleeps takes up to a tenth of a millisecond to wake, and one that runs Python waits for the GIL:
as long as many a call takes.  So a thread of the pool *sits down* instead: it waits awake in compiled code,
half a millisecond for the next call, which puts the address of its *order* on the seat.  The caller works
too, and looks after each block whether somebody has sat down meanwhile: one who is called in a call comes
late, and would have left before the next.  When no block is left it takes back what nobody has picked up, so
that it never waits for a thread that has yet to begin.

The caller takes blocks from the front and helpers from the end, so that each finds in its own cache what it
had of these arrays in the call before: on 2 cores of Emerald Rapids, cross products of 60,000 to 120,000
vectors of float32 take 10 to 15 % less than in the order of arrival.  On Zen 4 it makes no difference.

A helper that finds itself on the caller's processor keeps it from running, and the system moves neither for a
millisecond: it asks for another processor.

A seat changes from what is expected there to another number in one step of the processor.  So callers,
helpers and the end of a helper's patience may meet there in any order.
"""

import os
from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..compiling import compiled
from . import pools
from .atomics import (
    KNOWS_PROCESSORS,
    add,
    change,
    give_way,
    look,
    merge,
    numbers_on_stack,
    pause,
    processor,
    put,
)

PATIENCE = 500e-6  # seconds until a helper leaves; most programs that call again do it sooner
CAN_MOVE = KNOWS_PROCESSORS and hasattr(os, "sched_setaffinity")  # a thread can choose its processors
SAMPLE = 4096  # rounds of waiting, to see how long one takes

SEATS = 128
SEAT_BYTES = 128  # two lines of the cache, so that neighbours share none wherever the table begins
EMPTY, FREE, TAKEN, LEAVE = range(4)  # what is on a seat, if no order: a helper waits, works or is to go

CALLER = SEATS * SEAT_BYTES  # bytes from the first seat to one more than the processor of the latest caller
LOOK_AROUND = 16  # rounds of waiting from one look at the processor to the next
JOB, ARGUMENTS, COUNT, BLOCK, GIVEN, ENDED, RESULT = range(0, 56, 8)  # bytes from an order to its numbers
ORDER_NUMBERS = 7
AT_THE_END = 1 << 32  # in what is given: blocks from the front are counted below it, those from the end above
FAILED = 1 << 62  # in a result: a kernel raised, and all that those here raise is MemoryError

_I64 = ir.IntType(64)
_JOB = ir.FunctionType(_I64, [_I64] * 3)


class Seats:
    """Where threads wait for orders.

    Attributes
    ----------
    address : int
        Of the first seat, for compiled code.
    """

    def __init__(self) -> None:
        self._numbers = np.full((SEATS + 1, SEAT_BYTES // 8), EMPTY, np.int64)
        self.address: int = self._numbers.ctypes.data

    def sit_down(self) -> None:
        """Carry out orders until none has come for a while."""
        while _serve(self.address, _rounds(PATIENCE), CAN_MOVE) and _move_away():
            pass

    def dismiss(self) -> None:
        """Have the threads that wait go."""
        _dismiss(self.address)

    def clear(self) -> None:
        """Know of nobody: in a forked child, which has no threads but its own."""
        self._numbers[:] = EMPTY


seats = Seats()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=seats.clear)


def helpers_for(threads: int) -> int:
    """How many helpers there may be for a call that so many threads can share.

    Where calls follow each other closely they are called: not in time for this one, but for the next.
    """
    helpers = min(threads, SEATS) - 1
    if helpers > 0 and pools.calls_follow():
        load()
        pools.seat(helpers, seats)
    return helpers


def load() -> None:
    """Load what helpers run, and what ends it: in their threads that would keep the GIL from others."""
    _rounds(PATIENCE)


def _move_away() -> bool:
    """Go on on another processor; whether this thread may."""
    allowed = os.sched_getaffinity(0)
    if others := allowed - {processor()}:
        os.sched_setaffinity(0, others)
        os.sched_setaffinity(0, allowed)
    return bool(others)


@cache
def _rounds(seconds: float) -> int:
    """Rounds of waiting that take so long on this machine."""
    empty = Seats()
    empty.dismiss()  # these two compile what they call
    _serve(empty.address, 1, False)

    def sample() -> float:
        start = perf_counter()
        _serve(empty.address, SAMPLE, False)
        return perf_counter() - start

    return int(SAMPLE * seconds / min(sample() for _ in range(5)))


# --- Jobs: compiled functions that any thread can call by their address ----------------------------------


def job_of(kernel: Callable[..., int]) -> Any:
    """For compiled code: ``job(arguments)`` gives two addresses by which threads call a kernel.

    They hold as long as the function runs that has called it.  It keeps alive what is in the tuple: arrays
    that it was given itself, or uses afterwards.

    Parameters
    ----------
    kernel : callable
        ``kernel(arguments, start, stop)`` of a tuple and a range, for Numba. Returns an integer; raises only
        where memory is short.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def job(typing_context: Any, arguments: Any) -> Any:
        call = types.int64(arguments, types.int64, types.int64)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            slot = cgutils.alloca_once_value(builder, values[0])
            function = ir.Function(
                builder.module, _JOB, builder.module.get_unique_name(f"{builder.function.name}.job")
            )
            function.linkage = "internal"
            inside = ir.IRBuilder(function.append_basic_block())
            address, start, stop = function.args
            given = [inside.load(inside.inttoptr(address, slot.type)), start, stop]
            callee = context.compile_subroutine(inside, kernel, call).fndesc
            status, result = context.call_internal_no_propagate(inside, callee, call, given)
            inside.ret(inside.select(status.is_error, _I64(FAILED), result))
            addresses = [builder.ptrtoint(pointer, _I64) for pointer in (function, slot)]
            return context.make_tuple(builder, signature.return_type, addresses)

        return types.UniTuple(types.int64, 2)(arguments), generate

    return job


@intrinsic  # type: ignore[untyped-decorator]
def _call(typing_context: Any, job: Any, arguments: Any, start: Any, stop: Any) -> Any:
    """Call a job by its addresses."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.call(builder.inttoptr(values[0], _JOB.as_pointer()), values[1:])

    return types.int64(*[types.int64] * 4), generate


_new_order = numbers_on_stack(ORDER_NUMBERS)


# --- Both sides of an order ------------------------------------------------------------------------------


@compiled()
def share(seats: int, helpers: int, job: int, arguments: int, count: int, block: int) -> int:
    """Have a job done for 0 to count in blocks, by this thread and so many that wait; the results, or-ed."""
    order = _new_order()
    put(order + JOB, job)
    put(order + ARGUMENTS, arguments)
    put(order + COUNT, count)
    put(order + BLOCK, block)
    put(order + GIVEN, 0)
    put(order + ENDED, 0)
    put(order + RESULT, 0)
    if helpers > 0:
        put(seats + CALLER, processor() + 1)
    given = np.empty(helpers, np.int64)
    asked = _give(order, seats, given)
    while _do_block(order, 1):
        if asked < helpers:  # who was on the way when this began may be there by now
            asked += _give(order, seats, given[asked:])
    begun = 0
    for seat in given[:asked]:
        # Who has not seen the order is kept from running, perhaps by this very thread: let it sleep, and wake
        # on another processor.
        begun += not change(seat, order, LEAVE)
    while look(order + ENDED) < begun:
        give_way()
    result: int = look(order + RESULT)
    if result & FAILED:
        raise MemoryError
    return result


@compiled()
def _give(order: int, seats: int, given: Any) -> int:
    """Put an order on the seats of those who wait, and note which; how many there are."""
    count = 0
    for i in range(SEATS):
        if count == given.size:
            break
        seat = seats + SEAT_BYTES * i
        if look(seat) == FREE and change(seat, FREE, order):
            given[count] = seat
            count += 1
    return count


@compiled()
def _do_block(order: int, step: int) -> bool:
    """Do the next block of an order, if one is left: the first by a step of 1, the last by AT_THE_END."""
    count, block = look(order + COUNT), look(order + BLOCK)
    blocks = (count + block - 1) // block
    given = add(order + GIVEN, step)
    at_front, at_end = given % AT_THE_END, given // AT_THE_END
    if at_front + at_end >= blocks:
        return False
    start = block * (at_front if step == 1 else blocks - 1 - at_end)
    stop = min(start + block, count)
    merge(order + RESULT, _call(look(order + JOB), look(order + ARGUMENTS), start, stop))
    return True


@compiled()
def _serve(seats: int, patience: int, can_move: bool) -> bool:
    """Take a seat if there is one, and stay for so many rounds after the last order.

    Returns
    -------
    bool
        Whether it left because it runs where the caller did, and can move.
    """
    seat = _take(seats)
    if seat == 0:
        return False
    waited = 0
    while waited < patience or not change(seat, FREE, EMPTY):
        found = look(seat)
        if found == LEAVE:
            put(seat, EMPTY)
            return False
        if found > LEAVE and change(seat, found, TAKEN):
            while _do_block(found, AT_THE_END):
                pass
            put(seat, FREE)  # first, so that it is free for the next order of a caller who waits for the end
            add(found + ENDED, 1)
            waited = 0
        waited += 1
        is_in_the_way = can_move and waited % LOOK_AROUND == 0 and look(seats + CALLER) == processor() + 1
        if is_in_the_way and change(seat, FREE, EMPTY):
            return True
        pause()  # and does not give way: beside a thread that never does, its turn comes milliseconds later
    return False


@compiled()
def _take(seats: int) -> int:
    """A seat for this thread; 0 where all are taken."""
    for i in range(SEATS):
        if change(seats + SEAT_BYTES * i, EMPTY, FREE):
            return seats + SEAT_BYTES * i
    return 0


@compiled()
def _dismiss(seats: int) -> None:
    for i in range(SEATS):
        change(seats + SEAT_BYTES * i, FREE, LEAVE)
