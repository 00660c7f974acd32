"""Sums over the blocks of ``Z = [X Y]`` on the host, merged in float64 by Chan's formula.

What blocks amount to is a *state*, of two parts: a head, their weight and the means of the columns of Z; and
a matrix with a row for each of the first ``rows`` columns of Z and a column for each from ``first`` on.  With
``first == 0`` it is symmetric, and meaningful from the diagonal on.  Sums that are not centred have weight
and means 0, and Chan's formula leaves the plain sum of them.

Means are counted from an *origin*, one row of each problem, so that their differences keep their digits
however far from zero the data lie.
"""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np

from ..compiling import BARE, compiled
from ..float_status import clear_flags, raised_flags
from ..packing import contiguous_view
from ..vectors import ONE, SIDE, TILE_COLUMNS, WIDE, transpose_squares
from .blocks import PANEL, STRIP, multiply, pack_block, whole_vectors
from .short_rows import sum_short_rows

Array = np.ndarray[Any, Any]


def empty_states(count: int, rows: int, columns: int, first: int) -> tuple[Array, Array]:
    """Memory for the heads and the matrices of so many states."""
    return np.empty((count, 1 + columns)), np.empty((count, rows, columns - first))


@cache
def for_dtypes(
    function: Callable[..., int],
    stored: np.dtype[Any],
    summing: np.dtype[Any],
    vectors: int = 0,
    targets: int = 0,
) -> Callable[..., int]:
    """`sum_stripes` or one of its kind for a pair of dtypes, compiled once for all layouts of X and Y.

    The last two are for rows that are short, see `vectors_of`.
    """
    element, total = numba.from_dtype(stored), numba.from_dtype(summing)

    def array(kind: Any, rank: int) -> Any:
        return numba.types.Array(kind, rank, "C")

    def sizes(count: int) -> Any:
        return numba.types.UniTuple(numba.int64, count) if count else numba.types.Tuple(())

    source = numba.types.Array(element, 3, "A", readonly=True, aligned=False)
    states = numba.types.Tuple((array(numba.float64, 2), array(numba.float64, 3)))
    kinds = {
        "X": source,
        "Y": source,
        "weights": numba.types.Array(total, 2, "C", readonly=True),
        "is_centred": numba.boolean,
        "vectors": sizes(vectors),
        "targets": sizes(targets),
        "short_rows": numba.types.Tuple((array(element, 2), source, array(total, 1), array(total, 2))),
        "blocks": numba.types.Tuple((array(total, 2), array(total, 3), array(total, 3))),
        "tiles": numba.types.Tuple((array(total, 2), array(total, 2))),
        "stack": states,
        "partials": states,
        "heads": array(numba.float64, 2),
        "origins": array(numba.float64, 2),
        "lanes": numba.types.Tuple((*[array(total, 2)] * 7, array(numba.float64, 2))),
        "total": array(numba.float64, 1),
        "means": array(total, 2),
        "out": array(total, 3),
    }
    signature = tuple(kinds.get(name, numba.int64) for name in inspect.signature(function).parameters)
    made: Any = compiled(**BARE)(function)
    made.compile(signature)
    made.disable_compile()
    return made  # type: ignore[no-any-return]


