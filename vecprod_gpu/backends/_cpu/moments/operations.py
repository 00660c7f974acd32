"""Gram matrices and co-moments on the host: one pass over X, in blocks of rows on threads.

The tree of a sum depends on its columns and dtype alone: neither the threads, nor how the work is cut for
them, nor the layout of X can be seen in the result.
"""

import math
from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np

from ..._reference.moments import correlate
from ..stripes import STRIPES, blocks_per_stripe
from ..threads.pools import for_each_block_of
from ..workspaces import Workspaces
from .block_sums import (
    empty_states,
    finish,
    finish_block,
    finish_head,
    finish_panels,
    for_dtypes,
    merge_heads,
    merge_panels,
    pack_blocks,
    sum_stripes,
)
from .blocks import PANEL, STRIP, empty_blocks, empty_panel, empty_tiles, panels_across, rows_per_block
from .call import PACKING_WORK, Call, work_of
from .complex_moments import by_parts
from .lane_sums import sum_in_lanes
from .lanes import fits_lanes
from .short_rows import short_row_memory, vectors_of

Array = np.ndarray[Any, Any]

WIDEST_MATRIX = 1 << 16  # elements; a larger one is one for all threads, others are one for each stripe
LEAST_PRODUCTS = 1 << 23  # of a task; with fewer a thread is sooner done than the next is begun
LEAST_OF_PARTS = 1 << 20  # the same of parts of a matrix, which are also to be written
CHUNK_BYTES = 1 << 20  # of the states of small problems, which stay in the cache until they are used
GROUP_BYTES = 4 << 20  # of blocks that are packed before the threads turn to their products
LARGEST_KEPT = 1 << 15  # elements of a block and a matrix, whose sums take as long as to lay out memory


def gram(X: Array, Y: Array | None, weights: Array | None, out: Array) -> None:
    """See the contract in `vecprod_gpu.backends`."""
    nothing = np.empty(0), np.empty((0, 0), out.dtype)
    _compute(Call("gram", X, Y, weights, False, 1.0, *nothing, out))


def co_moments(
    X: Array,
    Y: Array | None,
    weights: Array | None,
    *,
    scale: float,
    correlation: bool,
    total: Array,
    means: Array,
    out: Array,
) -> None:
    """See the contract in `vecprod_gpu.backends`."""

    def compute(X: Array, Y: Array | None, weights: Array | None, means: Array, out: Array) -> None:
        _compute(Call("co_moments", X, Y, weights, True, scale, total, means, out))

    if X.dtype.kind == "c":
        by_parts(compute, X, Y, weights, means, out)
    else:
        compute(X, Y, weights, means, out)
    if correlation:
        correlate(out)


def _compute(call: Call) -> None:
    n, columns = call.X.shape[1], call.columns
    if call.out.shape[2] == columns and fits_lanes(n, columns, call.out.itemsize):
        sum_in_lanes(call)
    else:
        _Sums(call).compute()


def _stripe_memory(
    block_rows: int,
    per_stripe: int,
    rows: int,
    columns: int,
    first: int,
    vectors: int,
    targets: int,
    stored: np.dtype[Any],
    dtype: np.dtype[Any],
    is_weighted: bool,
) -> tuple[Any, ...]:
    """What `sum_stripes` works in: for short rows, packed blocks, a tile, and the stack of states."""
    return (
        short_row_memory(block_rows, columns - targets, stored, dtype, vectors),
        empty_blocks(1, rows, columns, block_rows, dtype, is_weighted),
        empty_tiles(dtype),
        empty_states(per_stripe.bit_length(), rows, columns, first),
    )


_workspaces = Workspaces(_stripe_memory)


