"""What a solver found, before it takes the caller's form."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._settings import Callback
from ..result import FitResult
from .data import Given, Models, Native, export

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Outcome:
    """Coefficients of ``B`` problems with k models each, in float64 on the host, or where the data live.

    Attributes
    ----------
    solver : str
    coef : (B, d, k) ndarray or Native
    intercept : (B, k) ndarray or Native
    loss : callable
        Gives the objective at coef, ``(B, k)``.
    losses : callable
        Gives ``(n_iter + 1, B, k)`` objectives, or ``(1, B, k)`` where none was recorded on the way.
        What nobody asks for is not computed: for many small problems it would take as long as the fit.
    norm : callable
        Gives the norm of the proximal gradient at coef, ``(B, k)``.
    converged : bool
    n_iter : int
    learning_rate : () or (k,) ndarray, or None
    rank : (B,) ndarray of int, or None
    """

    solver: str
    coef: Host | Native
    intercept: Host | Native
    loss: Callable[[], Host]
    losses: Callable[[], Host]
    norm: Callable[[], Host]
    converged: bool
    n_iter: int = 0
    learning_rate: Host | None = None
    rank: Host | None = None

    def to_result(self, given: Given, models: Models, reason: str) -> FitResult:
        """In the caller's shapes, dtype and kind of array."""
        lead, d, axes = given.layout.lead, given.layout.d, models.axes
        rate = self.learning_rate
        return FitResult(
            coef=export(given, self.coef, (*lead, d, *axes)),
            intercept=export(given, self.intercept, (*lead, *axes)),
            solver=self.solver,
            reason=reason,
            n_iter=self.n_iter,
            converged=self.converged,
            learning_rate=None if rate is None else rate.copy() if rate.ndim else float(rate),
            rank=None if self.rank is None else self.rank.reshape(lead) if lead else int(self.rank[0]),
            _loss=_Reshaped(self.loss, 0, (*lead, *axes)),
            _losses=_Reshaped(self.losses, 1, (*lead, *axes)),
            _norm=_Reshaped(self.norm, 0, (*lead, *axes)),
            _has_models=bool(axes),
        )


@dataclass(frozen=True)
class Recorded:
    """What was written down on the way."""

    values: Host

    def __call__(self) -> Host:
        return self.values


@dataclass(frozen=True)
class _Reshaped:
    """What a callable gives, with the first axes as they are and ``(B, k)`` in the caller's shape."""

    values: Callable[[], Host]
    kept: int
    shape: tuple[int, ...]

    def __call__(self) -> Host:
        values = self.values()
        return values.reshape((*values.shape[: self.kept], *self.shape))


def shown(callback: Callback, steps: Iterator[tuple[Host, Host]], given: Given, models: Models) -> int:
    """Show the callback each step's coefficients and the objective before it, until it raises StopIteration.

    Returns how many steps it saw.
    """
    lead, d, axes = given.layout.lead, given.layout.d, models.axes
    count = 0
    for count, (coef, loss) in enumerate(steps, 1):
        seen = coef.astype(given.dtype).reshape((*lead, d, *axes))
        try:
            callback(count, seen, loss.reshape((*lead, *axes)).copy())
        except StopIteration:
            break
    return count
