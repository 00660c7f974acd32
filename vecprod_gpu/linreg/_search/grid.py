"""The grid of a search: which values each parameter takes, and the points that they make together."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ... import _checks
from ...errors import ArgumentError, ShapeError

Host = np.ndarray[Any, Any]

NAMES = ("l1", "l2", "learning_rate", "max_iter")  # sorted; the last one varies fastest
USUAL_MAX_ITER = 1000


@dataclass(frozen=True)
class Grid:
    """Every combination of the values, numbered as by scikit-learn's ParameterGrid.

    Attributes
    ----------
    l1, l2 : (p,) ndarray of float64
    learning_rate : (p,) ndarray of float64
        NaN for the automatic one.
    max_iter : (p,) ndarray of int64
    """

    l1: Host
    l2: Host
    learning_rate: Host
    max_iter: Host

    @classmethod
    def read(cls, *, l1: Any, l2: Any, learning_rate: Any, max_iter: Any) -> "Grid":
        """Check the values, each of them a number or a sequence of numbers."""
        return cls(
            np.array([_checks.real("l1", one, minimum=0.0) for one in _values("l1", l1)]),
            np.array([_checks.real("l2", one, minimum=0.0) for one in _values("l2", l2)]),
            np.array([_rate(one) for one in _values("learning_rate", learning_rate)]),
            np.array(
                [_checks.count("max_iter", one, minimum=0) for one in _values("max_iter", max_iter)], np.int64
            ),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """How many values each parameter takes, in the order of `NAMES`."""
        return tuple(len(getattr(self, name)) for name in NAMES)

    @cached_property
    def numbers(self) -> Host:
        """The numbers of the points, with an axis for each parameter."""
        return np.arange(self.size).reshape(self.shape)

    @property
    def size(self) -> int:
        """How many points there are."""
        return int(np.prod(self.shape))

    @property
    def asks_for_steps(self) -> bool:
        """Whether a value speaks of the steps of a descent."""
        return not np.isnan(self.learning_rate).all() or self.max_iter.tolist() != [USUAL_MAX_ITER]

    def values(self, name: str) -> list[Any]:
        """What a parameter may be, as Python numbers or "auto"."""
        return ["auto" if value != value else value for value in getattr(self, name).tolist()]

    def column(self, name: str) -> Host:
        """The value of a parameter at every point; of objects where it may be "auto"."""
        values = self.values(name)
        dtype = object if "auto" in values else getattr(self, name).dtype
        which = np.unravel_index(self.numbers.ravel(), self.shape)[NAMES.index(name)]
        column: Host = np.array(values, dtype)[which]
        return column

    def point(self, number: int) -> dict[str, Any]:
        """The parameters of one point."""
        place = np.unravel_index(number, self.shape)
        return {name: self.values(name)[i] for name, i in zip(NAMES, place, strict=True)}

    def points(self) -> list[dict[str, Any]]:
        """The parameters of every point."""
        columns = [self.column(name).tolist() for name in NAMES]
        return [dict(zip(NAMES, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(name: str, given: Any) -> list[Any]:
    """The values as a list; a scalar is the only one."""
    if isinstance(given, np.ndarray):
        if given.ndim > 1:
            raise ShapeError(f"{name} has shape {given.shape}; needed is a number or a sequence of numbers")
        given = given.tolist()
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        return [given]
    values = list(given)
    if not values:
        raise ArgumentError(f"{name} is empty; needed is at least one value to try")
    return values


def _rate(value: Any) -> float:
    """A learning rate, NaN for the automatic one."""
    if isinstance(value, str):
        if value != "auto":
            raise ArgumentError(f'learning_rate must hold numbers or "auto"; it holds {value!r}')
        return np.nan
    return _checks.real("learning_rate", value, above=0.0)
