import ctypes

import numpy as np
import pytest
from vecprod_gpu.bench.clocks import ReportedClock, WallClock

from tests.conftest import REAL_GPU

# The rows themselves run on a GPU, by `vecprod bench`.
collect_ignore = ["test_cuda_rows.py"] if REAL_GPU else []

HALF = "struct half_t { unsigned short bits; };\n"  # which the shim takes from common.cuh


def memset(address, value, count, stream):
    ctypes.memset(address, value, count)


def with_half(source):
    return source if "struct half_t {" in source else HALF + source


def receive(array, host):
    np.copyto(array.view(np.ndarray), host)


def send(array, out=None):
    host = np.array(array, subok=False)
    return host if out is None else np.copyto(out, host)


@pytest.fixture
def stand_in(monkeypatch):
    """The stand-in for CuPy with the few more functions that the rows use."""
    import cupy

    monkeypatch.setattr(cupy, "edit_source", with_half)
    monkeypatch.setattr(cupy.cuda.runtime, "memsetAsync", memset, raising=False)
    monkeypatch.setattr(cupy, "multiply", lambda a, b, out: np.multiply(a, b, out=out), raising=False)
    monkeypatch.setattr(cupy.ndarray, "set", receive, raising=False)
    monkeypatch.setattr(cupy.ndarray, "get", send)
    return cupy


@pytest.fixture
def clocks():
    """The host's clock in place of every clock that needs a GPU."""
    once = WallClock(turn_seconds=0)
    return {"kernel": once, "call": once, "wall": once, "reported": ReportedClock()}


@pytest.fixture
def gpu(stand_in):
    """The stand-in as the rows are given it; torch computes on the same memory."""
    from vecprod_gpu.bench.cuda.gpu import Gpu
    from vecprod_gpu.bench.peers import load

    torch, why = load("torch")
    return Gpu(stand_in, torch, cache_bytes=64, why_no_torch=why, compiles=False)
