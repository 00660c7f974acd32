"""NumPy's own tests of cross and outer, run with our functions in NumPy's place."""

import inspect

import numpy as np
import pytest
from numpy._core.tests import test_numeric

import vecprod_gpu as vp


@pytest.fixture(autouse=True)
def in_numpys_place(host_backend, monkeypatch):
    """Put ours where NumPy's tests look for theirs."""
    monkeypatch.setattr(np, "cross", vp.cross)
    monkeypatch.setattr(np, "outer", vp.outer)


class TestCross(test_numeric.TestCross):
    """All of NumPy's tests of `numpy.cross`."""


def test_outer_out_param():
    """NumPy's test of ``numpy.outer(..., out=)``."""
    test_numeric.test_outer_out_param()


def test_these_are_the_tests_meant():
    assert np.cross is vp.cross
    assert sum(name.startswith("test_") for name, _ in inspect.getmembers(TestCross)) >= 5
    assert "np.outer(" in inspect.getsource(test_numeric.test_outer_out_param)
