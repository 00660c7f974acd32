"""The report of a profile: what was accelerated, what fell back, and why."""

import linecache
import sys
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TextIO, TypeVar

from ._ledger import Entry, Spent

Table = tuple[str, list[str], list[list[str]]]
"""Title, names of the columns, rows."""


@dataclass
class Report:
    """Counts of calls, once the profile has ended.

    Attributes
    ----------
    script : str or None
        The file whose lines were counted by themselves.
    counts : dict of Entry to Spent
        Calls and seconds of each function, by backend or by why it fell back.
    processes : int
        How many processes made such calls, this one and its children.
    """

    script: str | None = None
    counts: dict[Entry, Spent] = field(default_factory=dict)
    processes: int = 0

    def calls(self, function: str | None = None, *, accelerated: bool = True) -> int:
        """Calls of a function, or of all, that were accelerated, or that fell back."""
        return sum(
            spent.calls
            for entry, spent in self.counts.items()
            if entry.is_accelerated == accelerated and function in (None, entry.function)
        )

    def reasons(self, function: str | None = None) -> dict[str, int]:
        """Why calls of a function, or of all, fell back, with how many did."""
        return {
            key: spent.calls
            for key, spent in _grouped(
                (entry.detail, spent)
                for entry, spent in self.counts.items()
                if not entry.is_accelerated and function in (None, entry.function)
            ).items()
        }

    def print(self, file: TextIO | None = None) -> None:
        """Print it, as tables of rich where that is installed.

        Parameters
        ----------
        file : text file, optional
            Standard error unless given, so that what a program prints stays as it is.
        """
        file = file or sys.stderr
        if not self.counts:
            print("vecprod_gpu.accel: no call of a function that could be accelerated", file=file)
            return
        tables = [self._functions(), self._fallbacks(), *([self._lines()] if self.script else [])]
        try:
            from rich.console import Console
        except ImportError:
            for table in tables:
                _print_plainly(table, file)
        else:
            console = Console(file=file)
            for table in tables:
                _print_richly(table, console)
        print(self._summary(), file=file)

    def _functions(self) -> Table:
        groups = _grouped(
            ((entry.function, entry.is_accelerated, entry.detail if entry.is_accelerated else ""), spent)
            for entry, spent in self.counts.items()
        )
        functions = _grouped((key[0], spent) for key, spent in groups.items())
        rows = [
            [
                function,
                detail if is_accelerated else "fell back",
                str(spent.calls),
                _percent(spent.calls, functions[function].calls),
                _seconds(spent.seconds),
                _percent(spent.seconds, functions[function].seconds),
            ]
            for (function, is_accelerated, detail), spent in sorted(groups.items())
        ]
        return "Calls", ["function", "ran on", "calls", "of calls", "time", "of time"], rows

    def _fallbacks(self) -> Table:
        groups = _grouped(
            ((entry.function, entry.detail), spent)
            for entry, spent in self.counts.items()
            if not entry.is_accelerated
        )
        rows = [
            [function, reason, str(spent.calls), _seconds(spent.seconds)]
            for (function, reason), spent in sorted(groups.items(), key=lambda one: -one[1].seconds)
        ]
        return "Why calls fell back", ["function", "reason", "calls", "time"], rows

    def _lines(self) -> Table:
        groups = _grouped(
            ((entry.line, entry.is_accelerated), spent) for entry, spent in self.counts.items() if entry.line
        )
        rows = []
        for line in sorted({line for line, _ in groups}):
            ours, theirs = groups.get((line, True), Spent()), groups.get((line, False), Spent())
            rows.append(
                [
                    str(line),
                    _seconds(ours.seconds + theirs.seconds),
                    str(ours.calls),
                    str(theirs.calls),
                    linecache.getline(self.script or "", line).rstrip(),
                ]
            )
        return f"Lines of {self.script}", ["line", "time", "accelerated", "fell back", "source"], rows

    def _summary(self) -> str:
        ours, both = Spent(), Spent()
        for entry, spent in self.counts.items():
            both += spent
            ours += spent if entry.is_accelerated else Spent()
        return (
            f"vecprod_gpu.accel: {ours.calls} of {both.calls} calls accelerated "
            f"({_percent(ours.calls, both.calls)}), {_percent(ours.seconds, both.seconds)} of "
            f"{_seconds(both.seconds)} in these functions; processes: {self.processes}"
        )


Key = TypeVar("Key", bound=Hashable)


def _grouped(counts: Iterable[tuple[Key, Spent]]) -> dict[Key, Spent]:
    """Sums of what has one key."""
    groups: dict[Key, Spent] = defaultdict(Spent)
    for key, spent in counts:
        groups[key] += spent
    return dict(groups)


def _print_plainly(table: Table, file: TextIO) -> None:
    title, names, rows = table
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    print(f"\n{title}", file=file)
    for row in (names, ["-" * width for width in widths], *rows):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), file=file
        )
    print(file=file)


def _print_richly(table: Table, console: object) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table as RichTable

    title, names, rows = table
    if not rows:
        return
    drawn = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in names:
        is_number = name in ("calls", "of calls", "time", "of time", "line", "accelerated", "fell back")
        drawn.add_column(name, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    for row in rows:
        drawn.add_row(*map(escape, row))
    console.print(drawn)  # type: ignore[attr-defined]


def _seconds(seconds: float) -> str:
    """A time with the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"
