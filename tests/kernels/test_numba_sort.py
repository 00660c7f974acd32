"""The stable sort of the Numba dialect against NumPy's: in Numba's simulator, or on a GPU."""

import numpy as np
import pytest

from vecprod_gpu.backends import numba_cuda
from vecprod_gpu.backends._device import windows


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 65, 150])
def test_stable_order_of_any_count(count, dtype):
    keys = np.random.default_rng(count).integers(-4, 5, count).astype(dtype)
    order = windows.stable_order(numba_cuda.native(keys))
    np.testing.assert_array_equal(windows.to_host(order), np.argsort(keys, kind="stable"))
    assert order.dtype == np.int64


@pytest.mark.parametrize(
    "keys", [np.arange(40), np.arange(40)[::-1], np.zeros(40, int), np.repeat([3, 1, 2], 13)], ids=len
)
def test_stable_order_of_regular_keys(keys):
    order = windows.stable_order(numba_cuda.native(keys))
    np.testing.assert_array_equal(windows.to_host(order), np.argsort(keys, kind="stable"))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_stable_order_of_the_widest_range(dtype):
    info = np.iinfo(dtype)
    keys = np.array([info.max, 0, info.min, -1, info.max, info.min, 1], dtype)
    order = windows.stable_order(numba_cuda.native(keys))
    np.testing.assert_array_equal(windows.to_host(order), [2, 5, 3, 1, 6, 0, 4])


def test_stable_order_counts_in_c_order():
    keys = np.random.default_rng(0).integers(0, 5, (9, 3))
    order = windows.stable_order(numba_cuda.native(keys))
    np.testing.assert_array_equal(windows.to_host(order), np.argsort(keys, axis=None, kind="stable"))
