"""The solution of least norm among many that predict the same."""

from typing import Any

import numpy as np

Host = np.ndarray[Any, Any]

RESOLVED = float(np.sqrt(np.finfo(np.float64).eps))
"""A share whose square is not lost in rounding."""


def shorten(w: Host, null: Host, sizes: Host) -> None:
    """Take from w ``(d, k)``, in place, what changes no prediction.

    `null` ``(d, m)`` holds orthonormal vectors that the columns of X, divided by `sizes` ``(d, 1)``, map to
    0; those of infinite size are constant. Columns that do not depend on others, up to rounding, have no say:
    in original units their coefficients can be so much larger than the rest that rounding would decide.
    """
    w[np.isinf(sizes[:, 0])] = 0.0
    depends = np.linalg.norm(null, axis=1) > RESOLVED
    null = null / sizes
    w -= null @ np.linalg.lstsq(null[depends], w[depends], rcond=RESOLVED)[0]
