"""Tests of the door for JAX: collected where JAX is installed, so that none is skipped elsewhere."""

import os
from importlib.util import find_spec

import pytest

# On a machine with a GPU each worker's JAX would keep most of its memory from all others.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

collect_ignore_glob = [] if find_spec("jax") else ["*.py"]


@pytest.fixture(autouse=True)
def _in_float64():
    """JAX in double precision, which it keeps to itself unless told."""
    import jax

    with jax.enable_x64(True):
        yield
