"""What one GPU has for launches that keep data on chip, as CuPy tells of it and makes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from vecprod_gpu import _compile

from .launcher import THREADS, Grid, Shape
from .recordings import recorder


@dataclass(frozen=True)
class CupyChip:
    """`Chip` of one device, for launches on CuPy's current stream."""

    blocks_together: int
    shared_bytes: int

    @staticmethod
    def zeros(shape: Shape, dtype: Any) -> Any:
        """As `numpy.zeros`."""
        import cupy

        return cupy.zeros(shape, dtype)

    def launch(
        self,
        file: str,
        kernel: str,
        stored_dtype: np.dtype[Any],
        sum_dtype: np.dtype[Any],
        grid: Grid,
        args: Sequence[Any],
        shared_bytes: int,
        constants: _compile.Constants,
        is_cooperative: bool,
    ) -> None:
        """As `Chip`; not for repeating, since a recording knows neither zeros nor cooperation."""
        function = _compile.get_kernel(file, kernel, stored_dtype, sum_dtype, constants)
        # The most that any launch needs: another thread may launch the same function between the two.
        function.max_dynamic_shared_size_bytes = self.shared_bytes
        function.kernel(grid, (THREADS,), tuple(args), shared_bytes, enable_cooperative_groups=is_cooperative)
        if (notes := recorder()) is not None:
            notes.did_more()


@cache
def chip_of(device: int) -> CupyChip:
    """What the device of that number has; asked of the driver once."""
    import cupy

    runtime = cupy.cuda.runtime

    def has(attribute: int) -> int:
        return int(runtime.deviceGetAttribute(attribute, device))

    is_cooperative = has(runtime.cudaDevAttrCooperativeLaunch)
    together = has(runtime.cudaDevAttrMultiProcessorCount) if is_cooperative else 1
    return CupyChip(together, has(runtime.cudaDevAttrMaxSharedMemoryPerBlockOptin))
