"""Every .cu file, for every pair of types, compiled by NVRTC for every supported architecture."""

import re
from functools import cache

import numpy as np
import pytest
from cuda.bindings import nvrtc

from vecprod_gpu import _compile
from vecprod_gpu.backends._device.lanes import lane_cut
from vecprod_gpu.backends._device.launcher import STORED_TYPES
from vecprod_gpu.backends._device.moments import tile_constants

ARCHITECTURES = (75, 80, 90, 100, 120)
"""The first of each family: 8.6 and 8.9 differ from 8.0 in their clocks and memory, not in registers, and
8.0 from 7.5 in what copies asynchronously, for which alone it is compiled for."""

SINGLE = slice(1, 2)
PAIRS = {75: slice(None), 90: slice(2)}
"""Of types: each for the oldest architecture, half and single precision for the one that is measured, SINGLE
for the others."""

# CuPy adds these to what it is given; they come last, and the last word counts.
CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")

FILES = {
    "outer": "batched_outer",
    "cross": "cross",
    "vecdot": "vecdot",
    "measures": "triple_product",
    "normals": "normals",
    "comoments": "gram",
    "comoments_small": "gram",
    "systems": "systems",
    "linreg": "linreg",
    "linreg_lanes": "linreg",
    "linreg_steps": "linreg",
}
"""An operation that takes all types of a file."""

LANES_MAY_SPILL = 192
"""Bytes of a stack frame, or of loads or stores of it, for rows in registers that are widened, or before
compute capability 9.0: what fits is an estimate there, and compilers differ (NVRTC 13.0 to 13.5)."""

FULL_LANES = ((4096, 1, True), (64, 8, False), (3, 5, True))
LANE_SHAPES = {90: ((64, 1, False), (300, 1, False), *FULL_LANES)}
"""Columns, models and whether there is an offset, for which rows in registers are compiled: but for 9.0
those that take all registers of a thread or nearly so; the first two leave some."""

STEP_SHAPES = ((64, 1, False),)
"""Those for many steps, each of which takes as long to compile as all of the others."""

BLOCKS_AT_ONCE = {"comoments": 1, "linreg_steps": 1}
"""Blocks of 256 threads on a multiprocessor, where they are not two: sums of double fill its registers, or X
its shared memory."""

TILE_COLUMNS = (32, 64)
"""Columns of X for which sums of outer products are compiled, where that makes a difference."""

WIDER = {
    **dict.fromkeys(("comoments", "comoments_small"), ("ed", "fd", "FD")),
    **dict.fromkeys(("linreg", "linreg_lanes", "linreg_steps"), ("fd",)),
}
"""Pairs that sum in a wider type than usual."""


def type_pairs(file):
    """Stored and summing dtypes of a file, once for each pair of C types; integers of 8 and of 64 bits."""
    stored = re.sub("[hHiI]", "", STORED_TYPES[FILES[file]])
    pairs = [(np.dtype(code), np.dtype("f" if code == "e" else code)) for code in stored]
    pairs += [(np.dtype(stored), np.dtype(summed)) for stored, summed in WIDER.get(file, ())]
    by_c_type = {tuple(map(_compile.c_type, pair)): pair for pair in pairs}
    return list(by_c_type.values())


def pairs_for(file, architecture):
    """Those of them that a file is compiled for: where there is but one, it."""
    pairs = type_pairs(file)
    return pairs[PAIRS.get(architecture, SINGLE)] or pairs


def sources(file, stored, summed, architecture=ARCHITECTURES[0]):
    """Texts of a file for a pair of types: one, or one for each of some shapes."""
    if file == "comoments":
        constants = [tile_constants(columns, 0, True, stored, summed) for columns in TILE_COLUMNS]
        return dict.fromkeys(_compile.source(file, stored, summed, one) for one in constants)
    if file not in ("linreg_lanes", "linreg_steps"):
        return [_compile.source(file, stored, summed)]
    itemsizes = stored.itemsize, summed.itemsize
    shapes = LANE_SHAPES.get(architecture, FULL_LANES) if file == "linreg_lanes" else STEP_SHAPES
    cuts = [lane_cut(10**6, d, k, *itemsizes, is_centred) for d, k, is_centred in shapes]
    return [_compile.source(file, stored, summed, cut.constants) for cut in cuts if cut is not None]


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


