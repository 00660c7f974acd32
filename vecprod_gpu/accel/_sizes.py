"""From which sizes on calls are ours; with ``VECPROD_ACCEL_SIZES=any``, for tests of a program, from any."""

import os

VARIABLE = "VECPROD_ACCEL_SIZES"


def least(size: float) -> float:
    """A threshold below which ours does not gain; 0 where size is not to matter."""
    return 0 if os.environ.get(VARIABLE) == "any" else size


def most(size: float) -> float:
    """A threshold above which ours does not gain; none where size is not to matter."""
    return float("inf") if os.environ.get(VARIABLE) == "any" else size
