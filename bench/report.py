"""The folder of a run: its results, its plots, and a report in one HTML file."""

from html import escape
from importlib import resources
from io import StringIO
from pathlib import Path
from string import Template

from . import plots, results, tables
from .results import Document, runner_of
from .runner import OURS
from .words import duration

CLASSES = {True: "met", False: "missed", None: "untold"}


def write(found: Document, folder: Path) -> None:
    """Write ``results.json``, each plot as PNG and SVG, and ``report.html``, which holds the SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    results.save(found, folder / "results.json")
    drawings = []
    for name, figure in plots.figures(found):
        drawing = StringIO()
        figure.savefig(drawing, format="svg")
        (folder / f"{name}.svg").write_text(drawing.getvalue(), encoding="utf-8")
        figure.savefig(folder / f"{name}.png", dpi=130)
        drawings.append(_bare(drawing.getvalue()))
    (folder / "report.html").write_text(page(found, drawings), encoding="utf-8")


def page(found: Document, drawings: list[str]) -> str:
    """The report as one page that needs no other file."""
    template = resources.files("vecprod_gpu.bench").joinpath("report.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        headline=escape(tables.headline(found)),
        facts=_facts(found),
        rows="\n".join(map(_row, found["rows"])),
        remarks="\n".join(f"<li>{escape(line)}</li>" for line in tables.remarks(found)) or "<li>none</li>",
        drawings="\n".join(f"<figure>{drawing}</figure>" for drawing in drawings),
    )


def _bare(drawing: str) -> str:
    """An SVG without the prologue that only a file of its own may have."""
    return drawing[drawing.index("<svg") :]


def _facts(found: Document) -> str:
    facts = {
        **found["machine"],
        "software": tables.software(found),
        "command": " ".join(found["command"]),
        "commit": found["commit"] or "not a checkout",
        "created": found["created"],
        "scale of the sizes": found["scale"],
        "turns": found["turns"],
    }
    return "\n".join(
        f"<tr><th>{escape(name)}</th><td>{escape(_in_words(fact))}</td></tr>" for name, fact in facts.items()
    )


def _in_words(fact: object) -> str:
    if isinstance(fact, dict):
        return ", ".join(f"{name} {value}" for name, value in fact.items())
    return str(fact)


def _row(row: Document) -> str:
    ours = runner_of(row, OURS)
    spread = " to ".join(duration(seconds) for seconds in ours["quartiles"])
    peers = "<br>".join(f"{escape(times)} {escape(name)}" for name, times in tables.peers(row))
    bars = "<br>".join(
        f'<span class="{CLASSES[bar["is_met"]]}">{escape(bar["words"])}</span>' for bar in row["bars"]
    )
    wrong = ' class="wrong"' if ours["is_wrong"] else ""
    cells = (escape(row["name"]), duration(ours["median"]), spread, tables.speed(row), tables.share(row))
    return f"<tr{wrong}>" + "".join(f"<td>{cell}</td>" for cell in (*cells, peers, bars)) + "</tr>"
