"""What ``vecprod bench --calibrate`` measures: the rates behind the choice between the host and a GPU.

They are what the package's own passes reach, since it is those that are chosen between: a gradient reads
memory, and gradients of many models and a Gram matrix compute.  The fastest of several turns counts.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import vecprod_gpu as vp

from . import _dispatch, _rates
from ._arrays import Kind

Array = np.ndarray[Any, Any]
Numbers = dict[str, float]

KINDS: dict[str, Kind] = {"cupy": "cupy", "numba-cuda": "numba"}
"""Device arrays that a backend takes as they are."""

ROWS, COLUMNS, MODELS = 1 << 18, 64, 32
"""Of float32 these are 64 MiB, past the caches of a host."""

TIMES_ON_A_GPU = 8
"""So many times the rows are past the cache of a GPU as well."""

CALLS_AT_ONCE = 10
"""Calls on a GPU before it is waited for, so that each takes what its kernels take."""

TURNS, SMALL_TURNS = 3, 30


def calibrate(rows: int = ROWS) -> dict[str, Numbers]:
    """Measure the rates of this machine, by dtype, and keep them where `_costs` reads them."""
    gpu = next((name for name in _dispatch.ON_DEVICE if vp.backends()[name].available), None)
    measured = {}
    for dtype in map(np.dtype, _rates.DTYPES):
        problem = _Problem(rows, dtype)
        rates = _of_host(problem) | (_of_gpu(problem, gpu) if gpu else {})
        measured[dtype.name] = {name: float(f"{rate:.3g}") for name, rate in rates.items()}
    _rates.save(measured)
    return measured


class _Problem:
    """A regression, for one model or for many, and what its passes move and compute."""

    def __init__(self, rows: int, dtype: np.dtype[Any]) -> None:
        rng = np.random.default_rng(0)
        self.X = rng.random((rows, COLUMNS)).astype(dtype)
        self.y, self.w = self.X[:, 0].copy(), np.ones(COLUMNS, dtype)
        self.models = np.ones((COLUMNS, MODELS), dtype)

    @property
    def flops(self) -> float:
        """Of `compute`, as the operations count them."""
        return float(self.X.size * (4 * MODELS + 2 * COLUMNS))


def _read(X: Any, y: Any, w: Any, models: Any) -> Any:
    return vp.linreg_gradient(X, y, w)


def _compute(X: Any, y: Any, w: Any, models: Any) -> Any:
    vp.linreg_gradient(X, y, models)
    return vp.gram(X)


def _of_host(problem: _Problem) -> Numbers:
    arrays = problem.X, problem.y, problem.w, problem.models
    with vp.use_backend("cpu" if vp.backends()["cpu"].available else "reference"):
        reading = _fastest(lambda: _read(*arrays))
        computing = _fastest(lambda: _compute(*arrays))
    return {"host_bytes": problem.X.nbytes / reading, "host_flops": problem.flops / computing}


def _of_gpu(problem: _Problem, name: str) -> Numbers:
    backend, kind = _dispatch.load(name), KINDS[name]

    def on_device(host: Array) -> Any:
        return backend.export(backend.native(host), kind)

    def on_host(device: Any) -> Any:
        return backend.export(backend.native(device), "numpy")  # which waits for what is queued

    with vp.use_backend(name):
        few = problem.X[:8], problem.y[:8], problem.w
        latency = _fastest(lambda: vp.linreg_gradient(*few), SMALL_TURNS)
        moving = _fastest(lambda: on_host(on_device(problem.X)))
        large = np.tile(problem.X, (TIMES_ON_A_GPU, 1)), np.tile(problem.y, TIMES_ON_A_GPU)
        arrays = [on_device(host) for host in (*large, problem.w, problem.models)]

        def queued(work: Callable[..., Any]) -> None:
            for _ in range(CALLS_AT_ONCE):
                last = work(*arrays)
            on_host(last)

        reading = _fastest(lambda: queued(_read)) / CALLS_AT_ONCE
        computing = _fastest(lambda: queued(_compute)) / CALLS_AT_ONCE
    return {
        "device_bytes": large[0].nbytes / reading,
        "device_flops": TIMES_ON_A_GPU * problem.flops / computing,
        "transfer_bytes": 2 * problem.X.nbytes / moving,
        "latency": latency,
    }


def _fastest(call: Callable[[], Any], turns: int = TURNS) -> float:
    """Seconds of the fastest turn, after one that may compile."""
    call()
    seconds = []
    for _ in range(turns):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
