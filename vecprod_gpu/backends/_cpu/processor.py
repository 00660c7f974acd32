"""What the processor that is compiled for is good at, as LLVM knows it by its features and its name."""

import os
from pathlib import Path

import llvmlite.binding
import numba


def _has(feature: str) -> bool:
    """Whether compiled code may use it: Numba can be told to compile for another processor than this one."""
    if (told := numba.config.CPU_FEATURES) is not None:
        return f"+{feature}" in told.split(",")
    try:
        return bool(llvmlite.binding.get_host_cpu_features().get(feature))
    except RuntimeError:  # a processor whose features LLVM cannot tell
        return False


def share_of_cache(nbytes: int, cores: int) -> int:
    """What so many cores have of a cache: a virtual machine is told of that of the whole chip.

    Examples
    --------
    >>> share_of_cache(300 << 20, cores=2) >> 20
    32
    """
    return min(nbytes, cores * MOST_CACHE_BYTES_A_CORE)


def _last_cache_bytes() -> int:
    """Of the last-level cache, where the system tells; else what most of them have at least."""
    try:
        kibibytes = (
            Path("/sys/devices/system/cpu/cpu0/cache/index3/size").read_text().strip().removesuffix("K")
        )
        return int(kibibytes) << 10
    except (OSError, ValueError):
        return 8 << 20


MOST_CACHE_BYTES_A_CORE = 16 << 20  # the most that is sold is 12 MB, by AMD
LAST_CACHE_BYTES = share_of_cache(_last_cache_bytes(), os.cpu_count() or 1)
LINE_BYTES = 64  # of a cache

VECTOR_BYTES = 64 if _has("avx512f") else 32
"""Of the widest registers: where it has registers of 64 bytes, it has 32 of them."""

HAS_HALVES = llvmlite.binding.get_process_triple().startswith(("aarch64", "arm64")) or _has("f16c")
"""Whether it widens and narrows float16; for others LLVM calls functions that no process has."""

IS_ZEN = llvmlite.binding.get_host_cpu_name().startswith("znver")
"""Whether it is one of AMD's since 2017.

However early a core asks for lines into its first-level cache, they come slowly, 64 bytes in 5 ns, unless the
hardware has seen that they follow each other; asked for into the second level they come twice as fast.
"""
