"""What only a real GPU can show: collected with VECPROD_TEST_REAL_GPU=1 alone, and never skipped."""

import importlib

import pytest

import vecprod_gpu as vp
from tests.conftest import REAL_GPU

collect_ignore_glob = [] if REAL_GPU else ["test_*.py"]


@pytest.fixture
def cp():
    """CuPy, whose pool gives back after a test what it holds."""
    cupy = importlib.import_module("cupy")
    yield cupy
    cupy.cuda.Device().synchronize()
    cupy.get_default_memory_pool().free_all_blocks()


@pytest.fixture(params=["cupy", "numba-cuda"])
def dialect(request):
    """Each of the two backends for GPUs in turn; both take CuPy's arrays."""
    with vp.use_backend(request.param):
        yield request.param
