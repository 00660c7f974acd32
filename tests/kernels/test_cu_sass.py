"""What the machine code of the .cu kernels does with memory, as NVIDIA's disassembler shows it.

It needs no GPU.  PTX would not do: registers, spills and the width of accesses are the assembler's choice.
"""

import re
import shutil
import subprocess
from collections import Counter
from functools import cache
from importlib.metadata import files

import numpy as np
import pytest
from cuda.bindings import nvrtc

from tests.kernels.test_cu_compile import CUPY_OPTIONS
from vecprod_gpu import _compile
from vecprod_gpu.backends._device.launcher import THREADS, sum_dtype

ARCHITECTURES = (90, 100)
REGISTERS = 65536
"""Of 32 bits, which the blocks on a multiprocessor share."""


def cubin(source, architecture):
    """Machine code of a text, compiled as CuPy does."""
    options = [*_compile.OPTIONS, *CUPY_OPTIONS, f"-arch=sm_{architecture}"]
    _, program = nvrtc.nvrtcCreateProgram(source.encode(), b"kernels.cu", 0, [], [])
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
    assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS
    _, size = nvrtc.nvrtcGetCUBINSize(program)
    code = bytearray(size)
    nvrtc.nvrtcGetCUBIN(program, code)
    nvrtc.nvrtcDestroyProgram(program)
    return bytes(code)


def disassembler():
    """Path of nvdisasm: of the CUDA toolkit, or out of the package that brings it."""
    installed = shutil.which("nvdisasm")
    if installed is not None:
        return installed
    (found,) = (file for file in files("nvidia-cuda-nvdisasm") if file.stem == "nvdisasm")
    return found.locate()


@cache
def disassembled(file, code, architecture, folder):
    """Machine code by kernel, of a ``.cu`` file for one stored type; `folder` is for the binary."""
    stored = np.dtype(code)
    binary = folder / f"{file}-{code}-{architecture}.cubin"
    binary.write_bytes(cubin(_compile.source(file, stored, sum_dtype(stored)), architecture))
    command = [disassembler(), "-c", binary]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    parts = re.split(r"^\s*\.section\s+\.text\.(\w+),.*$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.fixture(params=ARCHITECTURES, ids=lambda architecture: f"sm_{architecture}")
def kernels(request, tmp_path_factory):
    """What disassembles a file for a stored type."""
    folder = tmp_path_factory.getbasetemp()
    return lambda file, code: disassembled(file, code, request.param, folder)


def accesses(text):
    """How often each instruction that reads or writes memory stands in a kernel, with its width."""
    return Counter(re.findall(r"\b((?:LD|ST)[GSL](?:\.\w+)*)\b", text))


def registers(text):
    """Registers of a thread."""
    return 1 + max(map(int, re.findall(r"\bR(\d+)\b", text)))


@pytest.mark.parametrize("code", "BfD")
@pytest.mark.parametrize("file", ["outer", "cross"])
def test_products_stay_in_registers(kernels, file, code):
    for text in kernels(file, code).values():
        assert not [name for name in accesses(text) if name.startswith(("LDL", "STL"))]


@pytest.mark.parametrize("code", "BfD")
def test_outer_reads_and_writes_16_bytes(kernels, code):
    found = accesses(kernels("outer", code)["batched_outer"])
    assert found["LDG.E.128"]
    assert found["STG.E.128"]


@pytest.mark.parametrize(("code", "blocks"), [("B", 2), ("f", 6), ("D", 4)])
def test_outer_leaves_room_for_blocks(kernels, code, blocks):
    assert blocks * THREADS * registers(kernels("outer", code)["batched_outer"]) <= REGISTERS


@pytest.mark.parametrize("code", "efD")
def test_cross_asks_for_all_before_it_writes(kernels, code):
    """With registers for as many blocks as a multiprocessor may have."""
    text = kernels("cross", code)["cross_contiguous"]
    order = "".join(re.findall(r"\b(LDG|STG)\b", text))
    assert re.fullmatch(r"(LDG){6,}(STG){3,}", order)
    assert (4 if code == "D" else 8) * THREADS * registers(text) <= REGISTERS
