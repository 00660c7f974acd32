"""Batches that the caller makes, as an iterable of ``X``, ``(X, y)`` or ``(X, y, sample_weight)``."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..errors import BadInputError
from . import _fingerprints
from ._observations import Batch, Observations
from ._reader import Host, Names

_ARGUMENTS = ("X", "y", "sample_weight")


class IteratedObservations(Observations):
    """Observations of an iterable; of an iterator they can be read once."""

    paths = ()
    rows = nbytes = whole_bytes = names = None
    held_bytes = 0
    why_held = ""

    def __init__(self, source: Iterable[Any]) -> None:
        self._source = source
        self._iterator = iter(source)
        self.resumable = self._iterator is not source
        first = self._next(self._iterator, 0)
        if first is None:
            raise BadInputError("X has no batches")
        self._first = first
        self.width, self.dtype = first["X"].shape[1], first["X"].dtype
        self.files = {argument: argument for argument in self._first}
        self._starts = [0]
        self._is_begun = False

    def batches(self, first_row: int, most_bytes: int) -> Iterator[Batch]:
        """As the base says; the arrays are copies, since the caller may use theirs again."""
        row = 0
        self._starts = [0]
        for arrays in self._all():
            count = len(arrays["X"])
            nbytes = sum(array.nbytes for array in arrays.values())
            step = max(1, most_bytes * count // max(1, nbytes))
            for start in range(max(0, first_row - row), count, step):
                rows = {name: array[start : start + step].copy() for name, array in arrays.items()}
                weights = rows.get("sample_weight")
                self.require_weights(weights, row + start)
                yield Batch(rows["X"], rows.get("y"), weights, row + start, 0)
            row += count
            self._starts.append(row)

    def read(self) -> Batch:
        """All rows at once."""
        parts = list(self._all())
        joined = {name: np.concatenate([part[name] for part in parts]) for name in self.files}
        weights = joined.get("sample_weight")
        self.require_weights(weights, 0)
        return Batch(joined["X"], joined.get("y"), weights, 0, 0)

    def fingerprint(self) -> dict[str, Any]:
        """Of the first batch, which is all that is known of the others."""
        return {"first": {name: _fingerprints.of_array(array) for name, array in self._first.items()}}

    def place(self, argument: str, row: int, column: int | None) -> str:
        """The batch, and the index in it."""
        batch = bisect_right(self._starts, row) - 1
        index = [row - self._starts[batch], *([] if column is None else [column])]
        return f"{argument} of batch {batch}: {index}"

    def target_names(self) -> Names:
        """What the targets are called: y, or y0, y1, and so on."""
        y = self._first.get("y")
        return ("y",) if y is None or y.ndim == 1 else tuple(f"y{target}" for target in range(y.shape[1]))

    def _all(self) -> Iterator[dict[str, Host]]:
        """Every batch; the first one of an iterator is the one that was looked at."""
        if not self._is_begun:
            self._is_begun = True
            yield self._first
            iterator, number = self._iterator, 1
        elif self.resumable:
            iterator, number = iter(self._source), 0
        else:
            raise BadInputError("X is an iterator, which was read before; needed is what can be read again")
        while (arrays := self._next(iterator, number)) is not None:
            yield arrays
            number += 1

    def _next(self, iterator: Iterator[Any], number: int) -> dict[str, Host] | None:
        """The arrays of the next batch by their names, with axes that fit each other and the first batch."""
        batch = next(iterator, None)
        if batch is None:
            return None
        parts = batch if isinstance(batch, tuple) else (batch,)
        if not 1 <= len(parts) <= len(_ARGUMENTS):
            raise BadInputError(f"batch {number} has {len(parts)} parts; needed are X, y and sample_weight")
        arrays = {
            name: np.asarray(part) for name, part in zip(_ARGUMENTS, parts, strict=False) if part is not None
        }
        _require_rows(number, arrays)
        first: dict[str, Host] = getattr(self, "_first", None) or arrays
        if _axes(arrays) != _axes(first):
            raise BadInputError(f"batch {number} has {_axes(arrays)}; needed is {_axes(first)}, as before")
        return arrays


def _require_rows(number: int, arrays: dict[str, Host]) -> None:
    """Raise unless there are rows of real numbers, as many in each array."""
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise BadInputError(f"{name} of batch {number} holds {array.dtype}; needed are real numbers")
        axes = {"X": (2,), "y": (1, 2), "sample_weight": (1,)}[name]
        if array.ndim not in axes or "X" not in arrays or len(array) != len(arrays["X"]):
            shapes = ", ".join(f"{other} {array.shape}" for other, array in arrays.items())
            raise BadInputError(
                f"batch {number} has {shapes}; needed are X (n, d), y (n,) or (n, k), sample_weight (n,)"
            )


def _axes(arrays: dict[str, Host]) -> str:
    """The axes behind the first of each array, in words."""
    return " and ".join(
        f"{name} (n{''.join(f', {length}' for length in array.shape[1:])})" for name, array in arrays.items()
    )
