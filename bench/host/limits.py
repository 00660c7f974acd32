"""What the machine itself can do, measured in the same run: the fastest of several ways counts.

The ways are parallel loops of our own over the memory alone, and torch's where it is installed.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vecprod_gpu.backends._cpu import llvm
from vecprod_gpu.backends._cpu.compiling import compiled
from vecprod_gpu.backends._cpu.products.outers import stream_outer_rows, write_outer_rows
from vecprod_gpu.backends._cpu.products.streaming import STREAM_BYTES, past_cache, publish
from vecprod_gpu.backends._cpu.threads.pools import for_each_block

from ..peers import load
from ..runner import LIMIT, Runner

Array = np.ndarray[Any, Any]

BLOCK = 1 << 20  # elements
OUTPUTS = 2  # of a runner, each larger than the caches
STREAMED = 1024  # elements of a row that is written past the cache
SUMS = 16  # elements that are added at once


def outputs(shape: tuple[int, ...], dtype: Any = np.float32) -> list[Array]:
    """Arrays that are written in turn: what the last cache still holds is of another one."""
    return [np.empty(shape, dtype) for _ in range(OUTPUTS)]


def fill(count: int) -> list[Runner]:
    """Write so many float32: by ordinary stores, asked for ahead or not, past the cache, and by torch."""

    def write(out: Array) -> None:
        for_each_block(lambda start, stop: out[start:stop].fill(1), out.size, BLOCK)

    def by_rows(write_rows: Callable[..., None], out: Array) -> None:
        rows = _in_rows(out)
        ones = np.ones((1, rows.shape[1]), np.float32)

        def part(start: int, stop: int) -> None:
            write_rows(rows[np.newaxis, start:stop], np.ones((1, stop - start), np.float32), ones)

        for_each_block(part, len(rows), max(1, BLOCK // rows.shape[1]))

    ways: dict[str, Callable[[Array], object]] = {
        "fill": write,
        "streamed fill": partial(by_rows, _stream_rows),
        "fill, asked ahead": partial(by_rows, _write_rows),
    }
    torch, _ = load("torch")
    if torch is not None:
        ways["torch fill"] = lambda out: torch.from_numpy(out).fill_(1.0)
    return _limits(ways, outputs((count,)))


def triad(a: Array, b: Array) -> list[Runner]:
    """Read two arrays and write one, ``out = a + b``: by ordinary stores, past the cache, and by torch."""
    x, y = a.reshape(-1), b.reshape(-1)

    def add(out: Array) -> None:
        def part(start: int, stop: int) -> None:
            np.add(x[start:stop], y[start:stop], out=out[start:stop])

        for_each_block(part, out.size, BLOCK)

    def stream(out: Array) -> None:
        count = out.size - out.size % SUMS  # the rest is left out
        for_each_block(
            lambda start, stop: _stream_sums(out[start:stop], x[start:stop], y[start:stop]), count, BLOCK
        )

    ways = {"triad": add, "streamed triad": stream}
    torch, _ = load("torch")
    if torch is not None:
        tx, ty = map(torch.from_numpy, (x, y))
        ways["torch triad"] = lambda out: torch.add(tx, ty, out=torch.from_numpy(out))
    return _limits(ways, outputs(x.shape, x.dtype))


def copy(a: Array) -> list[Runner]:
    """Read an array and write another: by ordinary stores, past the cache, and by torch."""
    x = a.reshape(-1)

    def write(out: Array) -> None:
        def part(start: int, stop: int) -> None:
            out[start:stop] = x[start:stop]

        for_each_block(part, out.size, BLOCK)

    def stream(out: Array) -> None:
        source, target = _in_rows(x), _in_rows(out)

        def part(start: int, stop: int) -> None:
            ones = np.ones((stop - start, 1), a.dtype)
            _stream_rows(target[start:stop, np.newaxis], ones, source[start:stop])

        for_each_block(part, len(source), max(1, BLOCK // source.shape[1]))

    ways = {"copy": write, "streamed copy": stream}
    torch, _ = load("torch")
    if torch is not None:
        tx = torch.from_numpy(x)
        ways["torch copy"] = lambda out: torch.from_numpy(out).copy_(tx)
    return _limits(ways, outputs(x.shape, x.dtype))


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


def _limits(ways: Mapping[str, Callable[[Array], object]], outs: list[Array]) -> list[Runner]:
    """A runner for each way to write."""
    return [replace(Runner.writing(LIMIT + name, write, outs), result=None) for name, write in ways.items()]


def _limit(name: str, call: Callable[[], object]) -> Runner:
    return Runner(LIMIT + name, call, result=None)


@compiled(fastmath=True)
def _sum(values: Array) -> Any:
    total = values.dtype.type(0)
    for value in values:
        total += value
    return total


@intrinsic
def _write_sums(typing_context: Any, out: Any, x: Any, y: Any) -> Any:
    """``out = x + y`` past the cache, of as many elements as are whole vectors."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = llvm.unpacked(context, builder, signature, arguments)
        vector = ir.VectorType(context.get_data_type(out.dtype), SUMS)
        (length,) = cgutils.unpack_tuple(builder, arrays[0].shape)
        with cgutils.for_range(builder, builder.udiv(length, length.type(SUMS))) as loop:
            offset = builder.mul(loop.index, length.type(llvm.bytes_of(vector)))
            values = [llvm.load(builder, vector, array.data, offset) for array in arrays[1:]]
            past_cache(builder, builder.fadd(*values), arrays[0].data, offset)
        return context.get_dummy_value()

    return types.void(out, x, y), generate


@compiled()
def _stream_sums(out: Array, x: Array, y: Array) -> None:
    _write_sums(out, x, y)
    publish()


@compiled()
def _stream_rows(out: Array, a: Array, b: Array) -> None:
    stream_outer_rows(out, a, b, 0)
    publish()


@compiled()
def _write_rows(out: Array, a: Array, b: Array) -> None:
    write_outer_rows(out, a, b, 0)
