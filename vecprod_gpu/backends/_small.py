"""The short way for small host arrays: compiled ufuncs by dtype, filled in by `_ufuncs` as they are built.

A leaf module, so that looking for one imports nothing.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

# Up to here a thread that sleeps costs more than it brings.
SMALL_ELEMENTS = 1 << 15  # of an outer product
ALONE_OUTER_BYTES = 1 << 22  # of a batch of outer products
SMALL_CROSS_BYTES = 1 << 21  # of cross products of rows
SMALL_MEASURES = 1 << 16  # angles, areas or volumes
SMALL_VECDOT_BYTES = 1 << 20  # of one factor
ALONE_CROSS_BYTES = 1 << 19  # the same of a thread that waits awake

small_outer: dict[np.dtype[Any], np.ufunc] = {}
small_outer_rows: dict[np.dtype[Any], np.ufunc] = {}
small_cross: dict[np.dtype[Any], np.ufunc] = {}
small_cross_rows: dict[np.dtype[Any], np.ufunc] = {}
shared_cross_rows: dict[np.dtype[Any], Callable[..., Any]] = {}  # None where threads cannot share them
small_measures: dict[tuple[str, np.dtype[Any]], np.ufunc] = {}
small_vecdot: dict[np.dtype[Any], np.ufunc] = {}
