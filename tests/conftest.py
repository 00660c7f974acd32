"""One body for every backend, with or without a GPU.

Without one, ``cupy`` runs its unchanged ``.cu`` kernels on the CPU through `tests.shim`, and
``numba-cuda`` runs in Numba's simulator, in blocks of `tests.shim.turns`.  With
VECPROD_TEST_REAL_GPU=1 both run on the GPU, and nothing stands in for them.
"""

import gc
import os

REAL_GPU = os.environ.get("VECPROD_TEST_REAL_GPU") == "1"

if not REAL_GPU:
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"  # read when numba.cuda is first imported
    from tests.shim import fake_cupy

    _stand_in = fake_cupy.install()  # kept, since it ends with its last reference
    _stand_in.__enter__()

import numpy as np
import pytest

import vecprod_gpu as vp
from vecprod_gpu import _dispatch

# VECPROD_TEST_BACKENDS names fewer: where Numba is missing only "reference" can be held to anything.
BACKENDS = tuple(os.environ.get("VECPROD_TEST_BACKENDS", "reference cpu cupy numba-cuda").split())
if "numba-cuda" in BACKENDS and not REAL_GPU:
    from tests.shim import turns

    turns.install()
HOST_BACKENDS = tuple(name for name in BACKENDS if name in ("reference", "cpu"))


def pytest_collection_finish():
    """Let the garbage collector leave aside what stays to the end: thousands of tests, and all modules."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=BACKENDS)
def backend(request):
    """Each backend in turn, for calls on host arrays; none of them may be handed to another unseen."""
    before = vp.fallback_counts()
    with vp.use_backend(request.param):
        yield request.param
    if request.node.get_closest_marker("may_fall_back") is None:
        assert vp.fallback_counts() == before, "a call fell back to reference"


@pytest.fixture
def no_long_way(monkeypatch):
    """Calls that leave the choice of a backend to the dispatcher fail: the short ways do not."""

    def fail(*_):
        raise AssertionError("the call went the long way")

    monkeypatch.setattr(_dispatch, "choose", fail)


@pytest.fixture(params=HOST_BACKENDS)
def host_backend(request):
    """Each of the two backends that compute on the host."""
    with vp.use_backend(request.param):
        yield request.param


@pytest.fixture(params=[*HOST_BACKENDS, None])
def backend_or_default(request):
    """A host backend, or the dispatcher's own choice, where reference may take over for the dtype."""
    if request.param is None:
        yield None
    else:
        with vp.use_backend(request.param):
            yield request.param


@pytest.fixture
def rng():
    """Random numbers that a failure can be repeated with."""
    return np.random.default_rng(20240229)
