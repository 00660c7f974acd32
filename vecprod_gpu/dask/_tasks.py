"""What the workers run: the summary of a block, and the joining of those of neighbours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

from ..backends._cpu.threads.pools import sharing_processors
from ..errors import NotFiniteError, VecprodError
from ..linreg._streaming.rows import Rows
from ..linreg._streaming.streamed import Streamed
from ..linreg._streaming.tree import Part

Read = Callable[..., Rows | None]
"""From what a block holds to its rows; None where there are none."""


class Joinable(Protocol):
    """What is known of some blocks."""

    def join(self, later: Any) -> Any:
        """What is known of these blocks and of those after them."""


@dataclass(frozen=True)
class Piece:
    """Some rows of a block, and where they belong.

    Attributes
    ----------
    group : int
        Which of the trees they are a part of.
    rows : slice
        Which rows of the block.
    number : int
        The leaf that they are, where a block is a leaf, or the segment that they begin with.
    is_leaf : bool
        Which of the two.
    """

    group: int
    rows: slice
    number: int
    is_leaf: bool


@dataclass(frozen=True)
class Place:
    """Where a block stands.

    Attributes
    ----------
    block : int
        Its number.
    first_row : int or None
        The number of its first row; None where the lengths of blocks are not known.
    pieces : tuple of Piece
    """

    block: int
    first_row: int | None
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Groups:
    """Parts of several trees, by group."""

    parts: dict[int, Part]

    def join(self, later: "Groups") -> "Groups":
        """Each group's parts joined."""
        joined = dict(self.parts)
        for group, part in later.parts.items():
            joined[group] = joined[group].join(part) if group in joined else part
        return Groups(joined)


def summarise_block(kind: type[Streamed], read: Read, place: Any, *contents: Any) -> Groups:
    """Read a block once, if it has rows; `place` is an array of one `Place`."""
    where: Place = place.item()
    try:
        with sharing_processors():
            rows = read(*contents)
            if rows is not None:
                rows.check_weights()
            return Groups({piece.group: _part(kind, rows, where, piece) for piece in where.pieces})
    except VecprodError as error:
        if isinstance(error, NotFiniteError) and where.first_row is not None:
            raise
        raise type(error)(f"{error} (in block {where.block}, whose rows are counted from 0)") from None


def _part(kind: type[Streamed], rows: Rows | None, place: Place, piece: Piece) -> Part:
    if rows is None:
        return Part.without_rows(piece.number) if piece.is_leaf else Part.of_nothing(piece.number)
    start, stop, _ = piece.rows.indices(rows.n)
    first_row = (place.first_row or 0) + start
    rows = rows.part(start, stop)
    if piece.is_leaf:
        return kind.part_of(rows, 0, first_row).as_leaf(piece.number)
    return kind.part_of(rows, piece.number, first_row)


def read_arrays(names: Sequence[str], *arrays: Any) -> Rows | None:
    """Rows of arrays that are named as the arguments of `Rows.read` are."""
    given = dict(zip(names, arrays, strict=True))
    if not given["X"].shape[0]:
        return None
    return Rows.read(given["X"], given.get("y"), given.get("sample_weight"))


def read_table(features: int, models: tuple[int, ...], is_weighted: bool, table: Any) -> Rows | None:
    """Rows of a table: the features first, then the targets, then the weights."""
    if not table.shape[0]:
        return None
    weights = table[:, -1] if is_weighted else None
    targets = table[:, features : table.shape[1] - is_weighted]
    y = None if models == (0,) else targets if models else targets[:, 0]
    return Rows.read(table[:, :features], y, weights)


def join_blocks(parts: Sequence[Joinable]) -> Joinable:
    """What is known of consecutive blocks."""
    with sharing_processors():
        return reduce(lambda first, later: first.join(later), parts)


def finish(function: Callable[..., Any], known: Any, *others: Any) -> Any:
    """The result, from what is known of all blocks."""
    with sharing_processors():
        return function(known, *others)
