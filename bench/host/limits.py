"""What the machine itself can do, measured in the same run: the fastest of several ways counts.

The ways are parallel loops of our own over the memory alone, and torch's where it is installed.
"""

from typing import Any

import numpy as np

from vecprod_gpu.backends._numba import compiled
from vecprod_gpu.backends._outers import stream_outer_rows, write_outer_rows
from vecprod_gpu.backends._streaming import STREAM_BYTES, publish
from vecprod_gpu.backends._threads import for_each_block

from ..peers import load
from ..runner import LIMIT, Runner

Array = np.ndarray[Any, Any]

BLOCK = 1 << 20  # elements
STREAMED = 1024  # elements of a row that is written past the cache


def fill(shape: tuple[int, ...]) -> list[Runner]:
    """Write an array of float32: by ordinary stores, asked for ahead or not, past the cache, and by torch."""
    out = np.empty(shape, np.float32).reshape(-1)
    rows = _in_rows(out)
    ones = np.ones((1, rows.shape[1]), np.float32)

    def stream(start: int, stop: int) -> None:
        _stream_rows(rows[np.newaxis, start:stop], np.ones((1, stop - start), np.float32), ones)
        publish()

    def write_ahead(start: int, stop: int) -> None:
        _write_rows(rows[np.newaxis, start:stop], np.ones((1, stop - start), np.float32), ones)

    block = max(1, BLOCK // rows.shape[1])
    runners = [
        _limit("fill", lambda: for_each_block(lambda i, j: out[i:j].fill(1), out.size, BLOCK)),
        _limit("streamed fill", lambda: for_each_block(stream, len(rows), block)),
        _limit("fill, asked ahead", lambda: for_each_block(write_ahead, len(rows), block)),
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


def copy(a: Array) -> list[Runner]:
    """Read an array and write another: by ordinary stores, past the cache, and by torch."""
    x, out = a.reshape(-1), np.empty(a.size, a.dtype)

    def write(start: int, stop: int) -> None:
        out[start:stop] = x[start:stop]

    source, target = _in_rows(x), _in_rows(out)

    def stream(start: int, stop: int) -> None:
        ones = np.ones((stop - start, 1), a.dtype)
        _stream_rows(target[start:stop, np.newaxis], ones, source[start:stop])
        publish()

    runners = [
        _limit("copy", lambda: for_each_block(write, out.size, BLOCK)),
        _limit(
            "streamed copy", lambda: for_each_block(stream, len(source), max(1, BLOCK // source.shape[1]))
        ),
    ]
    torch, _ = load("torch")
    if torch is not None:
        tx, tout = map(torch.from_numpy, (x, np.empty_like(out)))
        runners.append(_limit("torch copy", lambda: tout.copy_(tx)))
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


def _in_rows(flat: Array) -> Array:
    """An array in rows of STREAMED elements, or one of all that fill 16 bytes; the rest is left out."""
    width = min(STREAMED, flat.nbytes // STREAM_BYTES * (STREAM_BYTES // flat.itemsize)) or STREAMED
    return flat[: flat.size - flat.size % width].reshape(-1, width)


def _limit(name: str, call: Any) -> Runner:
    return Runner(LIMIT + name, call, result=None)


@compiled(fastmath=True)
def _sum(values: Array) -> Any:
    total = values.dtype.type(0)
    for value in values:
        total += value
    return total


@compiled()
def _stream_rows(out: Array, a: Array, b: Array) -> None:
    stream_outer_rows(out, a, b, 0)


@compiled()
def _write_rows(out: Array, a: Array, b: Array) -> None:
    write_outer_rows(out, a, b, 0)
