"""Rows of linear regression on a GPU: the gradient, several models at once, and steps on chip."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import vecprod_gpu as vp
from vecprod_gpu.backends import cupy_raw

from ..row import Entry
from ..runner import Runner
from . import limits
from .gpu import Gpu

LEARNING_RATE = 0.1


def gradient(gpu: Gpu, n: int, d: int, dtype: str = "float32", rotates: bool = False) -> Entry:
    """One gradient of n rows and d columns; the bytes that count are those of X."""
    X, y, w = _problem(gpu, n, d, dtype)
    sets = gpu.sets(X.nbytes) if rotates else 1
    Xs = [X, *(X.copy() for _ in range(sets - 1))]
    out = gpu.cupy.empty_like(w)
    pair = _pair_of_half if dtype == "float16" else _pair

    def torch_runners(torch: Any) -> Iterator[Runner]:
        ty, tw, tout = map(gpu.tensor, (y, w, out))
        residual = torch.empty_like(ty)

        def preallocated(tX: Any) -> Any:
            torch.addmv(ty, tX, tw, beta=-1, out=residual)
            residual.mul_(1 / n)
            return torch.mv(tX.T, residual, out=tout)

        tensors = list(map(gpu.tensor, Xs))
        yield gpu.runner("torch pair", *_each(lambda tX: pair(tX, ty, tw), tensors))
        yield gpu.runner("torch pair, out=", *_each(preallocated, tensors), out=out)

    runners = [
        gpu.runner("ours", *_each(lambda X: vp.linreg_gradient(X, y, w, out=out), Xs), out=out),
        gpu.runner("cupy pair", *_each(lambda X: pair(X, y, w), Xs)),
        *gpu.with_torch(torch_runners),
        *_one_by_one([limits.read(gpu, X) for X in Xs]),
    ]
    return Entry(runners, gpu.held_against(_expected(gpu, X, y, w[:, None])[:, 0]), X.nbytes)


def models(gpu: Gpu, n: int, d: int, count: int) -> Entry:
    """Gradients of several models that share X and y, in one read."""
    cp = gpu.cupy
    X, y, _ = _problem(gpu, n, d, "float32")
    W = gpu.normal(d, count, seed=3)
    out = cp.empty_like(W)
    alone = [cp.ascontiguousarray(W[:, i]) for i in range(count)]
    alone_out = [cp.empty_like(w) for w in alone]

    def one_by_one() -> Any:
        for w, into in zip(alone, alone_out, strict=True):
            vp.linreg_gradient(X, y, w, out=into)
        return alone_out[0]

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tX, ty, tW, tout = map(gpu.tensor, (X, y[:, None], W, out))
        residual = torch.empty((n, count), dtype=tW.dtype, device=tW.device)

        def preallocated() -> Any:
            torch.mm(tX, tW, out=residual)
            residual.sub_(ty)
            torch.mm(tX.T, residual, out=tout)
            return tout.div_(n)

        yield gpu.runner("two products, torch", lambda: tX.T @ (tX @ tW - ty) / n)
        yield gpu.runner("two products, torch, out=", preallocated, out=out)

    runners = [
        gpu.runner("ours", lambda: vp.linreg_gradient(X, y, W, out=out), out=out),
        Runner("ours, one model", lambda: vp.linreg_gradient(X, y, alone[0], out=alone_out[0]), None),
        Runner("ours, one by one", one_by_one, lambda _: cp.stack(alone_out, axis=-1)),
        gpu.runner("two products, cupy", lambda: X.T @ (X @ W - y[:, None]) / n),
        *gpu.with_torch(torch_runners),
        *limits.read(gpu, X),
    ]
    return Entry(runners, gpu.held_against(_expected(gpu, X, y, W)), X.nbytes)


def steps(gpu: Gpu, n: int, d: int, count: int) -> Entry:
    """Time of one of many steps of descent, by one call that may keep X on chip."""
    cp = gpu.cupy
    X, y, _ = _problem(gpu, n, d, "float32")
    batch = X[None], y[None, :, None], cp.zeros((1, d, 1), np.float32)
    points = cp.empty((count, 1, d, 1), np.float32)
    losses = cp.empty((count, 1, 1), np.float64)
    how: dict[str, Any] = {"l1": 0.0, "l2": 0.0, "learning_rate": LEARNING_RATE}
    w = cp.empty((1, d, 1), np.float32)

    def at_once() -> Any:
        cupy_raw.linreg_steps(*batch, None, None, **how, points=points, losses=losses)
        return points[-1, 0, :, 0]

    def one_by_one() -> Any:
        w.fill(0)
        for _ in range(count):
            cupy_raw.linreg_pass(*batch[:2], w, None, None, **how, out=w, loss=None)
        return w[0, :, 0]

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tX, ty, tw = gpu.tensor(X), gpu.tensor(y), torch.empty(d, device=gpu.tensor(X).device)
        residual = torch.empty_like(ty)

        def descend() -> Any:
            tw.zero_()
            for _ in range(count):
                torch.addmv(ty, tX, tw, beta=-1, out=residual)
                tw.addmv_(tX.T, residual, alpha=-LEARNING_RATE / n)
            return tw

        yield _shared(gpu.runner("torch pairs", descend), count)

    runners = [
        _shared(gpu.runner("ours", at_once, out=points), count),
        _shared(gpu.runner("single steps", one_by_one, out=w), count),
        *gpu.with_torch(torch_runners),
        *limits.read(gpu, X),
    ]
    return Entry(runners, gpu.held_against(descent(gpu, X, y, LEARNING_RATE, count)), X.nbytes)


def descent(gpu: Gpu, X: Any, y: Any, learning_rate: float, count: int) -> Any:
    """Where steps of gradient descent from zero lead, taken on the Gram matrix in float64."""
    gram, along = (gpu.cupy.zeros(shape, np.float64) for shape in ((X.shape[1],) * 2, X.shape[1:]))
    for part, target in gpu.wide_rows(X, y):
        gram += part.T @ part
        along += part.T @ target
    w = gpu.cupy.zeros(X.shape[1], np.float64)
    for _ in range(count):
        w -= learning_rate / len(X) * (gram @ w - along)
    return w


def _problem(gpu: Gpu, n: int, d: int, dtype: str) -> tuple[Any, Any, Any]:
    X, y, w = (gpu.normal(*shape, dtype=dtype, seed=i) for i, shape in enumerate([(n, d), (n,), (d,)]))
    return X, y, w


def _pair(X: Any, y: Any, w: Any) -> Any:
    """The gradient as everyone writes it; for CuPy and torch alike."""
    return X.T @ (X @ w - y) / len(y)


def _pair_of_half(X: Any, y: Any, w: Any) -> Any:
    """The division is split, since the sum leaves float16's range and the residuals divided by n do too."""
    root = float(len(y)) ** 0.5
    return X.T @ ((X @ w - y) / root) / root


def _each(call: Callable[[Any], Any], inputs: list[Any]) -> Iterator[Callable[[], Any]]:
    return (partial(call, one) for one in inputs)


def _one_by_one(by_set: list[list[Runner]]) -> list[Runner]:
    """The same limit on several inputs, as one runner."""
    return [
        Runner(same[0].name, same[0].call, None, others=tuple(one.call for one in same[1:]))
        for same in zip(*by_set, strict=True)
    ]


def _shared(runner: Runner, count: int) -> Runner:
    """A call does so many times the row's work."""
    return Runner(runner.name, runner.call, runner.result, float(count), out=runner.out)


def _expected(gpu: Gpu, X: Any, y: Any, W: Any) -> Any:
    total = gpu.cupy.zeros(W.shape, np.float64)
    wide = W.astype(np.float64)
    for part, target in gpu.wide_rows(X, y):
        total += part.T @ (part @ wide - target[:, None])
    return total / len(X)
