"""The Numba twin of the dot product against NumPy in double: in Numba's simulator, or on a GPU."""

import numpy as np
import pytest

from vecprod_gpu.backends import numba_cuda
from vecprod_gpu.backends._device import windows

from .test_numba_geometry import components_first, device_view
from .test_numba_simulator import COMPLEX, FLOATS, INTEGERS, assert_close, numbers, poisoned


def vecdot(a, b):
    a, b = numba_cuda.native(a), numba_cuda.native(b)
    out = poisoned(np.broadcast_shapes(a.shape[:-1], b.shape[:-1]), a.dtype)
    numba_cuda.vecdot(a, b, out)
    return numba_cuda.export(out, "numpy")


def expected_vecdot(a, b):
    widest = {"f": np.float64, "c": np.complex128}.get(a.dtype.kind, a.dtype)
    return np.einsum("...i,...i->...", a.conj().astype(widest), b.astype(widest))


def check_vecdot(a, b):
    assert_close(vecdot(a, b), expected_vecdot(a, b), roundings=4 + a.shape[-1])


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX, *INTEGERS])
@pytest.mark.parametrize("shapes", [((5, 3), (5, 3)), ((2, 1, 9), (4, 9))], ids=["paired", "broadcast"])
def test_vecdot_of_every_dtype(dtype, shapes):
    check_vecdot(*(numbers(shape, dtype, seed) for seed, shape in enumerate(shapes)))


@pytest.mark.parametrize("shape", [(67, 0), (1, 1), (67, 4), (67, 5), (3, 17), (5, 65), (1, 200)], ids=str)
def test_vecdot_of_ragged_sizes(shape):
    check_vecdot(numbers(shape, "float32"), numbers(shape, "float32", seed=1))


def test_vecdot_of_nothing():
    assert vecdot(np.ones((0, 3)), np.ones((0, 3))).shape == (0,)


def test_vecdot_conjugates_its_first_argument():
    assert vecdot(np.array([1j, 2]), np.array([1, 1j])) == 1j


def test_vecdot_of_half_is_summed_in_single():
    ones = np.array([2048, 1, 1, 0], np.float16)
    assert vecdot(ones, np.ones(4, np.float16)) == 2050


@pytest.mark.parametrize(
    "view", [lambda x: x[::-1], lambda x: x[:, ::2], lambda x: x[:, ::-1], lambda x: x.T]
)
def test_vecdot_of_device_views(view):
    a, b = numbers((6, 6), "float64"), numbers((6, 6), "float64", seed=1)
    result = vecdot(device_view(a, view), device_view(b, view))
    assert_close(result, expected_vecdot(view(a), view(b)), roundings=10)


def test_vecdot_has_the_same_bits_for_any_grid_and_strides(monkeypatch):
    a, b = numbers((5, 70), "float32"), numbers((5, 70), "float32", seed=1)
    result = vecdot(a, b)
    monkeypatch.setattr(windows, "threads", lambda: 64)
    np.testing.assert_array_equal(vecdot(components_first(a), components_first(b)), result)
