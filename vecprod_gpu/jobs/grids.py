"""The values that a fit tries, as the command line gives them: numbers, lists and geometric grids."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..errors import BadInputError

MOST_POINTS = 100_000
MOST_STEPS = 2**53  # whole numbers beyond it are not those that were typed


@dataclass(frozen=True)
class Grid:
    """Penalties, learning rates and numbers of steps, to be tried in every combination.

    Attributes
    ----------
    l1, l2 : tuple of float
    learning_rate : tuple of float or "auto"
    max_iter : tuple of int
    """

    l1: tuple[float, ...]
    l2: tuple[float, ...]
    learning_rate: tuple[float | Literal["auto"], ...]
    max_iter: tuple[int, ...]

    @classmethod
    def parse(cls, l1: str, l2: str, learning_rate: str, max_iter: str) -> "Grid":
        """Read what follows the four options."""
        penalties, rates = _Reader("numbers of 0 or more"), _Reader("numbers above 0, or auto", is_rate=True)
        steps = _Reader("whole numbers of 0 or more", is_whole=True)
        grid = cls(
            penalties.read("--l1", l1),
            penalties.read("--l2", l2),
            rates.read("--learning-rate", learning_rate),
            steps.read("--max-iter", max_iter),
        )
        if grid.size > MOST_POINTS:
            counts = " x ".join(str(len(values)) for values in vars(grid).values())
            raise BadInputError(
                f"--l1, --l2, --learning-rate and --max-iter make {counts} = {grid.size} points; "
                f"{MOST_POINTS} are the most that are tried"
            )
        return grid

    @property
    def size(self) -> int:
        """How many combinations there are."""
        return math.prod(len(values) for values in vars(self).values())

    @property
    def first(self) -> dict[str, Any]:
        """The first combination, by the names that `vecprod_gpu.linreg_fit` gives them."""
        return {name: values[0] for name, values in vars(self).items()}


@dataclass(frozen=True)
class _Reader:
    """Reads the values of one option.

    Attributes
    ----------
    needed : str
        What they may be, in words.
    is_rate, is_whole : bool
        Whether "auto" is one of them, and 0 none; and whether they are whole numbers.
    """

    needed: str
    is_rate: bool = False
    is_whole: bool = False

    def read(self, option: str, word: str) -> tuple[Any, ...]:
        """The values, each of them once."""
        try:
            values = [value for part in word.split(",") for value in self._part(part.strip())]
        except ValueError as error:
            raise BadInputError(
                f"{option} is {word!r}: {error}; needed are {self.needed}: one, a list A,B,... or a "
                "geometric grid START:STOP:COUNT"
            ) from None
        return tuple(dict.fromkeys(values))

    def _part(self, part: str) -> list[Any]:
        """What stands between two commas."""
        if self.is_rate and part == "auto":
            return [part]
        if ":" not in part:
            return [self._number(part)]
        pieces = part.split(":")
        if len(pieces) != 3:
            raise ValueError(f"{part!r} is not of the three parts START:STOP:COUNT")
        start, stop, count = self._number(pieces[0]), self._number(pieces[1]), _count(pieces[2])
        if start == 0 or stop == 0:
            raise ValueError("a geometric grid neither starts nor stops at 0")
        grid = np.geomspace(start, stop, count)
        return [round(value) for value in grid.tolist()] if self.is_whole else grid.tolist()

    def _number(self, word: str) -> float | int:
        """A number within the bounds."""
        try:
            number = float(word)
        except ValueError:
            raise ValueError(f"{word!r} is no number") from None
        if not math.isfinite(number) or number < 0 or (self.is_rate and number == 0):
            raise ValueError(f"{word} is out of range")
        if not self.is_whole:
            return number
        if not number.is_integer() or number > MOST_STEPS:
            raise ValueError(f"{word} is " + ("too large" if number > MOST_STEPS else "no whole number"))
        return int(number)


def _count(word: str) -> int:
    """How many values a grid has, of which two are its ends."""
    count = int(word) if word.strip().isdecimal() else 0
    if not 2 <= count <= MOST_POINTS:
        raise ValueError(f"the COUNT {word!r} is none from 2 to {MOST_POINTS}")
    return count
