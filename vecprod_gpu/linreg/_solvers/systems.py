"""Cholesky's solutions of many small problems on a GPU, of which the host only learns how it went."""

from dataclasses import dataclass

import numpy as np

from .._settings import Settings
from ..moments import NativeMoments
from .data import Given, Host, Models, Native
from .outcome import Outcome
from .quadratic import GradientNorm, Quadratic
from .residuals import NEARLY_EXACT


@dataclass(frozen=True)
class Solved:
    """Solutions by Cholesky factors, on the device.

    Attributes
    ----------
    coef : (B, d, k) Native
        NaN where a matrix is not positive definite.
    intercept, loss : (B, k) Native
        The loss with its penalty.
    condition : float
        As that of `Factorised`.
    l2 : (k,) ndarray
    fit_intercept : bool
    moments : NativeMoments
        What was solved.
    """

    coef: Native
    intercept: Native
    loss: Native
    condition: float
    l2: Host
    fit_intercept: bool
    moments: NativeMoments

    def outcome(self, rank: Host | None) -> Outcome:
        """As a solver gives it; what is not read stays on the device."""
        return Outcome(
            "cholesky",
            self.coef,
            self.intercept,
            self.loss.to_host,
            self.losses,
            self.gradient_norm,
            True,
            rank=rank,
        )

    def losses(self) -> Host:
        """The single entry of a history, ``(1, B, k)``."""
        return self.loss.to_host()[np.newaxis]

    def gradient_norm(self) -> Host:
        """Norm of the gradient at the solutions, ``(B, k)``."""
        coef = self.coef.to_host()
        quadratic = Quadratic.of(self.moments.to_host(), coef.shape[1], self.fit_intercept)
        return GradientNorm(quadratic, coef, self.l2)()


def solve_on_device(given: Given, models: Models, settings: Settings) -> Solved | None:
    """Solve many small problems that share a penalty where their rows are.

    None where there are no such problems, or one of them is met so nearly that its loss asks for residuals.
    """
    moments, layout = given.on_device, given.layout
    d, k = layout.d, layout.targets
    l2 = settings.per_model(models.count)[1]
    if moments is None or models.count != k or (l2 != l2[0]).any():
        return None
    backend = moments.choice.module
    if not backend.solves_systems(d, k):
        return None
    coef, intercept, loss = (
        Native(backend.empty(shape, np.dtype(np.float64)), moments.choice)
        for shape in ((layout.problems, d, k), (layout.problems, k), (layout.problems, k))
    )
    condition, share, is_finite = backend.solve_systems(
        moments.total,
        moments.means,
        moments.matrix,
        is_centred=settings.fit_intercept,
        l2=float(l2[0]),
        coef=coef.array,
        intercept=intercept.array,
        loss=loss.array,
    )
    if not is_finite:
        given.require_rows("cholesky").raise_for_not_finite()
    if np.isfinite(condition) and share <= NEARLY_EXACT:
        return None
    return Solved(coef, intercept, loss, condition, l2, settings.fit_intercept, moments)
