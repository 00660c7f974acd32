"""As much of CuPy's interface as `tests.kernels.checks` uses, for the backend ``numba-cuda``.

Its native arrays are windows on device memory.  Here they also have NumPy's views, whose shapes and strides
NumPy itself finds, on memory that it never looks at.
"""

from types import SimpleNamespace

import numpy as np

from vecprod_gpu.backends import numba_cuda as backend
from vecprod_gpu.backends._device import windows

__all__ = ["asarray", "backend", "empty", "moveaxis"]


class Array(windows.Window):
    """A window that can be indexed and transposed."""

    @property
    def size(self):
        return int(np.prod(self.shape))

    @property
    def itemsize(self):
        return self.dtype.itemsize

    @property
    def data(self):
        """Where CuPy keeps the pointer."""
        return SimpleNamespace(ptr=self.address)

    def get(self):
        return backend.export(self, "numpy")

    def reshape(self, shape):
        return _array(backend.reshape(self, shape))

    def transpose(self, *order):
        return self._view(lambda ghost: ghost.transpose(order))

    def __getitem__(self, key):
        return self._view(lambda ghost: ghost[key])

    def __setitem__(self, key, value):
        backend.assign(self if key is ... else self[key], value)

    def _view(self, of):
        """Window on what `of` takes from an array of the same geometry; a copy where no kernel reads that."""
        interface = {
            "data": (self.address, False),
            "shape": self.shape,
            "strides": self.strides,
            "typestr": self.dtype.str,
            "version": 3,
        }
        ghost = of(np.asarray(SimpleNamespace(__array_interface__=interface)))
        view = Array(self.owner, ghost.ctypes.data, ghost.shape, ghost.strides, ghost.dtype, self.queue)
        return _array(windows.readable(view))


def _array(window):
    fields = (window.owner, window.address, window.shape, window.strides, window.dtype, window.queue)
    return Array(*fields)


def asarray(host):
    """Copy of a host array on the device."""
    return host if isinstance(host, Array) else _array(backend.native(host))


def empty(shape, dtype=float):
    """Memory full of ones in every bit, as that of `tests.shim.fake_cupy`."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return asarray(np.full(count, 0xFF, np.uint8).view(dtype).reshape(shape))


def moveaxis(array, source, destination):
    """As `numpy.moveaxis`."""
    return _array(backend.moveaxis(array, source, destination))
