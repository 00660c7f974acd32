"""Rows of linear regression: the gradient at one point."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import vecprod_gpu as vp

from ..peers import Peers
from ..row import Entry
from ..runner import Runner
from . import limits
from .limits import Array


def gradient(peers: Peers, n: int, d: int) -> Entry:
    """One gradient of n rows and d columns."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), dtype=np.float32)
    y = rng.standard_normal(n, dtype=np.float32)
    w = rng.standard_normal(d, dtype=np.float32)

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tX, ty, tw = map(torch.from_numpy, (X, y, w))
        residual, into = torch.empty_like(ty), torch.empty_like(tw)

        def pair(X: Any, y: Any, w: Any) -> Any:
            return X.T @ (X @ w - y) / n

        def preallocated() -> Any:
            torch.addmv(ty, tX, tw, beta=-1, out=residual)
            return torch.mv(tX.T, residual, out=into).div_(n)

        yield Runner("torch", lambda: pair(tX, ty, tw))
        yield Runner("torch, out=", preallocated)
        yield from peers.compiled(torch, pair, tX, ty, tw)

    def jax_runners(jax: Any) -> Iterator[Runner]:
        jX, jy, jw = map(jax.numpy.asarray, (X, y, w))
        compiled = jax.jit(lambda X, y, w: X.T @ (X @ w - y) / n)
        yield Runner("jax", lambda: compiled(jX, jy, jw).block_until_ready())

    residual, into = np.empty_like(y), np.empty_like(w)

    def preallocated() -> Array:
        np.matmul(X, w, out=residual)
        np.subtract(residual, y, out=residual)
        np.matmul(X.T, residual, out=into)
        return np.divide(into, n, out=into)

    out = np.empty_like(w)
    runners = [
        Runner("ours", lambda: vp.linreg_gradient(X, y, w, out=out), out=out),
        Runner("numpy", lambda: X.T @ (X @ w - y) / n),
        Runner("numpy, out=", preallocated),
        *peers.torch(torch_runners),
        *peers.jax(jax_runners),
        *limits.read(X),
    ]
    return Entry(runners, _gradient_in_float64(X, y, w), X.nbytes)


def _gradient_in_float64(X: Array, y: Array, w: Array) -> Array:
    """By slices of rows, since a copy of X in float64 would not always fit."""
    total = np.zeros(X.shape[1])
    for start in range(0, len(X), 100_000):
        part = X[start : start + 100_000].astype(np.float64)
        total += part.T @ (part @ w.astype(np.float64) - y[start : start + 100_000])
    return total / len(X)
