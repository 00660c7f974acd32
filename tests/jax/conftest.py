"""Tests of the door for JAX: collected where JAX is installed, so that none is skipped elsewhere."""

from importlib.util import find_spec

import pytest

collect_ignore_glob = [] if find_spec("jax") else ["test_*.py"]


@pytest.fixture(autouse=True)
def _in_float64():
    """JAX in double precision, which it keeps to itself unless told."""
    import jax

    with jax.enable_x64(True):
        yield
