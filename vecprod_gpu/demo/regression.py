"""A linear regression by gradient steps on the diabetes data, and how it converges."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes

import vecprod_gpu as vp
from vecprod_gpu.demo._outcome import Outcome, Stage, median_seconds
from vecprod_gpu.demo._style import ACCENT, CALM, INK, look, new_figure, save

Floats = NDArray[np.float64]

LEARNING_RATE = 0.4  # below 2 / 4.02, where 4.02 is the largest eigenvalue of XᵀX / n
TOLERANCE = 1e-8

# What the columns that scikit-learn calls s1 to s6 measure, from the data's description.
LABELS = {
    "bmi": "body mass index",
    "bp": "blood pressure",
    "s1": "total cholesterol",
    "s2": "LDL",
    "s3": "HDL",
    "s4": "cholesterol / HDL",
    "s5": "log triglycerides",
    "s6": "blood sugar",
}


def run(folder: Path, stage: Stage) -> Outcome:
    """Fit the regression, hold it against NumPy and draw the way there.

    Parameters
    ----------
    folder : Path
        Where the picture goes.
    stage : callable
        Told of each stage as it begins.

    Returns
    -------
    Outcome
        The comparison and the picture.
    """
    stage("regression: gradient steps")
    data = load_diabetes()
    X: Floats = data.data * np.sqrt(len(data.data))  # the columns then have variance 1
    y: Floats = data.target
    path = [np.zeros(X.shape[1])]
    fit = vp.linreg_fit(
        X,
        y,
        learning_rate=LEARNING_RATE,
        max_iter=20_000,
        tol=TOLERANCE,
        callback=lambda iteration, coef, loss: path.append(coef.copy()),
    )

    stage("regression: the same by NumPy")
    exact = fit_by_numpy(X, y, fit.n_iter)
    seconds, numpy_seconds = median_seconds(
        lambda: vp.linreg_fit(X, y, learning_rate=LEARNING_RATE, max_iter=fit.n_iter, tol=0),
        lambda: fit_by_numpy(X, y, fit.n_iter),
        rounds=5,
    )

    stage("regression: picture")
    names = [LABELS.get(name, name) for name in data.feature_names]
    return Outcome(
        title="linear regression",
        work=f"linreg_fit, {fit.n_iter:,} steps by co-moments on {len(X)} x {X.shape[1]} float64",
        backend=vp.explain(vp.linreg_gradient, X, y, fit.coef).backend,
        largest_difference=float(np.abs(fit.coef - exact).max() / np.abs(exact).max()),
        unit="of the largest coefficient",
        seconds=seconds,
        numpy_seconds=numpy_seconds,
        picture=draw(
            folder / "vecprod-regression.png",
            np.asarray(fit.loss_history),
            np.array(path),
            least_squares(X, y),
            names,
        ),
    )


def fit_by_numpy(X: Floats, y: Floats, steps: int) -> Floats:
    """The same gradient steps with an unpenalised intercept, the loss taken at each."""
    X = X - X.mean(axis=0)
    y = y - y.mean()
    w = np.zeros(X.shape[1])
    losses = []
    for _ in range(steps):
        residual = X @ w - y
        losses.append(residual @ residual / (2 * len(y)))
        w = w - LEARNING_RATE * (X.T @ residual / len(y))
    return w


def least_squares(X: Floats, y: Floats) -> tuple[Floats, float]:
    """The coefficients where every gradient step leads, and the loss there."""
    coef, squares, *_ = np.linalg.lstsq(X - X.mean(axis=0), y - y.mean())
    return coef, float(squares[0]) / (2 * len(y))


def draw(
    path: Path, losses: Floats, coefficients: Floats, optimum: tuple[Floats, float], names: list[str]
) -> Path:
    """Draw the loss and the coefficients against the steps, and return the picture's path."""
    best, least_loss = optimum
    with look():
        figure = new_figure(
            13,
            6.2,
            "Diabetes progression from ten measurements",
            f"Linear regression by {len(losses) - 1:,} gradient steps, learning rate {LEARNING_RATE}; "
            "442 patients, measurements with variance 1",
        )
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
        _draw_losses(left, losses, least_loss)
        _draw_coefficients(right, coefficients, best, names)
        return save(figure, path)


def _draw_losses(axes: Axes, losses: Floats, least_loss: float) -> None:
    """The loss, and in an inset its distance from the least, which shows the rate."""
    axes.plot(losses, color=CALM, linewidth=2.2, label="loss after each step")
    axes.axhline(least_loss, color=ACCENT, linewidth=1.2, linestyle="--", label="least squares")
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(0, len(losses) - 1)
    axes.set_ylim(0.88 * least_loss, 1.04 * losses[0])
    axes.set_title("Loss curve")
    axes.set_xlabel("gradient steps")
    axes.set_ylabel("loss: half the mean squared residual (score²)")
    axes.grid(visible=True)
    axes.legend(loc="upper right", frameon=False)

    inset = axes.inset_axes((0.47, 0.34, 0.5, 0.36))
    excess = np.maximum(losses - least_loss, np.finfo(float).eps * least_loss)
    inset.semilogy(excess, color=CALM, linewidth=1.6)
    inset.set_title("loss above the least", fontsize=9)
    inset.tick_params(labelsize=8)
    inset.grid(visible=True)


def _draw_coefficients(axes: Axes, coefficients: Floats, best: Floats, names: list[str]) -> None:
    """The way of each coefficient, with the exact least-squares value at its end."""
    steps = len(coefficients) - 1
    colours = mpl.colormaps["tab10"](range(len(best)))
    for way, value, colour in zip(coefficients.T, best, colours, strict=True):
        axes.plot(way, color=colour, linewidth=1.8)
        axes.plot(steps, value, "o", color=colour, markersize=6, clip_on=False)
    for name, value, height, colour in zip(names, best, _spread(best, gap=3.4), colours, strict=True):
        axes.annotate(
            name,
            (steps, value),
            (1.045, height),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=9.5,
            color=colour,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkB": 4},
            annotation_clip=False,
        )
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(0, steps)
    axes.set_title("Coefficients; the dots are exact least squares")
    axes.set_xlabel("gradient steps")
    axes.set_ylabel("score per standard deviation of the measurement")
    axes.grid(visible=True)


def _spread(heights: Floats, gap: float) -> Floats:
    """Heights for labels: near the given ones, in their order, at least `gap` apart.

    Examples
    --------
    >>> _spread(np.array([0.0, 10.0, 1.0]), gap=3.0)
    array([-1., 10.,  2.])
    """
    order = np.argsort(heights)
    spread = heights[order].astype(float)
    for _ in range(100):
        overlap = gap - np.diff(spread)
        if (overlap <= 1e-9).all():
            break
        push = np.maximum(overlap, 0) / 2
        spread[:-1] -= push
        spread[1:] += push
    result = np.empty_like(spread)
    result[order] = spread
    return result
