"""Every .cu file, for every pair of types, compiled by NVRTC for every supported architecture."""

import re

import numpy as np
import pytest
from cuda.bindings import nvrtc

from vecprod_gpu import _compile
from vecprod_gpu.backends._device import _STORED_TYPES

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)

FILES = {"outer": "batched_outer", "cross": "cross", "linreg": "linreg"}


def type_pairs(file):
    """Stored and summing dtypes of a file, once for each pair of C types."""
    stored = _STORED_TYPES[FILES[file]]
    pairs = [(np.dtype(code), np.dtype("f" if code == "e" else code)) for code in stored]
    if file == "linreg":
        pairs.append((np.dtype("f"), np.dtype("d")))
    by_c_type = {tuple(map(_compile.c_type, pair)): pair for pair in pairs}
    return list(by_c_type.values())


def compiled(source, architecture):
    """Cubin and log of one compilation."""
    options = [*_compile.OPTIONS, f"-arch=sm_{architecture}", "--ptxas-options=-v"]
    _, program = nvrtc.nvrtcCreateProgram(source.encode(), b"kernels.cu", 0, [], [])
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    log = bytearray(size)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(program)
    assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS, log.decode()
    return log.decode()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", _compile.FILES)
def test_kernels_compile_without_spills(file, architecture, record_property):
    # Every pair for the oldest and the newest; half and single precision for those between.
    pairs = type_pairs(file)[: None if architecture in (ARCHITECTURES[0], ARCHITECTURES[-1]) else 2]
    for stored, summed in pairs:
        log = compiled(_compile.source(file, stored, summed), architecture)
        kernels = re.findall(r"Compiling entry function '(\w+)'", log)
        registers = [int(count) for count in re.findall(r"Used (\d+) registers", log)]
        memory = re.findall(r"(\d+) bytes (stack frame|spill stores|spill loads)", log)
        assert len(kernels) == len(registers) == len(memory) / 3
        assert all(count == "0" for count, _ in memory), f"{stored}, sm_{architecture}:\n{log}"
        assert max(registers) <= 128, "256 threads of two blocks share 65536 registers"
        record_property(f"{file} {stored}", dict(zip(kernels, registers, strict=True)))
