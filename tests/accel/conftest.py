"""Ours in the place of NumPy's and scikit-learn's functions, in this process and in others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vecprod_gpu import accel
from vecprod_gpu.accel import _covariances, _estimators, _products
from vecprod_gpu.accel._loading import loading

ROOT = Path(__file__).parents[2]

ANY_SIZE = {
    _products: dict.fromkeys(
        ("LEAST_VECTORS", "LEAST_OUTER_BYTES", "LEAST_EINSUM_ELEMENTS", "SHORT", "SURELY_SMALL"), 0
    ),
    _covariances: {"LEAST_ELEMENTS": 0, "MOST_VARIABLES": 1e9},
    _estimators: {"LEAST_ELEMENTS": 0},
}


@pytest.fixture
def installed(monkeypatch):
    """Ours, for this test."""
    monkeypatch.delenv("VECPROD_ACCEL_LOG_LEVEL", raising=False)
    accel.install()
    yield
    accel.uninstall()


@pytest.fixture
def any_size(installed, monkeypatch):
    """Ours, for calls of any size, and from the first one on."""
    assert not loading.obstacle()
    for module, values in ANY_SIZE.items():
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)


@pytest.fixture
def run(tmp_path):
    """Run Python in an empty folder; what it printed. It must succeed unless another status is given."""

    def run(*words, status=0, text="", **environment):
        ended = subprocess.run(
            [sys.executable, *map(str, words)],
            input=text,
            cwd=tmp_path,
            env={**os.environ, "NUMBA_ENABLE_CUDASIM": "0", "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == status, ended.stdout + ended.stderr
        return ended

    return run
