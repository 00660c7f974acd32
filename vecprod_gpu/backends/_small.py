"""The short way for host arrays: compiled ufuncs by dtype, filled in by the modules that build them.

A leaf module, so that looking for one imports nothing.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

# Up to here a call needs no weighing against a GPU.
FEW_ELEMENTS = 1 << 8  # of an outer product, which takes less than the checks of a longer way
PAIR_ELEMENTS = 1 << 10  # of one outer product, whose rows no faster loop writes sooner
SMALL_ELEMENTS = 1 << 15  # of an outer product
SMALL_OUTER_BYTES = 1 << 21  # of outer products whose rows a faster loop writes
SMALL_PRODUCTS = 1 << 18  # of numbers, of the rows of a table with themselves
SMALL_VECTORS_BYTES = 1 << 20  # of what is measured: angles, areas, volumes and dot products

# Up to here a thread that sleeps costs more than it brings.
ALONE_OUTER_BYTES = 1 << 22  # of a batch of outer products
SMALL_CROSS_BYTES = 1 << 21  # of cross products of rows
ALONE_MEASURES = 1 << 16  # angles, areas or volumes

ALONE_CROSS_BYTES = 3 << 17  # of cross products of rows: so does a thread that waits awake

LONG = 64  # elements, for which calling a loop is cheap
CALLS_BYTES = 1 << 12  # in all, up to which calls for fewer take no longer than the long way

small_outer: dict[np.dtype[Any], np.ufunc] = {}
small_outer_rows: dict[np.dtype[Any], np.ufunc] = {}
small_cross: dict[np.dtype[Any], np.ufunc] = {}
small_cross_rows: dict[np.dtype[Any], np.ufunc] = {}
shared_cross_rows: dict[np.dtype[Any], Callable[..., Any]] = {}  # None where threads cannot share them
small_measures: dict[tuple[str, np.dtype[Any]], np.ufunc] = {}
small_vecdot: dict[np.dtype[Any], np.ufunc] = {}
