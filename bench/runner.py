"""One way to compute a row: ours, a peer's, or the bare memory traffic that is the limit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

OURS = "ours"
LIMIT = "limit: "


@dataclass(frozen=True)
class Runner:
    """One way to compute a row.

    Attributes
    ----------
    name : str
        ``"ours"``, a peer's name, or a limit's, which begins with ``"limit: "``.
    call : callable
        Computes once.
    result : callable or None
        Makes an array, to be held against float64, of what `call` returned; None where there is nothing
        to check, as for a limit.
    share : float, default 1.0
        Of the row's work that a call does, where all of it would take minutes: its time is divided by it.
    others : tuple of callable
        The same on further inputs or outputs; they take turns with `call`, so that none is still in a cache.
    out : array or tensor, optional
        Where `call` writes.
    """

    name: str
    call: Callable[[], Any]
    result: Callable[[Any], Any] | None = np.asarray
    share: float = 1.0
    others: tuple[Callable[[], Any], ...] = ()
    out: Any = None

    @classmethod
    def writing(cls, name: str, write: Callable[[Any], Any], outs: Sequence[Any]) -> "Runner":
        """One that writes to some arrays in turn; to None where each result is to be a new array."""
        first, *others = (partial(write, out) for out in outs)
        return cls(name, first, others=tuple(others), out=outs[0])

    @property
    def calls(self) -> tuple[Callable[[], Any], ...]:
        """One round over all inputs."""
        return (self.call, *self.others)

    @property
    def is_limit(self) -> bool:
        """Whether it is a limit of the machine."""
        return self.name.startswith(LIMIT)

    def poison(self, returned: Any = None) -> None:
        """Spoil what the result is written to, so that a call that writes nothing is found out."""
        if self.result is None:
            return
        for target in (self.out, returned):
            array = None if target is None else self.result(target)
            if array is not None and array.dtype.kind in "fc":
                array.fill(np.nan)
