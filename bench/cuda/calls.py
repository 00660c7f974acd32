"""Rows of what surrounds the kernels: small calls, transfers, and the first call of a process."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

import vecprod_gpu as vp

from ..processes import first_call
from ..row import Entry
from ..runner import LIMIT, Runner
from .gpu import Gpu
from .products import cross_check

THREADS = 256

FIRST_CALL = "import cupy; {}; cupy.cuda.Device().synchronize()"
OUR_FIRST_CALL = FIRST_CALL.format("import vecprod_gpu; vecprod_gpu.cross(*cupy.ones((2, 8, 3), 'f'))")
CUPYS_FIRST_CALL = FIRST_CALL.format("cupy.add(*cupy.ones((2, 8, 3), 'f'))")
CACHE = "CUPY_CACHE_DIR"


def small_cross(gpu: Gpu, count: int, given_out: bool) -> Entry:
    """A few cross products, where the call costs more than the kernel."""
    cp = gpu.cupy
    a, b = gpu.normal(count, 3), gpu.normal(count, 3, seed=1)
    out = cp.empty_like(a) if given_out else None
    bare = gpu.limits("bare_cross")
    number = np.int64(count)

    def launch() -> Any:
        into = cp.empty((count, 3), np.float32) if out is None else out
        bare((1,), (THREADS,), (a, b, into, number))
        return into

    def torch_runners(torch: Any) -> Iterator[Runner]:
        ta, tb = map(gpu.tensor, (a, b))
        into = {} if out is None else {"out": gpu.tensor(out)}
        yield gpu.runner("torch", lambda: torch.linalg.cross(ta, tb, **into), out=out)

    runners = [
        gpu.runner("ours", lambda: vp.cross(a, b, out=out), out=out),
        gpu.runner("bare launch", launch, out=out),
        gpu.runner("cupy", lambda: cp.cross(a, b)),
        *gpu.with_torch(torch_runners),
    ]
    return Entry(runners, cross_check(gpu, a, b))


def from_host(gpu: Gpu, count: int) -> Entry:
    """Cross products of host arrays: on the GPU and back, on the CPU, and the copies alone."""
    cp = gpu.cupy
    a, b = (cp.asnumpy(gpu.normal(count, 3, seed=seed)) for seed in range(2))
    out, onto = np.empty_like(a), [cp.empty((count, 3), np.float32) for _ in range(3)]

    def on(backend: str) -> Any:
        with vp.use_backend(backend):
            return vp.cross(a, b, out=out)

    def copies() -> None:
        for device, host in zip(onto, (a, b), strict=False):
            device.set(host)
        onto[2].get(out=out)

    runners = [
        Runner("ours", lambda: on("cupy"), cp.asarray, out=out),
        Runner("ours, on the CPU", lambda: on("cpu"), cp.asarray, out=out),
        Runner("ours, as it chooses", lambda: vp.cross(a, b, out=out), cp.asarray, out=out),
        Runner("cupy", lambda: cp.asnumpy(cp.cross(cp.asarray(a), cp.asarray(b))), cp.asarray),
        Runner(LIMIT + "copies", copies, None),
    ]
    return Entry(runners, cross_check(gpu, cp.asarray(a), cp.asarray(b)))


def cold_start(gpu: Gpu) -> Entry:
    """The first call of a fresh process: imports, the driver's start and, without a cache, the compiler."""
    runners = [
        Runner("ours", partial(first_call, OUR_FIRST_CALL), None),
        Runner("ours, nothing compiled yet", partial(first_call, OUR_FIRST_CALL, CACHE), None),
        Runner("cupy, one sum", partial(first_call, CUPYS_FIRST_CALL), None),
    ]
    return Entry(runners, None)
