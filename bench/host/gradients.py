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
    X, y, w = _numbers((n, d), (n,), (d,))
    out = np.empty_like(w)
    runners = [
        Runner("ours", lambda: vp.linreg_gradient(X, y, w, out=out), out=out),
        *_two_products(peers, X, y, w),
        *limits.read(X),
    ]
    return Entry(runners, _gradient_in_float64(X, y, w), X.nbytes)


def models(peers: Peers, n: int, d: int, count: int) -> Entry:
    """Gradients of several models that share X and y, in one read."""
    X, y, W = _numbers((n, d), (n,), (d, count))
    out = np.empty_like(W)
    alone = np.ascontiguousarray(W.T)
    alone_out = np.empty_like(alone)

    def one_by_one() -> Array:
        for w, into in zip(alone, alone_out, strict=True):
            vp.linreg_gradient(X, y, w, out=into)
        return alone_out.T

    runners = [
        Runner("ours", lambda: vp.linreg_gradient(X, y, W, out=out), out=out),
        Runner("ours, one model", lambda: vp.linreg_gradient(X, y, alone[0], out=alone_out[0]), None),
        Runner("ours, one by one", one_by_one, out=alone_out),
        *_two_products(peers, X, y[:, None], W),
        *limits.read(X),
    ]
    return Entry(runners, _gradient_in_float64(X, y[:, None], W), X.nbytes)


def _two_products(peers: Peers, X: Array, y: Array, w: Array) -> list[Runner]:
    """The gradient as everyone writes it, of one model or of several."""
    n = len(X)

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tX, ty, tw = map(torch.from_numpy, (X, y, w))
        residual, into = tX @ tw, torch.empty_like(tw)
        product_and_sum = torch.addmv if w.ndim == 1 else torch.addmm

        def pair(X: Any, y: Any, w: Any) -> Any:
            return X.T @ (X @ w - y) / n

        def preallocated() -> Any:
            product_and_sum(ty, tX, tw, beta=-1, out=residual)
            return torch.matmul(tX.T, residual, out=into).div_(n)

        yield Runner("torch", lambda: pair(tX, ty, tw))
        yield Runner("torch, out=", preallocated)
        yield from peers.compiled(torch, pair, tX, ty, tw)

    def jax_runners(jax: Any) -> Iterator[Runner]:
        jX, jy, jw = map(jax.numpy.asarray, (X, y, w))
        compiled = jax.jit(lambda X, y, w: X.T @ (X @ w - y) / n)
        yield Runner("jax", lambda: compiled(jX, jy, jw).block_until_ready())

    residual, into = X @ w, np.empty_like(w)

    def preallocated() -> Array:
        np.matmul(X, w, out=residual)
        np.subtract(residual, y, out=residual)
        np.matmul(X.T, residual, out=into)
        return np.divide(into, n, out=into)

    return [
        Runner("numpy", lambda: X.T @ (X @ w - y) / n),
        Runner("numpy, out=", preallocated),
        *peers.torch(torch_runners),
        *peers.jax(jax_runners),
    ]


def _numbers(*shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def _gradient_in_float64(X: Array, y: Array, w: Array) -> Array:
    """By slices of rows, since a copy of X in float64 would not always fit."""
    total = np.zeros(w.shape)
    for start in range(0, len(X), 100_000):
        part = X[start : start + 100_000].astype(np.float64)
        total += part.T @ (part @ w.astype(np.float64) - y[start : start + 100_000])
    return total / len(X)
