"""The short way for small host arrays: compiled ufuncs by dtype, filled in by `_ufuncs` as they are built.

A leaf module, so that looking for one imports nothing.
"""

from typing import Any

import numpy as np

# Up to here a second thread costs more than it brings.
SMALL_ELEMENTS = 1 << 15  # of an outer product
SMALL_CROSS_BYTES = 1 << 21  # of cross products of rows

small_outer: dict[np.dtype[Any], np.ufunc] = {}
small_cross: dict[np.dtype[Any], np.ufunc] = {}
small_cross_rows: dict[np.dtype[Any], np.ufunc] = {}
