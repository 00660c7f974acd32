"""The short way for small host arrays: compiled ufuncs by dtype, filled in by `_ufuncs` as they are built.

A leaf module, so that looking for one imports nothing.
"""

from typing import Any

import numpy as np

SMALL_ELEMENTS = (
    1 << 15
)  # of an input to cross, of an outer product; below it a second thread costs more than it brings

small_outer: dict[np.dtype[Any], np.ufunc] = {}
small_cross: dict[np.dtype[Any], np.ufunc] = {}
