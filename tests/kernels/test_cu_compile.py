"""Every .cu file, for every pair of types, compiled by NVRTC for every supported architecture."""

import re

import numpy as np
import pytest
from cuda.bindings import nvrtc

from vecprod_gpu import _compile
from vecprod_gpu.backends._device import _STORED_TYPES

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)

# CuPy adds these to what it is given; they come last, and the last word counts.
CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")

FILES = {"outer": "batched_outer", "cross": "cross", "linreg": "linreg"}


def type_pairs(file):
    """Stored and summing dtypes of a file, once for each pair of C types."""
    stored = _STORED_TYPES[FILES[file]]
    pairs = [(np.dtype(code), np.dtype("f" if code == "e" else code)) for code in stored]
    if file == "linreg":
        pairs.append((np.dtype("f"), np.dtype("d")))
    by_c_type = {tuple(map(_compile.c_type, pair)): pair for pair in pairs}
    return list(by_c_type.values())


def compiled(source, *options):
    """PTX and log of one compilation, with the options that CuPy compiles with."""
    options = [*_compile.OPTIONS, *CUPY_OPTIONS, *options]
    _, program = nvrtc.nvrtcCreateProgram(source.encode(), b"kernels.cu", 0, [], [])
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    log = bytearray(size)
    nvrtc.nvrtcGetProgramLog(program, log)
    assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS, log.decode()
    _, size = nvrtc.nvrtcGetPTXSize(program)
    ptx = bytearray(size)
    nvrtc.nvrtcGetPTX(program, ptx)
    nvrtc.nvrtcDestroyProgram(program)
    return ptx.decode(), log.decode()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", _compile.FILES)
def test_kernels_compile_without_spills(file, architecture, record_property):
    # Every pair for the oldest and the newest; half and single precision for those between.
    pairs = type_pairs(file)[: None if architecture in (ARCHITECTURES[0], ARCHITECTURES[-1]) else 2]
    for stored, summed in pairs:
        source = _compile.source(file, stored, summed)
        _, log = compiled(source, f"-arch=sm_{architecture}", "--ptxas-options=-v")
        kernels = re.findall(r"Compiling entry function '(\w+)'", log)
        registers = [int(count) for count in re.findall(r"Used (\d+) registers", log)]
        memory = re.findall(r"(\d+) bytes (stack frame|spill stores|spill loads)", log)
        assert len(kernels) == len(registers) == len(memory) / 3
        assert all(count == "0" for count, _ in memory), f"{stored}, sm_{architecture}:\n{log}"
        assert max(registers) <= 128, "256 threads of two blocks share 65536 registers"
        record_property(f"{file} {stored}", dict(zip(kernels, registers, strict=True)))


@pytest.mark.parametrize("code", "efF")
@pytest.mark.parametrize("file", ["outer", "cross"])
def test_products_keep_subnormal_numbers(file, code):
    source = _compile.source(file, np.dtype(code), np.dtype("f" if code == "e" else code))
    ptx, _ = compiled(source, "-arch=compute_75")
    arithmetic = set(re.findall(r"\b(?:mul|add|sub|fma)\S*\.f32\b", ptx))
    assert "mul.rn.f32" in arithmetic
    assert not [name for name in arithmetic if ".rn." not in name or ".ftz" in name]