def resources(source, architecture):
    """Registers of each kernel, and the bytes of stack frames and of spills."""
    _, log = compiled(source, f"-arch=sm_{architecture}", "--ptxas-options=-v")
    kernels = re.findall(r"Compiling entry function '(\w+)'", log)
    registers = [int(count) for count in re.findall(r"Used (\d+) registers", log)]
    memory = re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", log)
    assert len(kernels) == len(registers) == len(memory) / 3
    return dict(zip(kernels, registers, strict=True)), [int(count) for count in memory]


@pytest.mark.parametrize(
    ("file", "architecture"),
    [
        (file, architecture)
        for file, headers in _compile.FILES.items()
        for architecture in ARCHITECTURES
        if architecture != 80 or "async.cuh" in headers
    ],
)
def test_kernels_compile_without_spills(file, architecture, record_property):
    for stored, summed in pairs_for(file, architecture):
        may_spill = file == "linreg_lanes" and (stored != summed or architecture < 90)
        for source in sources(file, stored, summed, architecture):
            registers, spilled = resources(source, architecture)
            assert max(spilled) <= (LANES_MAY_SPILL if may_spill else 0), f"{stored}, {source[:300]}"
            most = 65536 // (256 * BLOCKS_AT_ONCE.get(file, 2))
            assert max(registers.values()) <= most, "blocks share 65536 registers"
            record_property(f"{file} {stored}", registers)


@cache
def instructions(source):
    """By kernel, the names of the instructions that compute with floating-point numbers."""
    ptx, _ = compiled(source, "-arch=compute_75")
    kernels = dict(re.findall(r"\.entry (\w+)\((.*?)^}", ptx, flags=re.DOTALL | re.MULTILINE))
    pattern = re.compile(
        r"\b((?:mul|add|sub|mad|fma|div|rcp|sqrt|neg|abs|min|max|cvt)(?:\.\w+)*\.f\d+(?:\.\w+)*)\b"
    )
    return {kernel: set(pattern.findall(text)) for kernel, text in kernels.items()}


def assert_rounded_and_not_flushed(names):
    assert not [name for name in names if ".ftz" in name]
    rounded = [name for name in names if not name.startswith(("neg.", "abs.", "max.", "cvt.f"))]
    assert all(".rn." in name for name in rounded)


def source_of(file, code):
    source, *_ = sources(file, np.dtype(code), np.dtype("f" if code == "e" else code))
    return source


@pytest.mark.parametrize("code", "efF")
@pytest.mark.parametrize("file", ["outer", "cross", "vecdot"])
def test_products_keep_subnormal_numbers(file, code):
    for names in instructions(source_of(file, code)).values():
        assert "mul.rn.f32" in names
        assert_rounded_and_not_flushed(names)


@pytest.mark.parametrize("code", "efd")
@pytest.mark.parametrize("file", ["measures", "normals"])
def test_geometry_keeps_subnormal_numbers(file, code):
    """But for what atan2 does by itself with numbers of middling size."""
    source = source_of(file, code).replace("atan2(sine, cosine)", "ratio(sine, cosine)")
    for kernel, names in instructions(source).items():
        wide = "f64" if code == "d" or kernel == "vertex_normals" else "f32"
        assert f"fma.rn.{wide}" in names or kernel == "triple_product"
        assert_rounded_and_not_flushed(names)


@pytest.mark.parametrize("code", "efdFD")
def test_what_is_rounded_as_numpy_rounds_is_not_contracted(code):
    kernels = {file: instructions(source_of(file, code)) for file in ("outer", "cross", "vecdot")}
    rounded = [*(kernel for each in kernels.values() for kernel in each.values())]
    if code in "efd":
        rounded.append(instructions(source_of("measures", code))["triple_product"])
    assert not [name for names in rounded for name in names if name.startswith(("fma.", "mad."))]


@pytest.mark.parametrize("code", "ef")
def test_measures_of_narrow_numbers_stay_narrow(code):
    for names in instructions(source_of("measures", code)).values():
        assert not [name for name in names if "f64" in name]
