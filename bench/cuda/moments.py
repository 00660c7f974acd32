"""Rows of sums of outer products on a GPU: Gram matrices and covariances."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import vecprod_gpu as vp

from ..row import Entry
from ..runner import Runner
from . import limits
from .gpu import Gpu


def gram(gpu: Gpu, n: int, d: int) -> Entry:
    """``XᵀX``, summed in float32; cuBLAS by gemm, since its syrk takes seconds for one so tall."""
    cp = gpu.cupy
    X = gpu.normal(n, d)
    out = cp.empty((d, d), np.float32)

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tX, tout = map(gpu.tensor, (X, out))
        yield gpu.runner("cuBLAS gemm by torch", lambda: torch.mm(tX.T, tX, out=tout), out=out)

    runners = [
        gpu.runner("ours", lambda: vp.gram(X, out=out), out=out),
        gpu.runner("cuBLAS gemm by cupy", lambda: X.T @ X),
        *gpu.with_torch(torch_runners),
        *limits.read(gpu, X),
    ]
    expected = cp.zeros((d, d), np.float64)
    for (part,) in gpu.wide_rows(X):
        expected += part.T @ part
    return Entry(runners, gpu.held_against(expected), X.nbytes)


def cov(gpu: Gpu, n: int, d: int) -> Entry:
    """Covariance of d columns whose means are not 0, summed in float32."""
    cp = gpu.cupy
    X = gpu.normal(n, d)
    X += np.float32(3)

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tX = gpu.tensor(X)

        def centred() -> Any:
            about = tX - tX.mean(dim=0)
            return about.T @ about / (n - 1)

        yield gpu.runner("torch, centred product", centred)
        yield gpu.runner("torch.cov", lambda: torch.cov(tX.T))

    def centred() -> Any:
        about = X - X.mean(axis=0)
        return about.T @ about / np.float32(n - 1)

    runners = [
        gpu.runner("ours", lambda: vp.cov(X, rowvar=False, dtype=np.float32)),
        gpu.runner("cupy, centred product", centred),
        *gpu.with_torch(torch_runners),
        *limits.read(gpu, X),
    ]
    total = cp.zeros(d, np.float64)
    for (part,) in gpu.wide_rows(X):
        total += part.sum(axis=0)
    expected = cp.zeros((d, d), np.float64)
    for (part,) in gpu.wide_rows(X):
        about = part - total / n
        expected += about.T @ about
    return Entry(runners, gpu.held_against(expected / (n - 1)), X.nbytes)
