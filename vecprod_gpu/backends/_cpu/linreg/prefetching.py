"""What loops over groups of rows ask for ahead of themselves, so that memory does not wait for arithmetic.

Hardware that sees lines follow each other asks for the next ones itself, up to the end of a page, and in
AMD's cores best where nothing else asks.  What it cannot see is the pause between the two turns in which a
long row is read, dot product and gradient; so the lines of a later group are asked for in both, half in each.

Ideas tried for float32 rows that are read twice: the speed over that of merely reading X, in the same run, at
d = 80, 128, 256, 512, 1024 and 4096.  On 2 cores of a Cascade Lake server, rows of a group read side by side:

- nothing asked for: 0.76, 0.64, 0.68, 0.76, 0.86, 0.84
- what lies 1 KB ahead: 0.89, 0.89, 0.78, 0.88, 0.88, 0.88
- the next group, in the second turn: 0.86, 0.81, 0.85, 0.94, 0.97, 0.83
- half of it in each turn (kept): 0.90, 0.93, 0.95, 0.91, 1.00, 0.91

On one core of a Zen 4 server, which alone reads nearly as fast as both:

- side by side, nothing asked for: 0.79, 0.41, 0.27, 0.33, 0.58, 0.69
- two groups ahead in the order of memory, but 8 KB at least, into the second level (kept for rows of more
  than 4 KB): 0.90, 0.81, 0.72, 0.78, 0.90, 0.84
- one row after another, the same asked for (kept for shorter rows): 0.96, 0.99, 0.96, 0.88, 0.88, 0.65
- one row after another, nothing asked for: 0.98, 0.97, 0.97, 0.85, 0.70, 0.50
- the gradient of a group in one loop with the dot products of the next: 0.92, 0.97, 0.96, 0.94, 0.84, 0.61

And for rows that stay in registers, there, at d = 8, 16, 32 and 64:

- what lies 4 KB ahead (kept for rows of a line): 0.90, 1.00, 0.92, 0.78
- nothing asked for (kept for longer ones): 0.77, 0.91, 1.04, 1.08
"""

from typing import Any, NamedTuple

from numba.core import cgutils

from ..llvm import FIRST_LEVEL, SECOND_LEVEL, prefetch
from ..processor import IS_ZEN, LINE_BYTES

AHEAD = 4096  # bytes from a short row to what is asked for
FAR_AHEAD = 8192  # the fewest from a long row to what is asked for in the order of memory

# Bytes of the longest rows, in the summing dtype, ...
MOST_SHORT = 64 if IS_ZEN else 256  # ... that stay in registers and beside which anything is asked for
MOST_IN_TURN = 4096 if IS_ZEN else 0  # ... that are best read one after another; 0 where none are


class Stretch(NamedTuple):
    """Memory to ask for beside a row: so many bytes of it for each column, into a level of the cache."""

    start: Any
    step: int
    level: int


class Prefetching:
    """Writes the code that asks, beside groups of so many rows of a C-contiguous matrix."""

    def __init__(self, builder: Any, columns: Any, itemsize: int, rows: int) -> None:
        self._builder, self._index = builder, columns.type
        self._itemsize, self._rows = itemsize, rows
        self._row_bytes = builder.mul(columns, self._index(itemsize))

    def beside_short(self, rows: list[Any], columns: int) -> None:
        """Ask beside a group that is read at once, whose rows have as many columns or a few less."""
        start = cgutils.pointer_add(self._builder, rows[0], AHEAD)
        self.ask(Stretch(start, self._itemsize, FIRST_LEVEL), self._index(0), self._rows * columns)

    def beside_all(self, rows: list[Any], turn: int) -> list[Stretch]:
        """What to ask for while all rows of a group are read, in one of two turns: half of a later group."""
        half = self._rows // 2
        if IS_ZEN:
            place = self._builder.mul(self._row_bytes, self._index(half * turn))
            return [Stretch(self._later(rows, place), half * self._itemsize, SECOND_LEVEL)]
        group_bytes = self._builder.mul(self._row_bytes, self._index(self._rows))
        next_rows = (
            cgutils.pointer_add(self._builder, row, group_bytes) for row in rows[half * turn :][:half]
        )
        return [Stretch(row, self._itemsize, FIRST_LEVEL) for row in next_rows]

    def beside_one(self, rows: list[Any], r: int) -> list[Stretch]:
        """The share of one row, half its bytes, in the first turn where they are read one after another."""
        half_row = self._builder.udiv(self._row_bytes, self._index(2))
        place = self._builder.mul(half_row, self._index(r))
        return [Stretch(self._later(rows, place), self._itemsize // 2, SECOND_LEVEL)]

    def ask(self, stretch: Stretch, column: Any, columns: int) -> None:
        """Ask for what belongs to so many columns."""
        place = self._builder.mul(column, self._index(stretch.step))
        start = cgutils.pointer_add(self._builder, stretch.start, place)
        for line in range(0, columns * stretch.step, LINE_BYTES):
            prefetch(self._builder, cgutils.pointer_add(self._builder, start, line), into=stretch.level)

    def _later(self, rows: list[Any], place: Any) -> Any:
        """So many bytes into what is asked for beside a group, in the order of memory."""
        builder = self._builder
        two_groups = builder.mul(self._row_bytes, self._index(2 * self._rows))
        fewest = self._index(FAR_AHEAD)
        ahead = builder.select(builder.icmp_signed(">", two_groups, fewest), two_groups, fewest)
        return cgutils.pointer_add(builder, rows[0], builder.add(ahead, place))
