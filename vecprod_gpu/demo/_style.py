"""The look that the pictures share."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

INK = "#22303c"
ACCENT = "#c8553d"
CALM = "#2f6f8f"
FAINT = "#d9dee2"

_SETTINGS: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "axes.titlesize": 11,
    "font.size": 10,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def new_figure(width: float, height: float, title: str, subtitle: str) -> Figure:
    """A figure of that many inches under a heading; axes added to it lay themselves out below."""
    below_heading = (0.01, 0.01, 0.98, 1 - 0.98 / height)
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(rect=below_heading))
    figure.text(0.02, 1 - 0.18 / height, title, size=16, weight="bold", va="top")
    figure.text(0.02, 1 - 0.52 / height, subtitle, size=10.5, alpha=0.8, va="top")
    return figure


def look() -> AbstractContextManager[None]:
    """The settings of the shared look, as a context; artists take theirs when they are made."""
    return matplotlib.rc_context(_SETTINGS)


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as a picture and return where it is."""
    figure.savefig(path, dpi=150, facecolor="white")
    return path
