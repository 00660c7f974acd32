"""What moved between two runs, beyond the spread of either."""

from dataclasses import dataclass

from .results import Document, runner_of
from .runner import OURS
from .words import duration

LEAST_CHANGE = 1.05  # smaller ones are not told, however tight the quartiles lie


@dataclass(frozen=True)
class Move:
    """A row of which ours takes another time than before.

    Attributes
    ----------
    row : str
        Its name.
    before, after : float
        Medians in seconds.
    limit_change : float or None
        How many times its former time the limit of the machine took: what the machine itself did.
    """

    row: str
    before: float
    after: float
    limit_change: float | None

    @property
    def is_slower(self) -> bool:
        """Whether it takes longer now."""
        return self.after > self.before

    def in_words(self) -> str:
        """As it is printed."""
        change = max(self.after / self.before, self.before / self.after)
        verb = "slower" if self.is_slower else "faster"
        limit = "" if self.limit_change is None else f"; the limit takes {self.limit_change:.2f} of its time"
        return f"{self.row}: {change:.2f}x {verb}, {duration(self.before)} to {duration(self.after)}{limit}"


def moves(before: Document, after: Document) -> list[Move]:
    """Rows of both runs whose quartiles lie apart, the largest change first."""
    former = {row["name"]: row for row in before["rows"]}
    found = [_move(former[row["name"]], row) for row in after["rows"] if row["name"] in former]
    moved = [move for move in found if move is not None]
    return sorted(moved, key=lambda move: move.before / move.after)


def _move(before: Document, after: Document) -> Move | None:
    old, new = (runner_of(row, OURS) for row in (before, after))
    are_apart = new["quartiles"][0] > old["quartiles"][1] or new["quartiles"][1] < old["quartiles"][0]
    change = max(new["median"] / old["median"], old["median"] / new["median"])
    if not are_apart or change < LEAST_CHANGE:
        return None
    limits = [runner_of(row, row["limit"])["median"] for row in (before, after) if row["limit"]]
    return Move(
        after["name"], old["median"], new["median"], limits[1] / limits[0] if len(limits) == 2 else None
    )
