"""Rows of whole fits on device arrays: many steps, many problems."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

import vecprod_gpu as vp

from ..row import Entry
from ..runner import Runner
from . import limits
from .gpu import Gpu
from .gradients import descent

LEARNING_RATE = 0.5  # of standard normal columns, whose largest eigenvalue is little more than 1


def steps(gpu: Gpu, n: int, d: int, count: int, few: int) -> Entry:
    """Steps of gradient descent: from co-moments, fused, and as two products for each."""
    X, y = gpu.normal(n, d), gpu.normal(n, seed=1)
    y += X @ gpu.normal(d, seed=2)
    how: dict[str, Any] = {"learning_rate": LEARNING_RATE, "tol": 0, "fit_intercept": False}
    share = few / count

    def fused() -> Any:
        return vp.linreg_fit(X, y, solver="gd", max_iter=few, **how).coef

    def by_cupy() -> Any:
        w = gpu.cupy.zeros(d, np.float32)
        for _ in range(few):
            w -= np.float32(LEARNING_RATE / n) * (X.T @ (X @ w - y))
        return w

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tX, ty = gpu.tensor(X), gpu.tensor(y)

        def by_torch() -> Any:
            w = torch.zeros(d, device=tX.device)
            for _ in range(few):
                w -= LEARNING_RATE / n * (tX.T @ (tX @ w - ty))
            return w

        yield Runner(f"torch, by {few} steps", by_torch, None, share)

    runners = [
        gpu.runner("ours", lambda: vp.linreg_fit(X, y, solver="comoments", max_iter=count, **how).coef),
        Runner(f"ours, fused, by {few} steps", fused, None, share),
        Runner(f"cupy, by {few} steps", by_cupy, None, share),
        *gpu.with_torch(torch_runners),
        *limits.read(gpu, X),
    ]
    return Entry(runners, gpu.held_against(descent(gpu, X, y, LEARNING_RATE, count)), X.nbytes)


def batched(gpu: Gpu, problems: int, n: int, d: int) -> Entry:
    """Many small regressions at once, in float64."""
    cp = gpu.cupy
    X, y = gpu.normal(problems, n, d, dtype=np.float64), gpu.normal(problems, n, dtype=np.float64, seed=1)

    def normal_equations(X: Any, y: Any) -> Any:
        transposed = X.swapaxes(1, 2)
        return cp.linalg.solve(transposed @ X, transposed @ y[..., None])[..., 0]

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tX, ty = gpu.tensor(X), gpu.tensor(y)[..., None]
        part = slice(max(1, problems // 10))  # torch solves one problem after another
        share = part.stop / problems
        gels = partial(torch.linalg.lstsq, tX[part], ty[part], driver="gels")
        yield Runner("torch, gels, by a tenth of it", gels, None, share)
        yield gpu.runner(
            "torch, normal equations", lambda: torch.linalg.solve(tX.mT @ tX, tX.mT @ ty)[..., 0]
        )

    runners = [
        gpu.runner("ours", lambda: vp.linreg_fit(X, y, fit_intercept=False).coef),
        gpu.runner("cupy, normal equations", lambda: normal_equations(X, y)),
        *gpu.with_torch(torch_runners),
        *limits.read(gpu, X),
    ]
    # Of columns as independent as these, normal equations in float64 lose two digits of sixteen.
    check = gpu.held_by_rows(lambda part: normal_equations(X[part], y[part]), problems)
    return Entry(runners, check, X.nbytes + y.nbytes)
