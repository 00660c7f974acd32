"""Results as pictures: time and ratio against size, and the traffic of each row beside the limit."""

from collections.abc import Iterator
from typing import Any

from .results import Document, runner_of
from .runner import LIMIT, OURS

OURS_COLOUR, LIMIT_COLOUR = "#cf222e", "#57606a"
INCHES = 4.2  # of one panel's width


def figures(results: Document) -> Iterator[tuple[str, Any]]:
    """Names and figures; curves only where a topic has several sizes."""
    if topics := curves(results):
        yield "curves", _curves(topics)
    if rows := [row for row in results["rows"] if row["moved"]]:
        yield "traffic", _traffic(rows)


def curves(results: Document) -> dict[str, list[Document]]:
    """Rows by topic, along the size that they differ in, where there are at least two."""
    topics: dict[str, list[Document]] = {}
    for row in results["rows"]:
        if row["along"]:
            topics.setdefault(row["topic"], []).append(row)
    return {
        topic: sorted(rows, key=lambda row: float(row["sizes"][row["along"]]))
        for topic, rows in topics.items()
        if len(rows) > 1
    }


def _curves(topics: dict[str, list[Document]]) -> Any:
    figure = _figure(INCHES * len(topics), 7)
    above, below = figure.subplots(2, len(topics), squeeze=False)
    for time_axes, ratio_axes, (topic, rows) in zip(above, below, topics.items(), strict=True):
        for name in _names(rows):
            style = _style(name)
            points = [(_size(row), row, runner_of(row, name)) for row in rows if _has(row, name)]
            sizes = [size for size, _, _ in points]
            time_axes.plot(sizes, [runner["median"] for _, _, runner in points], **style)
            if name != OURS:
                ratio_axes.plot(sizes, [row["ratios"][name] for _, row, _ in points], **style)
        time_axes.set(title=topic, ylabel="seconds", xscale="log", yscale="log")
        ratio_axes.set(xlabel=rows[0]["along"], ylabel="times the time of ours", xscale="log", yscale="log")
        ratio_axes.axhline(1, color=OURS_COLOUR, linewidth=1)
        time_axes.legend(fontsize=7)
    return figure


def _traffic(rows: list[Document]) -> Any:
    """A roofline of one dimension: what bounds these rows is the memory alone."""
    figure = _figure(9, 1.2 + 0.26 * len(rows))
    axes = figure.subplots()
    places = range(len(rows))
    for place, row in zip(places, rows, strict=True):
        speeds = {runner["name"]: row["moved"] / runner["median"] for runner in row["runners"]}
        fastest = {"ours": speeds[OURS], "limit": speeds.get(row["limit"])}
        peers = [speed for name, speed in speeds.items() if not name.startswith((OURS, LIMIT))]
        axes.plot(peers, [place] * len(peers), "|", color="#0969da", markersize=8)
        if fastest["limit"]:
            axes.plot(fastest["limit"], place, "D", color=LIMIT_COLOUR, markersize=5)
        axes.plot(fastest["ours"], place, "o", color=OURS_COLOUR, markersize=6)
    for label, marker, colour in (
        ("ours", "o", OURS_COLOUR),
        ("limit", "D", LIMIT_COLOUR),
        ("peers", "|", "#0969da"),
    ):
        axes.plot([], [], marker, color=colour, label=label)
    axes.set(xscale="log", xlabel="bytes that have to be moved, per second")
    axes.set_yticks(places, [row["name"] for row in rows], fontsize=7)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8, loc="lower left")
    return figure


def _figure(width: float, height: float) -> Any:
    """A figure of its own, so that no window system is asked for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _names(rows: list[Document]) -> list[str]:
    return list(dict.fromkeys(runner["name"] for row in rows for runner in row["runners"]))


def _has(row: Document, name: str) -> bool:
    return any(runner["name"] == name for runner in row["runners"])


def _size(row: Document) -> float:
    return float(row["sizes"][row["along"]])


def _style(name: str) -> dict[str, Any]:
    if name == OURS:
        return {"label": name, "color": OURS_COLOUR, "marker": "o", "linewidth": 2, "zorder": 3}
    if name.startswith(LIMIT):
        return {"label": name, "color": LIMIT_COLOUR, "linestyle": "--", "linewidth": 1}
    return {"label": name, "marker": ".", "linewidth": 1}
