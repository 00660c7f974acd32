"""What moved between two runs, beyond the spread of either.

A machine that is busier, or another one, takes longer for everything.  Ours is therefore measured, turn by
turn, by what took turns with it: by the limit of the machine where the row has one, else by the fastest
peer, and only by its own time where there is neither.  All others in the row have to agree on the direction.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from .race import quartiles
from .results import Document, runner_of
from .runner import LIMIT, OURS
from .words import duration

LEAST_CHANGE = 1.05  # smaller ones are not told, however tight the quartiles lie
LEAST_TURNS = 3  # fewer have no spread to speak of
MACHINE = {"cpu": "CPU", "cores": "number of cores", "gpu": "GPU"}


@dataclass(frozen=True)
class Move:
    """A row of which ours takes another time than before, as the row's measure has it.

    Attributes
    ----------
    row : str
        Its name.
    measure : str
        What the times of ours were divided by, or that they were not.
    change : float
        How many times as much as before ours takes by that measure.
    before, after : float
        Medians of ours in seconds, which the load of the machine is part of.
    """

    row: str
    measure: str
    change: float
    before: float
    after: float

    @property
    def is_slower(self) -> bool:
        """Whether it takes longer now."""
        return self.change > 1

    def in_words(self) -> str:
        """As it is printed."""
        factor = max(self.change, 1 / self.change)
        verb = "slower" if self.is_slower else "faster"
        times = f"{duration(self.before)} before, {duration(self.after)} now"
        return f"{self.row}: {factor:.2f}x {verb} {self.measure}; {times}"


def shared_rows(before: Document, after: Document) -> list[tuple[Document, Document]]:
    """Rows of the same name and sizes in both runs, which are on the same kind of device."""
    if before["device"] != after["device"]:
        return []
    former = {row["name"]: row for row in before["rows"]}
    return [(former[row["name"]], row) for row in after["rows"] if row["name"] in former]


def has_spread(*rows: Document) -> bool:
    """Whether every one of the rows took turns enough to be compared."""
    return all(len(runner_of(row, OURS)["seconds"]) >= LEAST_TURNS for row in rows)


def moves(before: Document, after: Document) -> list[Move]:
    """Rows of both runs whose quartiles lie apart, what got slowest first."""
    found = [_move(*rows) for rows in shared_rows(before, after) if has_spread(*rows)]
    moved = [move for move in found if move is not None]
    return sorted(moved, key=lambda move: -move.change)


def circumstances(before: Document, after: Document) -> list[str]:
    """Whether the machine is the one of before, and which versions and threads are not."""
    machine = _changes(_machine(before), _machine(after))
    same = "the machine as before: " + ", ".join(f"{name} {fact}" for name, fact in _machine(after).items())
    return [
        *(machine or [same]),
        *_changes(before["versions"], after["versions"]),
        *_changes(_threads(before), _threads(after)),
    ]


def _machine(run: Document) -> Document:
    named = {name: run["machine"][key] for key, name in MACHINE.items() if run["machine"].get(key)}
    return {"device": run["device"], **named}


def _threads(run: Document) -> Document:
    return {f"number of threads of {name}": count for name, count in run["threads"].items()}


def _changes(then: Document, now: Document) -> list[str]:
    """Of facts that both runs tell: what one of them lacks is missing from its rows too."""
    return [
        f"another {name}: {then[name]} before, {now[name]} now"
        for name in then
        if name in now and then[name] != now[name]
    ]


def _move(before: Document, after: Document) -> Move | None:
    measure, *others = _measures(before, after)
    old, new = measure.turns(before, after)
    change = measure.change(before, after)
    are_apart = quartiles(new)[0] > quartiles(old)[1] or quartiles(new)[1] < quartiles(old)[0]
    is_told = are_apart and max(change, 1 / change) >= LEAST_CHANGE
    # One runner that stumbled, in either run, makes neither a gain nor a loss of ours.
    if not is_told or any((other.change(before, after) - 1) * (change - 1) <= 0 for other in others):
        return None
    times = (runner_of(row, OURS)["median"] for row in (before, after))
    return Move(after["name"], measure.words, change, *times)


@dataclass(frozen=True)
class _Measure:
    """What the times of ours are divided by, turn by turn: which runner's in each run, or nothing."""

    words: str
    then: str | None
    now: str | None

    def turns(self, before: Document, after: Document) -> tuple[list[float], list[float]]:
        return _ratios(before, self.then), _ratios(after, self.now)

    def change(self, before: Document, after: Document) -> float:
        old, new = map(statistics.median, self.turns(before, after))
        return new / old


def _ratios(row: Document, name: str | None) -> list[float]:
    ours: list[float] = runner_of(row, OURS)["seconds"]
    if name is None:
        return ours
    return [own / other for own, other in zip(ours, runner_of(row, name)["seconds"], strict=True)]


def _measures(before: Document, after: Document) -> list[_Measure]:
    """What both runs have to measure ours by, the best first: the limit, the peers, at last the time alone.

    A limit is the machine's, whichever way comes nearest to it; a peer is itself in both runs.
    """
    limits = _in_both(before, after, lambda runner: runner["name"].startswith(LIMIT))
    peers = _in_both(before, after, _is_right_peer)
    found = [_Measure(f"against {name}", name, name) for name in _by_speed(before, peers)]
    if limits:
        fastest = (_by_speed(row, limits)[0] for row in (before, after))
        found.insert(0, _Measure("against the limit", *fastest))
    return found or [_Measure("by the clock alone", None, None)]


def _in_both(before: Document, after: Document, counts: Callable[[Document], bool]) -> set[str]:
    then, now = ({runner["name"] for runner in row["runners"] if counts(runner)} for row in (before, after))
    return then & now


def _is_right_peer(runner: Document) -> bool:
    return not runner["name"].startswith((OURS, LIMIT)) and not runner["is_wrong"]


def _by_speed(row: Document, names: set[str]) -> list[str]:
    return sorted(names, key=lambda name: (float(runner_of(row, name)["median"]), name))
