"""Rows of products: cross and batched outer."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import vecprod_gpu as vp

from ..peers import Peers
from ..row import Entry
from ..runner import Runner
from . import limits
from .limits import Array, outputs


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
    outs = outputs(a.shape) if given_out else [None]

    def torch_runners(torch: Any) -> Iterator[Runner]:
        ta, tb = torch.broadcast_tensors(*view(*map(torch.from_numpy, arrays)))
        into = _tensors(torch, outs)
        yield Runner.writing("torch", lambda out: torch.linalg.cross(ta, tb, out=out), into)
        yield from peers.compiled(torch, torch.linalg.cross, ta, tb)

    def jax_runners(jax: Any) -> Iterator[Runner]:
        on_jax = list(map(jax.numpy.asarray, arrays))
        compiled = jax.jit(lambda *arrays: jax.numpy.cross(*view(*arrays)))
        yield Runner("jax", lambda: compiled(*on_jax).block_until_ready())

    def numexpr_runners(numexpr: Any) -> Iterator[Runner]:
        parts = {f"{name}{k}": array[:, k] for name, array in (("a", a), ("b", b)) for k in range(3)}

        def by_numexpr(out: Array) -> Array:
            for k in range(3):
                i, j = (k + 1) % 3, (k + 2) % 3
                numexpr.evaluate(f"a{i} * b{j} - a{j} * b{i}", parts, out=out[:, k])
            return out

        yield Runner.writing("numexpr", by_numexpr, outs if given_out else [np.empty(a.shape, a.dtype)])

    runners = [
        Runner.writing("ours", lambda out: vp.cross(a, b, out=out), outs),
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
    shape = batch, length, length
    outs = outputs(shape) if given_out else [None]

    def torch_runners(torch: Any) -> Iterator[Runner]:
        ta, tb = torch.from_numpy(a)[:, :, None], torch.from_numpy(b)[:, None, :]
        into = _tensors(torch, outs)
        yield Runner.writing("torch", lambda out: torch.mul(ta, tb, out=out), into)
        yield Runner.writing("torch.bmm", lambda out: torch.bmm(ta, tb, out=out), into)
        yield from peers.compiled(torch, torch.mul, ta, tb)

    def jax_runners(jax: Any) -> Iterator[Runner]:
        ja, jb = jax.numpy.asarray(a), jax.numpy.asarray(b)
        compiled = jax.jit(lambda a, b: a[:, :, None] * b[:, None, :])
        yield Runner("jax", lambda: compiled(ja, jb).block_until_ready())

    def numexpr_runners(numexpr: Any) -> Iterator[Runner]:
        factors = {"a": a[:, :, None], "b": b[:, None, :]}
        into = outs if given_out else [np.empty(shape, np.float32)]
        yield Runner.writing("numexpr", lambda out: numexpr.evaluate("a * b", factors, out=out), into)

    runners = [
        Runner.writing("ours", lambda out: vp.batched_outer(a, b, out=out), outs),
        Runner.writing("numpy", lambda out: np.multiply(a[:, :, None], b[:, None, :], out=out), outs),
        *peers.torch(torch_runners),
        *peers.jax(jax_runners),
        *peers.numexpr(numexpr_runners),
    ]
    moved = a.nbytes + b.nbytes + a.nbytes * length
    if given_out:
        runners += limits.fill(moved // a.itemsize)
    return Entry(runners, a[:, :, None].astype(np.float64) * b[:, None, :], moved)


def _tensors(torch: Any, outs: Sequence[Array | None]) -> list[Any]:
    """Torch's views of the outputs, if there are any."""
    return [None if out is None else torch.from_numpy(out) for out in outs]
