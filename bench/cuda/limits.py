"""What the memory of the GPU can do, measured in the same run: the fastest of several ways counts."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..runner import LIMIT, Runner
from .gpu import Gpu

THREADS = 256
MOST_BLOCKS = 2**31 - 1
CHUNK = 16  # bytes
READING_BLOCKS = (528, 8448)  # 4 and 64 for each of 132 multiprocessors


def fill(gpu: Gpu, out: Any) -> list[Runner]:
    """Write an array: by the driver, and 16 bytes a thread."""
    runtime, stream = gpu.cupy.cuda.runtime, gpu.cupy.cuda.get_current_stream()
    return [
        _limit("memset", lambda: runtime.memsetAsync(out.data.ptr, 0, out.nbytes, stream.ptr)),
        _kernel(gpu, "fill", "limit_fill", (out,), out.nbytes),
    ]


def spread(gpu: Gpu, source: Any, out: Any) -> Runner:
    """Write an array and read another one on the way: memory that turns from one to the other loses by it."""
    writes = np.int64(max(1, out.nbytes // source.nbytes))
    nbytes = int(min(out.nbytes, writes * source.nbytes))
    return _limit("fill that reads", _launch(gpu, "limit_spread", (source, out), nbytes, MOST_BLOCKS, writes))


def copy(gpu: Gpu, source: Any, out: Any) -> list[Runner]:
    """Read an array and write as much."""
    return [
        _kernel(gpu, "copy", "limit_copy", (source, out), out.nbytes),
        _limit("cupy copy", lambda: gpu.cupy.copyto(out, source)),
    ]


def triad(gpu: Gpu, a: Any, b: Any, out: Any, sets: int = 1) -> list[Runner]:
    """Read two float32 arrays and write one: ``out = a + b``."""
    a, b, out = (_flat(array) for array in (a, b, out))
    per_set = out.size // sets
    parts = [[array[i * per_set : (i + 1) * per_set] for array in (a, b, out)] for i in range(sets)]
    kernel = [_launch(gpu, "limit_triad", part, part[0].nbytes) for part in parts]

    def torch_runners(torch: Any) -> Any:
        tensors = [list(map(gpu.tensor, part)) for part in parts]
        yield _limit("torch add", *(partial(torch.add, x, y, out=into) for x, y, into in tensors))

    return [_limit("triad", *kernel), *gpu.with_torch(torch_runners)]


def read(gpu: Gpu, *arrays: Any) -> list[Runner]:
    """Read arrays: a sum of all that is in them, by 16 bytes and by torch."""
    never = gpu.cupy.zeros(1, np.uint32)
    runners = []
    for blocks in READING_BLOCKS:
        launches = [_launch(gpu, "limit_read", (array,), array.nbytes, blocks, never) for array in arrays]
        runners.append(_limit(f"read, {blocks} blocks", _all(launches)))

    def torch_runners(torch: Any) -> Any:
        tensors = list(map(gpu.tensor, arrays))
        total = torch.empty((), dtype=tensors[0].dtype, device=tensors[0].device)
        sums = [partial(torch.sum, tensor.view(-1), 0, out=total) for tensor in tensors]
        yield _limit("torch sum", _all(sums))

    return runners + gpu.with_torch(torch_runners)


def _limit(name: str, *calls: Callable[[], Any]) -> Runner:
    return Runner(LIMIT + name, calls[0], None, others=tuple(calls[1:]))


def _kernel(gpu: Gpu, name: str, kernel: str, arrays: Any, nbytes: int) -> Runner:
    return _limit(name, _launch(gpu, kernel, arrays, nbytes))


def _launch(
    gpu: Gpu, name: str, arrays: Any, nbytes: int, most_blocks: int = MOST_BLOCKS, *last: Any
) -> Callable[[], None]:
    """A launch over whole chunks, of one thread for each up to so many blocks."""
    chunks = nbytes // CHUNK
    kernel = gpu.limits(name)
    grid = (max(1, min(math.ceil(chunks / THREADS), most_blocks)),)
    counts = (np.int64(chunks),)
    args = (*arrays, *counts, *last)
    return lambda: kernel(grid, (THREADS,), args)


def _all(calls: Sequence[Callable[[], Any]]) -> Callable[[], None]:
    def call() -> None:
        for one in calls:
            one()

    return call


def _flat(array: Any) -> Any:
    return array.reshape(-1)
