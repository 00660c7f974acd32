"""NumPy arrays of bfloat16, as the package ml_dtypes adds it to NumPy."""

from typing import Any

import numpy as np

from .._arrays import Array
from ._library import Library

Host = np.ndarray[Any, Any]


class NumpyBfloat16(Library):
    """Arrays that are NumPy's own but for their numbers."""

    name = "numpy, in bfloat16"

    def view(self, array: Host, function: str) -> Host:
        return array

    def widened(self, array: Host) -> Host:
        return array.astype(np.float32)

    def narrowed(self, array: Array) -> Host:
        import ml_dtypes

        return np.asarray(array, ml_dtypes.bfloat16)


LIBRARY = NumpyBfloat16()
