"""Strided copy with a cast: for the Numba dialect alone, whose device arrays cannot do it themselves.

    destination[i] = source[i]

Shapes: both are windows of one shape, a tuple, on flat arrays: each with its own start and strides, in
elements, which may be 0 or negative.  Bytes moved: ``count * (sizeof(source) + sizeof(destination))``.
Neighbouring threads write neighbouring elements of the last axis and stride over the grid.

Ideas tried: ``destination[...] = source`` of Numba's own arrays synchronises, refuses sources that are
not contiguous and moves the start of windows with negative strides.
"""

from numba import cuda


@cuda.jit
def strided_copy(
    source, destination, count, shape, source_start, source_strides, destination_start, destination_strides
):
    """Copy `count` elements, the product of `shape`."""
    for index in range(cuda.grid(1), count, cuda.gridsize(1)):
        rest = index
        read = source_start
        write = destination_start
        for axis in range(len(shape) - 1, -1, -1):
            position = rest % shape[axis]
            rest //= shape[axis]
            read += position * source_strides[axis]
            write += position * destination_strides[axis]
        destination[write] = source[read]
