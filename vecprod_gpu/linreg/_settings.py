"""How a fit is asked for: the numbers beside the data, checked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .. import _checks
from ..errors import ArgumentError, DTypeError, ShapeError

Host = np.ndarray[Any, Any]
Callback = Callable[[int, Host, Host], object]
SolverName = Literal["auto", "gd", "comoments", "sgd", "cd", "cholesky", "eigh", "svd"]

SOLVERS = ("auto", "gd", "comoments", "sgd", "cd", "cholesky", "eigh", "svd")
STEPPING = ("gd", "sgd")  # what momentum is for
CLOSED = ("cholesky", "eigh", "svd")  # which take no L1 penalty


@dataclass(frozen=True)
class Settings:
    """Everything that `linreg_fit` is told beside its data.

    Attributes
    ----------
    solver : str
        One of `SOLVERS`.
    learning_rate, l1, l2 : float64 arrays
        Of no axis, or with a number for each model; None for the automatic learning rate.
    models : int or None
        How many numbers those with an axis have; None where none has one.
    max_iter, tol, fit_intercept, batch_size, momentum, nesterov, random_state, callback
        As `linreg_fit` describes them.
    """

    solver: str = "auto"
    learning_rate: Host | None = None
    l1: Host = field(default_factory=lambda: np.zeros(()))
    l2: Host = field(default_factory=lambda: np.zeros(()))
    models: int | None = None
    max_iter: int = 1000
    tol: float = 1e-6
    fit_intercept: bool = True
    batch_size: int | None = None
    momentum: float = 0.0
    nesterov: bool = False
    random_state: Any = None
    callback: Callback | None = None

    @classmethod
    def check(cls, *, solver: str, learning_rate: Any, l1: Any, l2: Any, **others: Any) -> "Settings":
        """Check every argument by itself, and those that only go together with another one."""
        if solver not in SOLVERS:
            raise ArgumentError(f"solver is {solver!r}; there are {', '.join(map(repr, SOLVERS))}")
        if isinstance(learning_rate, str) and learning_rate != "auto":
            raise ArgumentError(f'learning_rate must be a number or "auto"; it is {learning_rate!r}')
        numbers = {
            "learning_rate": None
            if isinstance(learning_rate, str)
            else _numbers("learning_rate", learning_rate, above=0.0),
            "l1": _numbers("l1", l1, minimum=0.0),
            "l2": _numbers("l2", l2, minimum=0.0),
        }
        others["max_iter"] = _checks.count("max_iter", others["max_iter"], minimum=0)
        others["tol"] = _checks.real("tol", others["tol"], minimum=0.0)
        for name in ("fit_intercept", "nesterov"):
            if name in others:
                others[name] = _checks.flag(name, others[name])
        callback = others.get("callback")
        if callback is not None and not callable(callback):
            raise DTypeError(f"callback must be a function, not {callback!r}")
        if "momentum" in others:
            others["momentum"] = _checks.real("momentum", others["momentum"], minimum=0.0)
        if others.get("batch_size") is not None:
            others["batch_size"] = _checks.count("batch_size", others["batch_size"], minimum=1)
        settings = cls(solver=solver, models=_models(numbers), **numbers, **others)  # type: ignore[arg-type]
        settings._check_together()
        return settings

    def per_model(self, models: int) -> tuple[Host, Host]:
        """l1 and l2 for each of so many models."""
        return np.full(models, self.l1), np.full(models, self.l2)

    def _check_together(self) -> None:
        if self.momentum >= 1:
            raise ArgumentError(f"momentum must be less than 1; it is {self.momentum!r}")
        if self.nesterov and not self.momentum:
            raise ArgumentError("nesterov needs a momentum, of more than 0")
        if self.momentum and self.solver not in ("auto", *STEPPING):
            raise ArgumentError(f"momentum is for the solvers gd and sgd, not for {self.solver}")
        if self.batch_size is not None and self.solver not in ("auto", "sgd"):
            raise ArgumentError(f"batch_size is for the solver sgd, not for {self.solver}")
        if self.solver in CLOSED and self.l1.any():
            raise ArgumentError(f"l1 must be 0 for the solver {self.solver}; cd, comoments and gd take it")


def _numbers(name: str, value: Any, **bounds: float) -> Host:
    """A number, or a vector of numbers, within bounds."""
    if not isinstance(value, list | tuple | np.ndarray) or np.ndim(value) == 0:
        return np.array(_checks.real(name, value, **bounds))
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise DTypeError(f"{name} has dtype {array.dtype}; needed are real numbers")
    if array.ndim != 1 or not array.size:
        raise ShapeError(f"{name} has shape {array.shape}; needed is a number, or one for each of K models")
    for number in array.tolist():
        _checks.real(name, number, **bounds)
    return array.astype(np.float64)


def _models(numbers: dict[str, Host | None]) -> int | None:
    """The length that all vectors among the numbers share."""
    lengths = {name: len(array) for name, array in numbers.items() if array is not None and array.ndim}
    if len(set(lengths.values())) > 1:
        found = " and ".join(f"{name} {length}" for name, length in lengths.items())
        raise ShapeError(f"there must be one number for each model, but there are of {found}")
    return next(iter(lengths.values()), None)
