"""Results as a table in the terminal, and as Markdown."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from .compare import Move, circumstances, has_spread, shared_rows
from .results import Document, runner_of
from .runner import LIMIT, OURS
from .words import duration, ratio

PAGE = 132  # columns, where no terminal says how many it has


def show(results: Document) -> None:
    """Print the machine, the rows with their bars, wrong answers and missing peers."""
    from rich import box
    from rich.table import Table

    console = _console()
    console.print(escape(headline(results)), style="bold")
    console.print(escape(software(results)))
    table = Table(box=box.HORIZONTALS, show_lines=True)
    table.add_column("work", overflow="fold", ratio=3)
    for title in ("ours", "GB/s", "limit"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("peers take", overflow="fold", ratio=5)
    table.add_column("bars", overflow="fold", ratio=4)
    for row in results["rows"]:
        table.add_row(*map(escape, _cells(row)), "\n".join(map(_coloured, row["bars"])))
    console.print(table)
    for line in remarks(results):
        console.print(escape(line))


def headline(results: Document) -> str:
    """The machine in a line."""
    machine = results["machine"]
    where = machine.get("gpu") or f"{machine['cpu']}, {machine['cores']} cores"
    return f"{where}; {met(results)}; {results['seconds']} s in all"


def software(results: Document) -> str:
    """Versions and threads in a line."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    threads = ", ".join(f"{name} {count}" for name, count in results["threads"].items())
    return f"{versions}; threads: {threads}"


def met(results: Document) -> str:
    """How many bars are met."""
    verdicts = [bar["is_met"] for row in results["rows"] for bar in row["bars"]]
    if not verdicts:
        return "no bars, which bind full sizes" if results["scale"] != 1 else "no bars"
    told = [verdict for verdict in verdicts if verdict is not None]
    untold = (
        f", {len(verdicts) - len(told)} with nothing to compare with" if len(told) < len(verdicts) else ""
    )
    return f"{sum(told)} of {len(told)} bars met{untold}"


def remarks(results: Document) -> list[str]:
    """Wrong answers, and peers that could not take part."""
    lines = [
        f"WRONG: {runner['name']} in {row['name']}, by {error_in_words(runner)}"
        for row in results["rows"]
        for runner in row["runners"]
        if runner["is_wrong"]
    ]
    missing: dict[str, list[str]] = {}
    for row in results["rows"]:
        for name, why in row["missing"].items():
            missing.setdefault(f"{name} is missing: {' '.join(why.split())[:200]}", []).append(row["name"])
    everywhere = len(results["rows"])
    for line, rows in missing.items():
        lines.append(line if len(rows) == everywhere else f"{line} (in {len(rows)} rows, first {rows[0]})")
    return lines


def error_in_words(runner: Document) -> str:
    """The error; of what is not finite there is no number."""
    return "what is not finite" if runner["error"] is None else f"{runner['error']:.1e}"


def peers(row: Document) -> list[tuple[str, str]]:
    """Each peer and how many times slower than ours it is; a wrong one is marked, and one timed otherwise."""
    return [
        (runner["name"], ratio(row["ratios"][runner["name"]]) + _marks(runner, row))
        for runner in row["runners"]
        if runner["name"] != OURS and not runner["name"].startswith(LIMIT)
    ]


def speed(row: Document) -> str:
    """Bytes that have to be moved, by the time of ours."""
    return f"{row['moved'] / runner_of(row, OURS)['median'] / 1e9:.3g}" if row["moved"] else ""


def share(row: Document) -> str:
    """Of the limit."""
    return "" if row["of_limit"] is None else f"{row['of_limit']:.2f}"


def markdown(results: Document) -> str:
    """The rows as a Markdown table, with a line on the machine before it."""
    lines = [
        f"{headline(results)}.",
        "",
        "| work | ours | of the limit | peers take | bars |",
        "| --- | ---: | ---: | --- | --- |",
    ]
    for row in results["rows"]:
        told = ", ".join(f"{name} {times}" for name, times in peers(row))
        bars = "; ".join(f"{_verdict(bar)}: {bar['words']}" for bar in row["bars"])
        ours = runner_of(row, OURS)
        time = duration(ours["median"]) + _marks(ours, row)
        lines.append(f"| {row['name']} | {time} | {share(row)} | {told} | {bars} |")
    return "\n".join([*lines, "", *remarks(results)]).rstrip()


def show_moves(before: Document, after: Document, moves: Sequence[Move]) -> None:
    """Print what moved beyond the spread, and what was another than before."""
    console = _console()
    for line in circumstances(before, after):
        console.print(escape(line), style="yellow" if line.startswith("another") else "")
    shared = shared_rows(before, after)
    judged = sum(has_spread(*rows) for rows in shared)
    console.print(
        f"{len(shared)} rows are in both runs"
        + (f", {len(shared) - judged} with too few turns to be compared" if judged < len(shared) else "")
        + ("" if moves else "; nothing moved beyond the spread")
    )
    for move in moves:
        style = "red" if move.is_slower else "green"
        console.print(f"[{style}]{escape(move.in_words())}[/]")


def _console() -> Console:
    """Wide enough for the table where the output is kept rather than watched."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PAGE)


def _cells(row: Document) -> list[str]:
    ours = runner_of(row, OURS)
    half = (ours["quartiles"][1] - ours["quartiles"][0]) / 2
    time = f"{duration(ours['median'])}{_marks(ours, row)}\n± {half / ours['median']:.1%}"
    return [
        row["name"],
        time,
        speed(row),
        share(row),
        ", ".join(f"{name} {times}" for name, times in peers(row)),
    ]


def _coloured(bar: Document) -> str:
    style = {True: "green", False: "red", None: "yellow"}[bar["is_met"]]
    return f"[{style}]{_verdict(bar)}[/] {escape(bar['words'])}"


def _verdict(bar: Document) -> str:
    return {True: "met", False: "missed", None: "untold"}[bar["is_met"]]


def _marks(runner: Document, row: Document) -> str:
    """A wrong answer, and plain calls between events where others replay a graph."""
    wrong = f" WRONG by {error_in_words(runner)}" if runner["is_wrong"] else ""
    plain = " (plain calls)" if runner["how"] == "events" and row["clock"] == "kernel" else ""
    return wrong + plain
