"""What is raced: each row makes its data, its expected result in float64, and its runners."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import vecprod_gpu as vp

from . import limits
from .peers import load
from .race import Race, Runner, run

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Row:
    """One line of the benchmark.

    Attributes
    ----------
    name : str
        What is raced.
    make : callable
        Gives the runners and the expected result; called when the row's turn comes, so that only one
        row's data are in memory.
    tolerance : float
        See `race.run`.
    """

    name: str
    make: "Callable[[Peers], tuple[list[Runner], Array]]"
    tolerance: float

    def race(self, turns: int) -> Race:
        """Run the row."""
        peers = Peers()
        runners, expected = self.make(peers)
        return run(self.name, runners, expected, tolerance=self.tolerance, turns=turns, missing=peers.missing)


@dataclass
class Peers:
    """The peers' modules, and why some are missing."""

    missing: dict[str, str] = field(default_factory=dict)

    def torch(self, make: Callable[[Any], Iterator[Runner]]) -> list[Runner]:
        """Runners that need torch."""
        return self._with("torch", make)

    def jax(self, make: Callable[[Any], Iterator[Runner]]) -> list[Runner]:
        """Runners that need JAX."""
        return self._with("jax", make)

    def _with(self, name: str, make: Callable[[Any], Iterator[Runner]]) -> list[Runner]:
        module, why = load(name)
        if module is None:
            self.missing[name] = why
            return []
        return list(make(module))


def rows() -> list[Row]:
    """Every row, small calls first."""
    return [
        Row("cross, 8 vectors, float32", lambda peers: _cross(peers, 8), 1e-6),
        Row("cross, 1,000 vectors, float32", lambda peers: _cross(peers, 1000), 1e-6),
        Row("cross, 5,000,000 vectors, float32", lambda peers: _cross(peers, 5_000_000), 1e-6),
        Row("cross, 5,000,000 vectors, float32, out=", lambda peers: _cross(peers, 5_000_000, True), 1e-6),
        Row("batched outer, 1 x 8 x 8, float32", lambda peers: _outer(peers, 1, 8), 1e-6),
        Row("batched outer, 100,000 x 8 x 8, float32", lambda peers: _outer(peers, 100_000, 8), 1e-6),
        Row("batched outer, 10,000 x 64 x 64, float32", lambda peers: _outer(peers, 10_000, 64), 1e-6),
        Row(
            "batched outer, 10,000 x 64 x 64, float32, out=",
            lambda peers: _outer(peers, 10_000, 64, True),
            1e-6,
        ),
        Row("gradient, 4,000,000 x 16, float32", lambda peers: _gradient(peers, 4_000_000, 16), 1e-4),
        Row("gradient, 2,000,000 x 64, float32", lambda peers: _gradient(peers, 2_000_000, 64), 1e-4),
        Row("gradient, 200,000 x 512, float32", lambda peers: _gradient(peers, 200_000, 512), 1e-4),
        Row("gradient, 30,000 x 4,096, float32", lambda peers: _gradient(peers, 30_000, 4096), 1e-4),
    ]


def _cross(peers: Peers, count: int, given_out: bool = False) -> tuple[list[Runner], Array]:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, count, 3), dtype=np.float32)
    out = np.empty_like(a) if given_out else None

    def torch_runners(torch: Any) -> Iterator[Runner]:
        ta, tb = torch.from_numpy(a), torch.from_numpy(b)
        into = {} if out is None else {"out": torch.from_numpy(np.empty_like(a))}
        yield Runner("torch", lambda: torch.linalg.cross(ta, tb, **into))

    def jax_runners(jax: Any) -> Iterator[Runner]:
        ja, jb = jax.numpy.asarray(a), jax.numpy.asarray(b)
        compiled = jax.jit(jax.numpy.cross)
        yield Runner("jax", lambda: compiled(ja, jb).block_until_ready())

    runners = [
        Runner("ours", lambda: vp.cross(a, b, out=out)),
        Runner("numpy", lambda: np.cross(a, b)),
        *peers.torch(torch_runners),
        *peers.jax(jax_runners),
    ]
    if given_out:
        runners += limits.triad(a, b)
    return runners, np.cross(a.astype(np.float64), b.astype(np.float64))


def _outer(peers: Peers, batch: int, length: int, given_out: bool = False) -> tuple[list[Runner], Array]:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, batch, length), dtype=np.float32)
    out = np.empty((batch, length, length), np.float32) if given_out else None
    numpy_out = None if out is None else np.empty_like(out)

    def torch_runners(torch: Any) -> Iterator[Runner]:
        ta, tb = torch.from_numpy(a)[:, :, None], torch.from_numpy(b)[:, None, :]
        into = {} if out is None else {"out": torch.from_numpy(np.empty_like(out))}
        yield Runner("torch", lambda: torch.mul(ta, tb, **into))
        yield Runner("torch.bmm", lambda: torch.bmm(ta, tb, **into))

    def jax_runners(jax: Any) -> Iterator[Runner]:
        ja, jb = jax.numpy.asarray(a), jax.numpy.asarray(b)
        compiled = jax.jit(lambda a, b: a[:, :, None] * b[:, None, :])
        yield Runner("jax", lambda: compiled(ja, jb).block_until_ready())

    runners = [
        Runner("ours", lambda: vp.batched_outer(a, b, out=out)),
        Runner("numpy", lambda: np.multiply(a[:, :, None], b[:, None, :], out=numpy_out)),
        *peers.torch(torch_runners),
        *peers.jax(jax_runners),
    ]
    if out is not None:
        runners += limits.fill(out.shape)
    return runners, a[:, :, None].astype(np.float64) * b[:, None, :]


def _gradient(peers: Peers, n: int, d: int) -> tuple[list[Runner], Array]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), dtype=np.float32)
    y = rng.standard_normal(n, dtype=np.float32)
    w = rng.standard_normal(d, dtype=np.float32)

    def torch_runners(torch: Any) -> Iterator[Runner]:
        tX, ty, tw = map(torch.from_numpy, (X, y, w))
        yield Runner("torch", lambda: tX.T @ (tX @ tw - ty) / n)

    def jax_runners(jax: Any) -> Iterator[Runner]:
        jX, jy, jw = map(jax.numpy.asarray, (X, y, w))
        compiled = jax.jit(lambda X, y, w: X.T @ (X @ w - y) / n)
        yield Runner("jax", lambda: compiled(jX, jy, jw).block_until_ready())

    runners = [
        Runner("ours", lambda: vp.linreg_gradient(X, y, w)),
        Runner("numpy", lambda: X.T @ (X @ w - y) / n),
        *peers.torch(torch_runners),
        *peers.jax(jax_runners),
        *limits.read(X),
    ]
    return runners, _gradient_in_float64(X, y, w)


def _gradient_in_float64(X: Array, y: Array, w: Array) -> Array:
    """By slices of rows, since a copy of X in float64 would not always fit."""
    total = np.zeros(X.shape[1])
    for start in range(0, len(X), 100_000):
        part = X[start : start + 100_000].astype(np.float64)
        total += part.T @ (part @ w.astype(np.float64) - y[start : start + 100_000])
    return total / len(X)
