"""Rows of products: cross and batched outer."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import vecprod_gpu as vp

from ..peers import Peers
from ..row import Entry
from ..runner import Runner
from . import limits
from .limits import Array


def cross(peers: Peers, count: int, given_out: bool = False) -> Entry:
    """Cross products of `count` pairs."""
    a, b = _vectors((count, 3), (count, 3))
    return _crosses(peers, [a, b], _as_they_are, given_out, limits.triad(a, b) if given_out else [])


def cross_strided(peers: Peers, count: int) -> Entry:
    """Three of four columns, crossed with every other row; the limit moves all lines that these lie on."""
    arrays = _vectors((count, 4), (2 * count, 3))
    limit = limits.triad(*np.ones((2, (4 + 6 + 3) * count // 3), np.float32))
    return _crosses(peers, arrays, lambda a, b: (a[:, :3], b[::2]), True, limit)


def cross_broadcast(peers: Peers, count: int) -> Entry:
    """Many vectors crossed with one: half the reads, so that a copy is the limit."""
    a, b = _vectors((count, 3), (1, 3))
    return _crosses(peers, [a, b], _as_they_are, True, limits.copy(a))


def _crosses(
    peers: Peers, arrays: list[Array], view: Callable[..., Any], given_out: bool, limit: list[Runner]
) -> Entry:
    """Cross products of views of arrays, which JAX takes within its function, since its arrays have none."""
    a, b = view(*arrays)
    out = np.empty(a.shape, a.dtype) if given_out else None

    def torch_runners(torch: Any) -> Iterator[Runner]:
        ta, tb = torch.broadcast_tensors(*view(*map(torch.from_numpy, arrays)))
        into = {} if out is None else {"out": torch.from_numpy(np.empty_like(out))}
        yield Runner("torch", lambda: torch.linalg.cross(ta, tb, **into))
        yield from peers.compiled(torch, torch.linalg.cross, ta, tb)

    def jax_runners(jax: Any) -> Iterator[Runner]:
        on_jax = list(map(jax.numpy.asarray, arrays))
        compiled = jax.jit(lambda *arrays: jax.numpy.cross(*view(*arrays)))
        yield Runner("jax", lambda: compiled(*on_jax).block_until_ready())

    def numexpr_runners(numexpr: Any) -> Iterator[Runner]:
        into = np.empty(a.shape, a.dtype)
        parts = {f"{name}{k}": array[:, k] for name, array in (("a", a), ("b", b)) for k in range(3)}

        def by_numexpr() -> Any:
            for k in range(3):
                i, j = (k + 1) % 3, (k + 2) % 3
                numexpr.evaluate(f"a{i} * b{j} - a{j} * b{i}", parts, out=into[:, k])
            return into

        yield Runner("numexpr", by_numexpr)

    runners = [
        Runner("ours", lambda: vp.cross(a, b, out=out), out=out),
        Runner("numpy", lambda: np.cross(a, b)),
        *peers.torch(torch_runners),
        *peers.jax(jax_runners),
        *peers.numexpr(numexpr_runners),
        *limit,
    ]
    return Entry(
        runners, np.cross(a.astype(np.float64), b.astype(np.float64)), a.nbytes + b.nbytes + a.nbytes
    )


def _vectors(*shapes: tuple[int, int]) -> list[Array]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def _as_they_are(*arrays: Any) -> tuple[Any, ...]:
    return arrays


def batched_outer(peers: Peers, batch: int, length: int, given_out: bool = False) -> Entry:
    """Outer products of a batch of pairs; the limit fills as many bytes as move."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, batch, length), dtype=np.float32)
    out = np.empty((batch, length, length), np.float32) if given_out else None
    numpy_out = None if out is None else np.empty_like(out)

    def torch_runners(torch: Any) -> Iterator[Runner]:
        ta, tb = torch.from_numpy(a)[:, :, None], torch.from_numpy(b)[:, None, :]
        into = {} if out is None else {"out": torch.from_numpy(np.empty_like(out))}
        yield Runner("torch", lambda: torch.mul(ta, tb, **into))
        yield Runner("torch.bmm", lambda: torch.bmm(ta, tb, **into))
        yield from peers.compiled(torch, torch.mul, ta, tb)

    def jax_runners(jax: Any) -> Iterator[Runner]:
        ja, jb = jax.numpy.asarray(a), jax.numpy.asarray(b)
        compiled = jax.jit(lambda a, b: a[:, :, None] * b[:, None, :])
        yield Runner("jax", lambda: compiled(ja, jb).block_until_ready())

    def numexpr_runners(numexpr: Any) -> Iterator[Runner]:
        into = np.empty((batch, length, length), np.float32)
        factors = {"a": a[:, :, None], "b": b[:, None, :]}
        yield Runner("numexpr", lambda: numexpr.evaluate("a * b", factors, out=into), out=into)

    runners = [
        Runner("ours", lambda: vp.batched_outer(a, b, out=out), out=out),
        Runner("numpy", lambda: np.multiply(a[:, :, None], b[:, None, :], out=numpy_out)),
        *peers.torch(torch_runners),
        *peers.jax(jax_runners),
        *peers.numexpr(numexpr_runners),
    ]
    moved = a.nbytes + b.nbytes + a.nbytes * length
    if out is not None:
        runners += limits.fill((moved // a.itemsize,))
    return Entry(runners, a[:, :, None].astype(np.float64) * b[:, None, :], moved)