def sum_stripes(
    vectors: Any,
    targets: Any,
    X: Any,
    Y: Any,
    weights: Any,
    origins: Any,
    is_centred: bool,
    first: int,
    block_rows: int,
    stripe_rows: int,
    start: int,
    stop: int,
    short_rows: Any,
    blocks: Any,
    tiles: Any,
    stack: Any,
    partials: Any,
) -> int:
    """Write the states of stripes ``start`` to ``stop``, counted over all problems; return the flags raised.

    ``vectors`` and ``targets`` are tuples of the lengths that `vectors_of` tells; ``weights`` is ``(B, n)``,
    or ``(B, 0)`` where there are none; ``partials`` has a state for each stripe.
    """
    clear_flags()
    n = X.shape[1]
    columns = X.shape[2] + Y.shape[2]
    rows = first if first else columns
    pivots, left, right = blocks
    heads, matrices = stack
    flags = 0
    stripes = -(-n // stripe_rows)
    for unit in range(start, stop):
        problem = unit // stripes
        begin = unit % stripes * stripe_rows
        end = min(begin + stripe_rows, n)
        count = 0
        for i in range(begin, end, block_rows):
            block_end = min(i + block_rows, end)
            level = _trailing_ones(count)
            origin, head, matrix = origins[problem], heads[level], matrices[level]
            raised = raised_flags()
            if not sum_short_rows(
                vectors, targets, X, Y, weights, problem, i, block_end, origin, short_rows, head, matrix
            ):
                clear_flags()  # what a way not taken met is nobody's concern
                flags |= raised
                length = whole_vectors(block_end - i, right.itemsize)
                pack_block(
                    X,
                    Y,
                    weights,
                    is_centred,
                    problem,
                    i,
                    block_end,
                    0,
                    columns,
                    length,
                    origin,
                    pivots[0],
                    left[0],
                    right[0],
                    head,
                )
                multiply(left[0], 0, rows, right[0], first, columns, length, first == 0, tiles, matrix)
            for lower in range(level):
                _merge(stack, level, lower)
            count += 1
        _copy(stack, _merge_levels(stack, count), partials, unit - start)
    return flags | raised_flags()


def pack_blocks(
    X: Any,
    Y: Any,
    weights: Any,
    origins: Any,
    is_centred: bool,
    block_rows: int,
    begin: int,
    start: int,
    stop: int,
    blocks: Any,
    heads: Any,
) -> int:
    """Pack panels of columns of a single problem's blocks, with heads from the second on; return the flags.

    ``start`` and ``stop`` count the panels from block ``begin`` on.
    """
    clear_flags()
    n = X.shape[1]
    columns = X.shape[2] + Y.shape[2]
    panels = -(-columns // PANEL)
    pivots, left, right = blocks
    length = whole_vectors(block_rows, right.itemsize)
    for unit in range(start, stop):
        block = unit // panels
        column = unit % panels * PANEL
        row = (begin + block) * block_rows
        pack_block(
            X,
            Y,
            weights,
            is_centred,
            0,
            row,
            min(row + block_rows, n),
            column,
            min(column + PANEL, columns),
            length,
            origins[0],
            pivots[block],
            left[block],
            right[block],
            heads[1 + block],
        )
    return raised_flags()


@compiled(**BARE)
def merge_heads(heads: Any) -> None:
    """Merge the heads after the first one into it, in order; see `_merge_head`."""
    for block in range(1, heads.shape[0]):
        _merge_head(heads, 0, block)


@compiled(**BARE)
def merge_panels(
    heads: Any, blocks: Any, block_rows: int, start: int, stop: int, tiles: Any, product: Any, sums: Any
) -> int:
    """Add to parts ``start`` to ``stop`` of the sums what the packed blocks bring; return the flags raised.

    The heads are those that `merge_heads` leaves.
    """
    clear_flags()
    _, left, right = blocks
    length = whole_vectors(block_rows, right.itemsize)
    first = right.shape[1] - sums.shape[1]
    for unit in range(start, stop):
        a, a_end, b, b_end = _part(unit, sums.shape)
        if first == 0 and b_end <= a:
            continue
        b, b_end = first + b, first + b_end
        for block in range(heads.shape[0] - 1):
            multiply(left[block], a, a_end, right[block], b, b_end, length, first == 0, tiles, product)
            _add_matrix(sums, product, heads[1 + block], a, a_end, b, b_end, first)
    return raised_flags()


@compiled(**BARE)
def _part(unit: int, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """A part of a matrix, a strip by a panel: where its rows begin and end, and its columns."""
    rows, columns = shape
    panels = -(-columns // PANEL)
    a, b = unit // panels * STRIP, unit % panels * PANEL
    return a, min(a + STRIP, rows), b, min(b + PANEL, columns)


@compiled(**BARE)
def _merge_head(heads: Any, into: int, other: int) -> None:
    """Merge the head `other` into another.

    It then holds the differences of their means, and in place of its weight that of the products of those.
    """
    total = heads[into, 0] + heads[other, 0]
    share = heads[other, 0] / total if total != 0 else 0.0
    heads[other, 0] = heads[into, 0] * share
    heads[into, 0] = total
    for j in range(1, heads.shape[1]):
        heads[other, j] -= heads[into, j]
        heads[into, j] += share * heads[other, j]


@compiled(**BARE)
def _add_matrix(
    sums: Any, added: Any, head: Any, a_begin: int, a_end: int, b_begin: int, b_end: int, first: int
) -> None:
    """Add the products of columns a and b, and what the differences in their merged head bring."""
    for a in range(a_begin, a_end):
        b = b_begin if first else max(a, b_begin)
        _add_row(
            sums[a, b - first : b_end - first],
            added[a - a_begin, b - b_begin : b_end - b_begin],
            head[0] * head[1 + a],
            head[1 + b : 1 + b_end],
        )


@compiled(**BARE)
def _add_row(sums: Any, added: Any, scale: float, differences: Any) -> None:
    """``sums += added + scale * differences``, in vectors, which indices from 0 on allow."""
    for j in range(sums.shape[0]):
        sums[j] += added[j] + scale * differences[j]


@compiled(**BARE)
def _merge(states: Any, into: int, other: int) -> None:
    """Merge the state `other`, which is used up, into another."""
    heads, matrices = states
    _, rows, width = matrices.shape
    columns = heads.shape[1] - 1
    first = columns - width
    _merge_head(heads, into, other)
    _add_matrix(matrices[into], matrices[other], heads[other], 0, rows, first, columns, first)


@compiled(**BARE)
def _trailing_ones(number: int) -> int:
    """How many levels of a binary counter of states are full, and to be merged into the next block's."""
    count = 0
    while number & 1:
        number >>= 1
        count += 1
    return count


@compiled(**BARE)
def _merge_levels(stack: Any, count: int) -> int:
    """Merge what a binary counter holds after `count` blocks, smallest first; return where it lies."""
    level = lowest = _trailing_ones(count - 1)  # where the last block went
    count >>= level + 1
    while count:
        level += 1
        if count & 1:
            _merge(stack, lowest, level)
        count >>= 1
    return lowest


@compiled(**BARE)
def _copy(source: Any, index: int, target: Any, place: int) -> None:
    """``target[place] = source[index]``, of states."""
    heads, matrices = source
    target_heads, target_matrices = target
    for j in range(heads.shape[1]):
        target_heads[place, j] = heads[index, j]
    for i in range(matrices.shape[1]):
        for j in range(matrices.shape[2]):
            target_matrices[place, i, j] = matrices[index, i, j]


@compiled(**BARE)
def finish(partials: Any, stripes: int, scale: float, origins: Any, total: Any, means: Any, out: Any) -> int:
    """Merge the states of each problem's stripes; write what they hold; return the flags.

    ``total`` is empty where it and the means are not asked for.  Where all weights are 0, the rest is NaN.
    """
    clear_flags()
    heads, matrices = partials
    is_symmetric = heads.shape[1] == 1 + matrices.shape[2]
    rows, columns = matrices.shape[1:]
    for problem in range(out.shape[0]):
        _merge_pairwise(partials, problem * stripes, stripes)
        last = problem * stripes + stripes - 1
        one = _write_head(heads[last], origins[problem], problem, total, means)
        for a in range(0, rows, PANEL):
            for b in range(a if is_symmetric else 0, columns, PANEL):
                part = matrices[last, a : a + PANEL, b : b + PANEL]
                _write_part(part, one * scale, is_symmetric, a, b, out[problem])
    return raised_flags()


@compiled(**BARE)
def finish_head(heads: Any, origins: Any, total: Any, means: Any) -> Any:
    """Write total and means of a single problem from its first head; 1, or NaN without weight; the flags."""
    clear_flags()
    one = _write_head(heads[0], origins[0], 0, total, means)
    return one, raised_flags()


@compiled(**BARE)
def _write_head(head: Any, origin: Any, problem: int, total: Any, means: Any) -> float:
    one = 1.0
    if total.size:
        total[problem] = head[0]
        one = total[problem] / total[problem]
        for j in range(means.shape[1]):
            means[problem, j] = one * (origin[j] + head[1 + j])
    return one


@compiled(**BARE)
def finish_panels(sums: Any, first: int, scale: float, start: int, stop: int, out: Any) -> int:
    """Write parts of the sums, see `_part`; the flags."""
    clear_flags()
    for unit in range(start, stop):
        a, a_end, b, b_end = _part(unit, sums.shape)
        _write_part(sums[a:a_end, b:b_end], scale, first == 0, a, b, out)
    return raised_flags()


@compiled(**BARE)
def finish_block(
    blocks: Any, block_rows: int, scale: float, start: int, stop: int, tiles: Any, product: Any, out: Any
) -> Any:
    """Write parts of the products of a single packed block, which are its sums; their flags, and of scaling.

    No larger sums pass through memory: of 16 rows of 1,500 columns they took most of the time.
    """
    _, left, right = blocks
    length = whole_vectors(block_rows, right.itemsize)
    first = right.shape[1] - out.shape[1]
    flags, flags_of_scaling = 0, 0
    for unit in range(start, stop):
        a, a_end, b, b_end = _part(unit, out.shape)
        if first == 0 and b_end <= a:
            continue
        clear_flags()
        multiply(left[0], a, a_end, right[0], first + b, first + b_end, length, first == 0, tiles, product)
        flags |= raised_flags()
        clear_flags()
        _write_part(product[: a_end - a, : b_end - b], scale, first == 0, a, b, out)
        flags_of_scaling |= raised_flags()
    return flags, flags_of_scaling


@compiled(**BARE)
def _write_part(part: Any, scale: float, is_symmetric: bool, a: int, b: int, out: Any) -> None:
    """``out[a + i, b + j] = scale * part[i, j]``; where symmetric from the diagonal on, and mirrored.

    The part is used up.
    """
    rows, columns = part.shape
    for i in range(rows):
        first = max(a + i - b, 0) if is_symmetric else 0
        if first < columns:
            target = out[a + i, b + first : b + columns]
            _write_row(contiguous_view(part[i, first:]), scale, contiguous_view(target))
    if is_symmetric:
        _mirror(part, a, b, out)


@compiled(**BARE)
def _write_row(values: Any, scale: float, out: Any) -> None:
    """``values *= scale; out = values``, in vectors, which indices from 0 on allow."""
    for j in range(out.shape[0]):
        values[j] *= scale
        out[j] = values[j]


@compiled(**BARE)
def _mirror(part: Any, a: int, b: int, out: Any) -> None:
    """``out[b + j, a + i] = part[i, j]`` below the diagonal of out, in squares where they lie there whole."""
    rows, columns = part.shape
    target = out[b : b + columns, a : a + rows]
    for first in range(0, columns, SIDE):
        done = 0
        if first + SIDE <= columns:
            squares = max(0, min(rows, b + first - a)) // SIDE
            while done + TILE_COLUMNS <= squares:
                transpose_squares(WIDE, part, SIDE * done, first, None, target)
                done += TILE_COLUMNS
            while done < squares:
                transpose_squares(ONE, part, SIDE * done, first, None, target)
                done += 1
        for j in range(first, min(first + SIDE, columns)):
            for i in range(SIDE * done, min(rows, b + j - a)):
                target[j, i] = part[i, j]


@compiled(**BARE)
def _merge_pairwise(states: Any, start: int, count: int) -> None:
    """Merge so many states into the last of them, by the tree that the binary counter follows."""
    step = 1
    while step < count:
        for pair in range(0, count - step, 2 * step):
            _merge(states, start + min(pair + 2 * step, count) - 1, start + pair + step - 1)
        step *= 2