class _Sums:
    """The sums of one call, in blocks of rows: its arguments, and what follows from them."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.X, self.Y, self.weights = call.X, call.Y, call.weights
        self.is_centred, self.scale = call.is_centred, call.scale
        self.total, self.means, self.out = call.total, call.means, call.out
        _, n, p = self.X.shape
        _, rows, width = self.out.shape
        columns = call.columns
        self.shape = rows, columns, columns - width
        self.vectors, self.targets = vectors_of(p, columns - p, self.out.dtype) if self.is_centred else (0, 0)
        self.block_rows = min(n, rows_per_block(columns, self.out.dtype, self.vectors > 0))
        self.blocks = -(-n // self.block_rows)
        self.flags: list[int] = []
        self.flags_of_scaling: list[int] = []

    def compute(self) -> None:
        """Fill the results, and report."""
        problems = self.X.shape[0]
        matrix_size = math.prod(self.out.shape[1:])
        in_panels = matrix_size > WIDEST_MATRIX and (self.blocks > 1 or problems == 1)
        # Here rather than on the threads, each of which would compile it.
        function = pack_blocks if in_panels else sum_stripes
        sizes = () if in_panels else (self.vectors, self.targets)
        self.kernel = for_dtypes(function, self.X.dtype, self.out.dtype, *sizes)
        if in_panels:
            self._for_each_problem(_Sums._sum_panels)
        elif self.blocks > 1 and problems < STRIPES:
            self._for_each_problem(_Sums._sum_stripes)
        else:
            state_bytes = 8 * (1 + self.shape[1] + matrix_size)
            chunk = min(problems // STRIPES, CHUNK_BYTES // state_bytes)
            for_each_block_of(work_of(self.X, self.out), self._sum_problems, problems, max(1, chunk))
        self.call.report(self.flags, self.flags_of_scaling)

    def _for_each_problem(self, task: Callable[["_Sums"], None]) -> None:
        for problem in range(self.X.shape[0]):
            task(self._part(problem, problem + 1))

    def _part(self, start: int, stop: int) -> "_Sums":
        """Some of the problems."""
        if stop - start == self.X.shape[0]:
            return self
        part = copy(self)
        for name in ("X", "Y", "weights", "total", "means", "out"):
            setattr(part, name, getattr(self, name)[start:stop])
        return part

    def _sum_problems(self, start: int, stop: int) -> None:
        """Whole problems on one thread."""
        part = self._part(start, stop)
        states = empty_states(stop - start, *self.shape)
        part._find_origins()
        part._run_stripes(self.blocks, 0, stop - start, states)
        part._finish(states, 1)

    def _sum_stripes(self) -> None:
        """One problem, in stripes of its rows."""
        per_stripe = blocks_per_stripe(self.blocks)
        stripes = -(-self.blocks // per_stripe)
        heads, matrices = empty_states(stripes, *self.shape)

        def task(start: int, stop: int) -> None:
            self._run_stripes(per_stripe, start, stop, (heads[start:stop], matrices[start:stop]))

        self._find_origins()
        products = self.block_rows * per_stripe * self.shape[0] * self.shape[1]
        for_each_block_of(work_of(self.X, self.out), task, stripes, max(1, LEAST_PRODUCTS // products))
        self._finish((heads, matrices), stripes)

    def _find_origins(self) -> None:
        """The row of Z that weighs most in each problem: the spread allows no mean to lie far from it."""
        self.origins = np.empty((self.X.shape[0], self.shape[1]))
        if self.is_centred:
            p = self.X.shape[2]
            rows: Any = np.s_[:, 0]
            if self.weights.size:
                rows = np.arange(self.X.shape[0]), self.weights.argmax(axis=1)
            self.origins[:, :p], self.origins[:, p:] = self.X[rows], self.Y[rows]

    def _run_stripes(self, per_stripe: int, start: int, stop: int, states: tuple[Array, Array]) -> None:
        """Call `sum_stripes` with memory of its own."""
        first = self.shape[2]
        dtypes, is_weighted = (self.X.dtype, self.out.dtype), self.weights.size > 0
        lengths = self.vectors, self.targets
        shape = self.block_rows, per_stripe, *self.shape, *lengths, *dtypes, is_weighted
        columns = self.shape[1]
        is_kept = columns * (self.block_rows + columns) <= LARGEST_KEPT
        memory = _workspaces.take(*shape) if is_kept else _stripe_memory(*shape)
        flags = self.kernel(
            (0,) * self.vectors,
            (0,) * self.targets,
            self.X,
            self.Y,
            self.weights,
            self.origins,
            self.is_centred,
            first,
            self.block_rows,
            self.block_rows * per_stripe,
            start,
            stop,
            *memory,
            states,
        )
        self.flags.append(flags)
        if is_kept:
            _workspaces.give_back(memory, *shape)

    def _sum_panels(self) -> None:
        """One problem, some blocks at a time; the threads share first their columns, then the matrix."""
        _, columns, first = self.shape
        group = min(self.blocks, max(1, GROUP_BYTES // (columns * self.block_rows * self.out.itemsize)))
        memory = empty_blocks(group, *self.shape[:2], self.block_rows, self.out.dtype, self.weights.size > 0)
        heads = np.zeros((1 + group, 1 + columns))
        self._find_origins()
        if self.blocks == 1:
            self._pack(0, heads, memory)
            self._write_products(self._finish_head(heads), memory)
            return
        sums = np.zeros(self.out.shape[1:])
        for begin in range(0, self.blocks, group):
            used = heads[: 1 + min(group, self.blocks - begin)]
            self._pack(begin, used, memory)
            self._add_products(used, memory, sums)
        scale = self._finish_head(heads)

        def write(start: int, stop: int) -> None:
            self.flags_of_scaling.append(finish_panels(sums, first, scale, start, stop, self.out[0]))

        self._over_parts(write)

    def _pack(self, begin: int, heads: Array, memory: Any) -> None:
        """As many blocks as there are heads after the first one, into which these are then merged."""
        arguments = self.X, self.Y, self.weights, self.origins, self.is_centred, self.block_rows, begin

        def pack(start: int, stop: int) -> None:
            self.flags.append(self.kernel(*arguments, start, stop, memory, heads))

        panels = (len(heads) - 1) * panels_across(self.shape[1])
        for_each_block_of(PACKING_WORK * self.X.size, pack, panels, 1)
        merge_heads(heads)

    def _add_products(self, heads: Array, memory: Any, sums: Array) -> None:
        dtype = self.out.dtype

        def add(start: int, stop: int) -> None:
            tiles, product = empty_tiles(dtype), empty_panel(dtype)
            self.flags.append(merge_panels(heads, memory, self.block_rows, start, stop, tiles, product, sums))

        self._over_parts(add)

    def _write_products(self, scale: float, memory: Any) -> None:
        dtype = self.out.dtype

        def write(start: int, stop: int) -> None:
            tiles, product = empty_tiles(dtype), empty_panel(dtype)
            flags = finish_block(memory, self.block_rows, scale, start, stop, tiles, product, self.out[0])
            self.flags.append(flags[0])
            self.flags_of_scaling.append(flags[1])

        self._over_parts(write)

    def _over_parts(self, task: Callable[[int, int], None]) -> None:
        """Parts of the matrix are strips by panels."""
        rows, columns, first = self.shape
        parts = -(-rows // STRIP) * panels_across(columns - first)
        work = self.X.shape[1] * self.out.size
        if first == 0:
            work //= 2  # half of a symmetric matrix is copied
        for_each_block_of(work, task, parts, max(1, LEAST_OF_PARTS // (self.block_rows * STRIP * PANEL)))

    def _finish_head(self, heads: Array) -> float:
        """Call `finish_head`; what the sums are to be multiplied by."""
        one, flags = finish_head(heads, self.origins, self.total, self.means)
        self.flags_of_scaling.append(flags)
        return float(one * self.scale)

    def _finish(self, states: tuple[Array, Array], stripes: int) -> None:
        """Call `finish`."""
        flags = finish(states, stripes, self.scale, self.origins, self.total, self.means, self.out)
        self.flags_of_scaling.append(flags)
