import importlib

import pytest

from tests.conftest import REAL_GPU
from tests.shim import fake_cupy

collect_ignore = ["test_numba_faults.py"] if REAL_GPU else []


@pytest.fixture(scope="module")
def cupy():
    """CuPy, or its stand-in, whose kernels the shim runs."""
    if REAL_GPU:
        yield importlib.import_module("cupy")
        return
    with fake_cupy.install() as module:
        yield module
