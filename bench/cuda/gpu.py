"""What the rows of a GPU are given: CuPy, torch on the same stream, data, and checks in float64."""

import gc
import math
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from typing import Any

import numpy as np

from vecprod_gpu import _compile

from ..peers import load
from ..runner import Runner

SLICE_ELEMENTS = 1 << 26  # of a float64 expectation: half a gigabyte at once
MOST_SETS = 64
TIMES_THE_CACHE = 2  # that all inputs of a row are together


@dataclass
class Gpu:
    """The GPU, and the libraries that compute on it.

    Attributes
    ----------
    cupy : module
        CuPy, on whose current stream everything runs.
    torch : module or None
        torch, on the same stream.
    cache_bytes : int
        Size of the second-level cache.
    missing : dict of str to str
        Peers that cannot take part in the row, and why.
    why_no_torch : str
        Where there is none.
    compiles : bool
        Whether torch.compile takes part, which needs seconds for each function.
    """

    cupy: Any
    torch: Any
    cache_bytes: int
    missing: dict[str, str] = field(default_factory=dict)
    why_no_torch: str = ""
    compiles: bool = True

    @classmethod
    @contextmanager
    def start(cls, compiles: bool = True) -> Iterator["Gpu"]:
        """Make a stream current for CuPy and for torch, whose products are to be true float32."""
        import cupy

        torch, why = load("torch")
        if torch is not None and not torch.cuda.is_available():
            torch, why = None, "torch sees no GPU"
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        stream = cupy.cuda.Stream(non_blocking=True)
        with stream, _torch_on(torch, stream.ptr):
            yield cls(cupy, torch, int(properties["l2CacheSize"]), why_no_torch=why, compiles=compiles)
            stream.synchronize()

    # --- Data --------------------------------------------------------------------------------------

    def normal(self, *shape: int, dtype: Any = np.float32, seed: int = 0) -> Any:
        """Standard normal numbers, made on the device."""
        cp = self.cupy
        numbers = cp.asarray(cp.random.default_rng(seed).standard_normal(math.prod(shape), dtype=np.float32))
        return numbers.astype(dtype, copy=False).reshape(shape)

    def sets(self, bytes_each: int) -> int:
        """How many inputs a row rotates over, so that none is still in the cache."""
        return max(1, min(MOST_SETS, math.ceil(TIMES_THE_CACHE * self.cache_bytes / max(bytes_each, 1))))

    # --- Runners -----------------------------------------------------------------------------------

    def runner(self, name: str, *calls: Callable[[], Any], out: Any = None) -> Runner:
        """A runner whose result is an array of CuPy or of torch; each call has inputs of its own."""
        return Runner(name, calls[0], self.array, others=tuple(calls[1:]), out=out)

    def with_torch(self, make: Callable[[Any], Iterator[Runner]]) -> list[Runner]:
        """Runners that need torch."""
        if self.torch is None:
            self.missing["torch"] = self.why_no_torch
            return []
        return list(make(self.torch))

    def tensor(self, array: Any) -> Any:
        """Torch's view of an array."""
        return self.torch.from_dlpack(array)

    def array(self, result: Any) -> Any:
        """CuPy's view of a result."""
        return result if isinstance(result, self.cupy.ndarray) else self.cupy.from_dlpack(result)

    @cached_property
    def limits(self) -> Callable[[str], Any]:
        """Kernels of ``limits.cu`` by name."""
        text = resources.files("vecprod_gpu.bench").joinpath("limits.cu").read_text(encoding="utf-8")
        module = self.cupy.RawModule(code=text, options=_compile.OPTIONS)
        return module.get_function  # type: ignore[no-any-return]

    # --- Checks ------------------------------------------------------------------------------------

    def held_against(self, expected: Any) -> Callable[[Any], float]:
        """A check of small results."""
        return self.held_by_rows(lambda rows: expected, 1, lambda result: result[None])

    def held_by_rows(
        self,
        expected: Callable[[Any], Any],
        count: int,
        as_rows: Callable[[Any], Any] = lambda result: result,
    ) -> Callable[[Any], float]:
        """A check against rows that are computed in float64, so many of them at once as fit.

        ``expected(rows)`` gives the rows with these numbers, a slice.
        """

        def check(result: Any) -> float:
            cp = self.cupy
            table = as_rows(result)
            step = max(1, SLICE_ELEMENTS * len(table) // max(table.size, 1))
            worst, largest = [], []
            for start in range(0, count, step):
                rows = slice(start, min(start + step, count))
                wanted = expected(rows)
                worst.append(float(cp.abs(table[rows].astype(np.float64) - wanted).max()))
                largest.append(float(cp.abs(wanted).max()))
            return max(float("inf") if np.isnan(one) else one for one in worst) / max(largest)

        return check

    def wide_rows(self, *arrays: Any) -> Iterator[Sequence[Any]]:
        """Slices of the rows of arrays in float64, since whole copies would not always fit."""
        step = max(1, SLICE_ELEMENTS * len(arrays[0]) // arrays[0].size)
        for start in range(0, len(arrays[0]), step):
            yield [array[start : start + step].astype(np.float64) for array in arrays]

    # --- The machine -------------------------------------------------------------------------------

    def machine(self) -> dict[str, Any]:
        """The GPU, its driver, and its clocks where the management tool tells them."""
        runtime = self.cupy.cuda.runtime
        properties = runtime.getDeviceProperties(self.cupy.cuda.Device().id)
        return {
            "gpu": properties["name"].decode(),
            "driver": runtime.driverGetVersion(),
            "runtime": runtime.runtimeGetVersion(),
            "multiprocessors": properties["multiProcessorCount"],
            "memory": properties["totalGlobalMem"],
            "cache": self.cache_bytes,
            "clocks": _clocks(),
        }

    def release(self) -> None:
        """Give memory back that neither library still uses, to the other one."""
        gc.collect()  # captured graphs hold memory, and cycles hold them
        if self.torch is not None and self.torch.cuda.is_available():
            self.torch.cuda.empty_cache()
        if hasattr(self.cupy, "get_default_memory_pool"):
            self.cupy.get_default_memory_pool().free_all_blocks()


@contextmanager
def _torch_on(torch: Any, stream: int) -> Iterator[None]:
    """Let torch run on a stream of CuPy's, so that one capture holds the work of both."""
    if torch is None:
        yield
        return
    matmul = torch.backends.cuda.matmul
    before, matmul.allow_tf32 = matmul.allow_tf32, False
    try:
        with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
            yield
    finally:
        matmul.allow_tf32 = before


def _clocks() -> dict[str, str]:
    """As the management tool tells them, such as ``{"clocks.sm": "1980 MHz"}``."""
    names = ("driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "power.limit")
    command = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(names, told.splitlines()[0].split(", "), strict=False))
