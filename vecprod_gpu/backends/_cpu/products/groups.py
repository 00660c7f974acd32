"""Packed short vectors in registers, for loops that the compiler does not find by itself.

As many registers as a vector has components hold a *group*: one vector after another, as they lie in memory,
and as many as a register has lanes.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from ..llvm import bytes_of, load, shuffled


class Groups:
    """The groups of ``(n, length)`` rows without gaps.

    A single row stands for n: copies of it are a group, which is read over and over.
    """

    def __init__(self, builder: Any, rows: Any, register: ir.VectorType, length: int) -> None:
        self._builder, self._register, self._length = builder, register, length
        copies = cgutils.alloca_once(builder, register, length)
        count = cgutils.unpack_tuple(builder, rows.shape)[0]
        is_single = builder.icmp_signed("==", count, count.type(1))
        with builder.if_then(is_single):
            self._copy(rows.data, copies)
        self._begin = builder.select(is_single, builder.bitcast(copies, rows.data.type), rows.data)
        self._step = builder.select(is_single, count.type(0), count.type(length * bytes_of(register)))

    def _copy(self, source: Any, copies: Any) -> None:
        builder, lanes = self._builder, self._register.count
        row = ir.Constant(ir.VectorType(self._register.element, self._length), ir.Undefined)
        for k in map(ir.IntType(32), range(self._length)):
            row = builder.insert_element(row, builder.load(builder.gep(source, [k])), k)
        for k in range(self._length):
            places = (place % self._length for place in range(k * lanes, (k + 1) * lanes))
            builder.store(shuffled(builder, row, places), builder.gep(copies, [ir.IntType(32)(k)]))

    def load(self, index: Any) -> list[Any]:
        """The registers of a group."""
        start = cgutils.pointer_add(self._builder, self._begin, self._builder.mul(index, self._step))
        width = bytes_of(self._register)
        return [load(self._builder, self._register, start, k * width) for k in range(self._length)]


def gathered(builder: Any, group: list[Any], places: list[int]) -> Any:
    """One register of the lanes at those places of a group."""
    lanes = len(places)
    first, *others = sorted({place // lanes for place in places})
    register = shuffled(builder, group[first], [place % lanes for place in places])
    for other in others:
        mask = [lanes + place % lanes if place // lanes == other else k for k, place in enumerate(places)]
        both = ir.Constant(ir.VectorType(ir.IntType(32), lanes), mask)
        register = builder.shuffle_vector(register, group[other], both)
    return register
