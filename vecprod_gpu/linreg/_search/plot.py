"""Drawing of the scores of a search."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .grid import NAMES, Grid

if TYPE_CHECKING:
    from .result import SearchResult

Host = np.ndarray[Any, Any]

DECADES = 100.0  # from the smallest to the largest value, beyond which an axis is logarithmic
MOST_TICKS = 8


def draw(result: "SearchResult", grid: Grid, ax: Any) -> Any:
    """A curve or a heat map of the mean scores."""
    try:
        from matplotlib import pyplot
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'plot needs matplotlib: pip install "vecprod-gpu[demo]"', name=error.name
        ) from error
    if ax is None:
        ax = pyplot.subplots(layout="constrained")[1]
    best = np.unravel_index(result.best_index, grid.shape)
    axes = _axes_shown(result.mean_scores.reshape(grid.shape), best)
    fixed = [place if axis not in axes else slice(None) for axis, place in enumerate(best)]
    means, stds = (part.reshape(grid.shape)[tuple(fixed)] for part in (result.mean_scores, result.std_scores))
    names = [NAMES[axis] for axis in axes]
    values = [grid.values(name) for name in names]
    marks = [int(best[axis]) for axis in axes]
    scoring = result.scoring if isinstance(result.scoring, str) else "score"
    if len(axes) == 1:
        _curve(ax, names[0], values[0], means, stds, marks[0], scoring)
    else:
        _heat_map(ax, names, values, means, marks, scoring)
    ax.set_title(f"{scoring} of {result.n_splits} splits" + _fixed_title(grid, axes, best))
    return ax


def _axes_shown(means: Host, best: tuple[Any, ...]) -> list[int]:
    """The parameters that vary; of more than two those along which the score changes most from the best."""
    varied = [axis for axis, length in enumerate(means.shape) if length > 1] or [NAMES.index("l2")]
    if len(varied) <= 2:
        return varied
    changes = []
    for axis in varied:
        line = means[tuple(slice(None) if i == axis else place for i, place in enumerate(best))]
        line = line[np.isfinite(line)]
        changes.append(np.ptp(line) if line.size else 0.0)
    most = np.argsort(changes, kind="stable")[-2:]
    return sorted(varied[i] for i in most.tolist())


def _fixed_title(grid: Grid, axes: list[int], best: tuple[Any, ...]) -> str:
    """What the parameters that vary without being shown are at."""
    fixed = [
        f"{name} = {_label(grid.values(name)[best[axis]])}"
        for axis, name in enumerate(NAMES)
        if axis not in axes and grid.shape[axis] > 1
    ]
    return f"\n{', '.join(fixed)}" if fixed else ""


def _curve(ax: Any, name: str, values: list[Any], means: Host, stds: Host, best: int, scoring: str) -> None:
    """Mean scores with a band of one standard deviation."""
    if "auto" in values:
        x = np.arange(len(values))
        ax.set_xticks(x, [_label(value) for value in values])
    else:
        x = np.array(values, float)
        _scale(ax, x)
    order = np.argsort(x, kind="stable")
    ax.plot(x[order], means[order], marker=".", label="mean")
    ax.fill_between(
        x[order], (means - stds)[order], (means + stds)[order], alpha=0.2, label="± one standard deviation"
    )
    ax.plot(x[best], means[best], "*", markersize=14, label=f"best: {_label(values[best])}")
    ax.set_xlabel(name)
    ax.set_ylabel(scoring)
    ax.legend()


def _scale(ax: Any, x: Host) -> None:
    """Decades on a logarithmic axis, which is linear below the smallest value if there is a 0."""
    positive = x[x > 0]
    if positive.size and positive.max() >= DECADES * positive.min():
        if positive.size == x.size:
            ax.set_xscale("log")
        else:
            ax.set_xscale("symlog", linthresh=positive.min())


def _heat_map(
    ax: Any, names: list[str], values: list[list[Any]], means: Host, best: list[int], scoring: str
) -> None:
    """Mean scores as colours: the first parameter upwards, the second to the right."""
    image = ax.imshow(means, origin="lower", aspect="auto")
    ax.figure.colorbar(image, ax=ax, label=scoring)
    ax.plot(best[1], best[0], "*", color="red", markersize=14, markeredgecolor="white", label="best")
    for name, ticks, set_label, numbers in (
        (names[0], ax.set_yticks, ax.set_ylabel, values[0]),
        (names[1], ax.set_xticks, ax.set_xlabel, values[1]),
    ):
        count = min(len(numbers), MOST_TICKS)
        places = np.linspace(0, len(numbers) - 1, count).round().astype(int)
        ticks(places, [_label(numbers[place]) for place in places.tolist()])
        set_label(name)
    ax.legend()


def _label(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.3g}" if isinstance(value, float) else str(value)
