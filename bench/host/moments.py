"""Rows of sums of outer products: Gram matrices and covariances."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import vecprod_gpu as vp

from ..peers import Peers
from ..row import Entry
from ..runner import Runner
from . import limits
from .limits import Array


def gram(peers: Peers, n: int, d: int) -> Entry:
    """``XᵀX``, summed in float32."""
    X = np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tX = torch.from_numpy(X)
        yield Runner("torch", lambda: tX.T @ tX)

    def jax_runners(jax: Any) -> Iterator[Runner]:
        jX = jax.numpy.asarray(X)
        compiled = jax.jit(lambda X: X.T @ X)
        yield Runner("jax", lambda: compiled(jX).block_until_ready())

    runners = [
        Runner("ours", lambda: vp.gram(X)),
        Runner("numpy", lambda: X.T @ X),
        *peers.torch(torch_runners),
        *peers.jax(jax_runners),
        *limits.read(X),
    ]
    return Entry(runners, sum(part.T @ part for part in _wide_parts(X)), X.nbytes)


def cov(peers: Peers, n: int, d: int, in_columns: bool = False) -> Entry:
    """Covariance of d variables; variables lie in memory one after another, unless `in_columns`."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), dtype=np.float32) + np.float32(3)
    m = X.T if in_columns else np.ascontiguousarray(X.T)

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tm = torch.from_numpy(m)
        yield Runner("torch", lambda: torch.cov(tm))

    def jax_runners(jax: Any) -> Iterator[Runner]:
        jm = jax.numpy.asarray(m)
        compiled = jax.jit(jax.numpy.cov)
        yield Runner("jax", lambda: compiled(jm).block_until_ready())

    runners = [
        Runner("ours", lambda: vp.cov(m)),
        Runner("ours, float32", lambda: vp.cov(m, dtype=np.float32)),
        Runner("numpy", lambda: np.cov(m)),
        *peers.torch(torch_runners),
        *peers.jax(jax_runners),
        *limits.read(X),
    ]
    mean = X.mean(axis=0, dtype=np.float64)
    return Entry(runners, sum((part - mean).T @ (part - mean) for part in _wide_parts(X)) / (n - 1), X.nbytes)


def batched_cov(peers: Peers, problems: int, n: int, d: int) -> Entry:
    """Covariances of many small problems, where NumPy's users write a loop."""
    X = np.random.default_rng(0).standard_normal((problems, n, d), dtype=np.float32)
    few = max(1, problems // 10)

    def by_loop() -> Array:
        return np.stack([np.cov(one, rowvar=False) for one in X[:few]])

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tX = torch.from_numpy(X)

        def by_torch() -> Any:
            centred = tX - tX.mean(dim=1, keepdim=True)
            return centred.mT @ centred / (n - 1)

        yield Runner("torch", by_torch)

    def jax_runners(jax: Any) -> Iterator[Runner]:
        jX = jax.numpy.asarray(X)
        compiled = jax.jit(jax.vmap(lambda one: jax.numpy.cov(one, rowvar=False)))
        yield Runner("jax", lambda: compiled(jX).block_until_ready())

    def by_einsum() -> Array:
        centred = X - X.mean(axis=1, keepdims=True)
        product: Array = np.einsum("bni,bnj->bij", centred, centred) / (n - 1)
        return product

    runners = [
        Runner("ours", lambda: vp.batched_cov(X, axis=-2)),
        Runner("numpy, a loop, by a tenth of it", by_loop, None, few / problems),
        Runner("numpy, einsum", by_einsum),
        *peers.torch(torch_runners),
        *peers.jax(jax_runners),
        *limits.read(X),
    ]
    centred = X.astype(np.float64) - X.mean(axis=1, keepdims=True, dtype=np.float64)
    return Entry(runners, np.swapaxes(centred, 1, 2) @ centred / (n - 1), X.nbytes)


def _wide_parts(X: Array) -> Iterator[Array]:
    """Slices of rows in float64, since a copy of all of X would not always fit."""
    for start in range(0, len(X), 100_000):
        yield X[start : start + 100_000].astype(np.float64)
