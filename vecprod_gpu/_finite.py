"""Where an array holds NaN or infinity."""

from typing import Any

import numpy as np

ELEMENTS_AT_ONCE = 2**22


def first_not_finite(values: np.ndarray[Any, Any]) -> tuple[int, ...] | None:
    """Index of the first NaN or infinity of an array, in the order of its rows.

    Examples
    --------
    >>> first_not_finite(np.array([[1.0, 2.0], [np.inf, np.nan]]))
    (1, 0)
    """
    if values.dtype.kind not in "fc":
        return None
    rows = max(1, ELEMENTS_AT_ONCE // max(1, values[:1].size))
    for start in range(0, len(values), rows):
        finite = np.isfinite(values[start : start + rows])
        if not finite.all():
            row, *rest = (int(i) for i in np.argwhere(~finite)[0])
            return (start + row, *rest)
    return None
