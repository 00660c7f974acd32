"""What the machine itself can do, measured in the same run: the fastest of several ways counts.

The ways are parallel loops of our own over the memory alone, and torch's where it is installed.
"""

from typing import Any

import numba
import numpy as np

from vecprod_gpu.backends._streaming import publish, stream_scaled_row
from vecprod_gpu.backends._threads import for_each_block

from ..peers import load
from ..runner import LIMIT, Runner

Array = np.ndarray[Any, Any]

BLOCK = 1 << 20  # elements


def fill(shape: tuple[int, ...]) -> list[Runner]:
    """Write an array of float32: by ordinary stores, past the cache, and by torch."""
    out = np.empty(shape, np.float32).reshape(-1)
    rows = out.reshape(-1, 1024) if out.size % 1024 == 0 else out.reshape(1, -1)
    ones = np.ones(rows.shape[1], np.float32)
    block = max(1, BLOCK // rows.shape[1])

    def stream(start: int, stop: int) -> None:
        _stream_rows(rows[start:stop], ones)
        publish()

    runners = [
        _limit("fill", lambda: for_each_block(lambda i, j: out[i:j].fill(1), out.size, BLOCK)),
        _limit("streamed fill", lambda: for_each_block(stream, len(rows), block)),
    ]
    torch, _ = load("torch")
    if torch is not None:
        tensor = torch.from_numpy(np.empty(shape, np.float32))
        runners.append(_limit("torch fill", lambda: tensor.fill_(1.0)))
    return runners


def triad(a: Array, b: Array) -> list[Runner]:
    """Read two arrays and write one: ``out = a + b``."""
    x, y, out = a.reshape(-1), b.reshape(-1), np.empty(a.size, a.dtype)

    def add(start: int, stop: int) -> None:
        np.add(x[start:stop], y[start:stop], out=out[start:stop])

    runners = [_limit("triad", lambda: for_each_block(add, out.size, BLOCK))]
    torch, _ = load("torch")
    if torch is not None:
        tx, ty, tout = map(torch.from_numpy, (x, y, np.empty_like(out)))
        runners.append(_limit("torch triad", lambda: torch.add(tx, ty, out=tout)))
    return runners


def read(X: Array) -> list[Runner]:
    """Read an array: a sum of all its elements."""
    flat = X.reshape(-1)
    runners = [
        _limit("read", lambda: for_each_block(lambda i, j: _sum(flat[i:j]), flat.size, BLOCK)),
    ]
    torch, _ = load("torch")
    if torch is not None:
        tensor = torch.from_numpy(X)
        runners.append(_limit("torch read", tensor.sum))
    return runners


def _limit(name: str, call: Any) -> Runner:
    return Runner(LIMIT + name, call, result=None)


@numba.njit(nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _sum(values: Array) -> Any:
    total = values.dtype.type(0)
    for value in values:
        total += value
    return total


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _stream_rows(rows: Array, values: Array) -> None:
    for i in range(rows.shape[0]):
        stream_scaled_row(rows, i, values.dtype.type(1), values)
