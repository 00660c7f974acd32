"""What one call for a Gram matrix or for co-moments asks for, whichever way it is computed."""

from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

import numpy as np

from .. import float_status

Array = np.ndarray[Any, Any]

PACKING_WORK = 8  # multiplications that packing an element of X takes as long as


@dataclass(eq=False)
class Call:
    """The arguments of one call.

    Attributes
    ----------
    name : str
        Of the operation, for warnings.
    X, Y : (B, n, p) and (B, n, q) arrays
        Side by side they are Z; given None, Y has no columns.
    weights : (B, n) array
        Or ``(B, 0)``, given None.
    is_centred : bool
    scale : float
    total, means : (B,) and (B, p + q) arrays
        Without elements where the sums are not centred.
    out : (B, rows, p + q - first) array
        For the first columns of Z by those from ``first`` on.
    """

    name: str
    X: Array
    Y: Any
    weights: Any
    is_centred: bool
    scale: float
    total: Array
    means: Array
    out: Array

    def __post_init__(self) -> None:
        # Without elements rather than None: the types of arguments stay, and with them what was compiled.
        if self.Y is None:
            self.Y = self.X[:, :, :0]
        if self.weights is None:
            self.weights = np.empty((len(self.X), 0), self.out.dtype)

    @property
    def columns(self) -> int:
        """Of Z."""
        columns: int = self.X.shape[2] + self.Y.shape[2]
        return columns

    def report(self, flags: list[int], flags_of_scaling: list[int]) -> None:
        """Tell of what was raised on the way as ufuncs would, of this name and a product."""
        float_status.report(reduce(or_, flags, 0), self.name)
        float_status.report(reduce(or_, flags_of_scaling, 0), "multiply")


def work_of(X: Array, out: Array) -> int:
    """Multiplications that the sums of the rows of X take, or as long as so many."""
    rows: int = X.shape[1]
    return rows * out.size + PACKING_WORK * X.size
