"""Arrays of other libraries, on which scikit-learn dispatches."""

import numpy as np
import pytest
from sklearn import config_context

from tests.conftest import REAL_GPU

ON_GPU = pytest.mark.skipif(not REAL_GPU, reason="needs a GPU")
LIBRARIES = [
    "array_api_strict",
    "torch",
    pytest.param("torch cuda", marks=ON_GPU),
    pytest.param("cupy", marks=ON_GPU),
]


def to_library(library, array):
    """A copy of the array of that library, on its device."""
    name, _, device = library.partition(" ")
    xp = pytest.importorskip(name)
    return xp.asarray(array.copy(), **({"device": device} if device else {}))


def to_numpy(array):
    """A copy on the host."""
    if hasattr(array, "get"):
        return array.get()
    return np.from_dlpack(array.cpu() if hasattr(array, "cpu") else array)


def assert_lives_with(array, other):
    """Of the same library, on the same device."""
    assert type(array) is type(other)
    assert array.device == other.device


@pytest.fixture
def dispatched(monkeypatch):
    """scikit-learn dispatches on the library of X."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    with config_context(array_api_dispatch=True):
        yield
