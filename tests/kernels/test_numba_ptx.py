"""What the Numba twins compile to, for every generation of GPUs, in processes that do not simulate."""

import hashlib
import json
import os
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from itertools import cycle
from pathlib import Path

import pytest

from tests.shim.build import cache_folder
from vecprod_gpu import kernels

COMPILE = """
import importlib
import json
import sys
import traceback
from types import SimpleNamespace
from cuda.bindings import nvjitlink
from numba import cuda, types
from numba.cuda import dispatcher

# Numba asks the current device, of which there may be none, what to compile a helper for; only to check that
# NVVM supports it.
dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(9, 0))

def optimised(function, signature, cc):
    options = {"device": False, "abi": "numba", "output": "ltoir", "cc": cc}
    code, _ = cuda.compile(function, signature, **options)
    handle = nvjitlink.create(3, ["-lto", "-arch=sm_%d%d" % cc, "-ptx"])
    nvjitlink.add_data(handle, nvjitlink.InputType.LTOIR, code, len(code), "kernel")
    nvjitlink.complete(handle)
    text = bytearray(nvjitlink.get_linked_ptx_size(handle))
    nvjitlink.get_linked_ptx(handle, text)
    return text.decode().rstrip(chr(0))

def signature(kernel, stored, other):
    scalars, others, doubles, numbers = stored[::1], other[::1], types.float64[::1], types.int64[::1]
    widest = types.complex128[::1] if isinstance(other, types.Complex) else doubles
    i, d, axes = types.int64, types.float64, types.UniTuple(types.int64, 3)
    signatures = {
        "batched_outer": (scalars,) * 3 + (i,) * 8 + (other,) * 2,
        "cross_contiguous": (scalars,) * 3 + (i,),
        "cross_strided": (scalars,) * 3 + (i,) * 8,
        "vecdot": (scalars,) * 3 + (i,) * 10,
        "face_normals": (scalars, others, scalars, numbers) + (i,) * 8,
        "vertex_normals": (scalars, others, numbers, scalars, numbers) + (i,) * 7,
        "grid_normals": (scalars, others, scalars) + (i,) * 6 + (d,),
        "co_moment_partials": (scalars, scalars, others, widest) + (i,) * 13,
        "co_moment_finish": (widest, doubles, others, others) + (i,) * 6 + (d,),
        "small_co_moments": (scalars, scalars, others, doubles, others, others) + (i,) * 17 + (d,),
        "solve_systems": (doubles,) * 7 + (i,) * 4 + (d,),
        "linreg_partials": (scalars, others, others, others, others, doubles) + (i,) * 11,
        "linreg_finish": (doubles, others, others, doubles) + (i,) * 4 + (d,) * 3 + (i,) * 2,
        "strided_copy": (scalars, others, i, axes, i, axes, i, axes),
        "iota": (numbers, i),
        "merge_pass": (scalars, numbers, numbers, i, i),
    }
    measure = (scalars,) * 4 + (i,) * 11
    return signatures.get(kernel, measure)

def compiled(file, kernel, linked, targets):
    function = getattr(importlib.import_module(f"vecprod_gpu.kernels.{file}"), kernel).py_func
    for stored, other, capability in targets:
        kinds = signature(kernel, getattr(types, stored), getattr(types, other))
        cc = tuple(int(part) for part in capability.split("."))
        yield optimised(function, kinds, cc) if linked else cuda.compile_ptx(function, kinds, cc=cc)[0]

for request in sys.stdin:
    try:
        answer = list(compiled(*json.loads(request)))
    except Exception:
        answer = traceback.format_exc()
    print(json.dumps(answer), flush=True)
"""

VERSION = version("numba-cuda")
SOURCES = [path.read_text() for path in sorted(Path(kernels.__file__).parent.glob("*.py"))]

GENERATIONS = ("7.5", "8.0", "9.0", "10.0", "12.0")
PRODUCTS = [("outer", "batched_outer"), ("cross", "cross_contiguous"), ("cross", "cross_strided")]
CO_MOMENTS = [("comoments", "co_moment_partials"), ("comoments", "co_moment_finish")]
SMALL, SYSTEMS = ("comoments_small", "small_co_moments"), ("systems", "solve_systems")
REGRESSION = [("linreg", "linreg_partials"), ("linreg", "linreg_finish")]

REAL = ("float16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
INDICES = ("int32", "int64")
DOT, TRIPLE = ("vecdot", "vecdot"), ("measures", "triple_product")
ANGLE, AREA, TRIANGLE = (
    ("measures", name) for name in ("vector_angle", "parallelogram_area", "triangle_area")
)
FACES, VERTICES, GRID = (("normals", f"{name}_normals") for name in ("face", "vertex", "grid"))
SORTING = (("sort", "iota"), ("sort", "merge_pass"))
GEOMETRY = {
    DOT: [(stored, stored) for stored in REAL + COMPLEX + INTEGERS],
    TRIPLE: [(stored, stored) for stored in REAL + INTEGERS],
    **{kernel: [(stored, stored) for stored in REAL] for kernel in (ANGLE, AREA, TRIANGLE)},
    **{kernel: [(stored, index) for stored in REAL for index in INDICES] for kernel in (FACES, VERTICES)},
    GRID: [("float16", "float32"), ("float32", "float32"), ("float64", "float64")],
    **{kernel: [(stored, stored) for stored in INDICES] for kernel in SORTING},
}
"""Pairs of types that each kernel is compiled for."""

FUSED = {AREA: 8, TRIANGLE: 8, FACES: 8, VERTICES: 8, GRID: 2}
"""Fused multiply-adds: six in the components of a cross product, two in the square of a length."""


def compiled(kernel, stored, summing=None, generations=("9.0",), linked=False):
    """Return one PTX text for each generation, as NVVM leaves it or, `linked`, as nvJitLink does."""
    targets = [(stored, summing or stored, generation) for generation in generations]
    return compiled_targets(kernel, tuple(targets), linked)


@cache
def compiled_targets(kernel, targets, linked=False):
    """Return one PTX text for each (stored type, other type, generation).

    The other type is the summing one, or that of the indices of a mesh, or what a copy is cast to.
    """
    request = json.dumps([*kernel, linked, targets])
    key = hashlib.sha256(repr((VERSION, SOURCES, COMPILE, request)).encode()).hexdigest()[:24]
    kept = cache_folder() / f"{key}.json"
    if not kept.exists():
        answer = _compiler()(request)
        assert len(json.loads(answer)) == len(targets), answer
        draft = kept.with_suffix(f".{os.getpid()}")
        draft.write_text(answer)
        draft.rename(kept)
    return json.loads(kept.read_text())


@cache
def _compiler():
    """What sends a request to a process that does not simulate, and returns its answer.

    One process for all requests: until it has compiled its first kernel, it takes seconds.
    """
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    process = subprocess.Popen(
        [sys.executable, "-c", COMPILE],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask(request):
        process.stdin.write(request + "\n")
        process.stdin.flush()
        return process.stdout.readline()

    return ask


def instructions(ptx):
    """Names of the instructions, in order, without guards."""
    return re.findall(r"^\s+(?:@!?%p\d+ )?([a-z]\w*(?:\.\w+)+)\s", ptx, flags=re.MULTILINE)


def assert_well_formed(ptx):
    """Assert that indices are 64-bit and that nothing spills, calls or waits for another file."""
    assert "mad.lo.s64" in ptx or "mul.lo.s64" in ptx or "shl.b64" in ptx
    for word in (".local", "__local_depot", "call.uni", ".extern .func"):
        assert word not in ptx


def assert_not_contracted(ptx):
    """Assert that every product names its rounding: the assembler contracts those that do not."""
    floats = [name for name in instructions(ptx) if name.endswith((".f32", ".f64"))]
    assert any(name.startswith("mul.rn.") for name in floats)
    assert not any(name.startswith(("fma.", "mad.", "mul.f")) for name in floats)


@pytest.mark.parametrize("kernel", PRODUCTS, ids=lambda kernel: kernel[1])
def test_products_compile_for_every_generation(kernel):
    texts = compiled(kernel, "float32", generations=GENERATIONS)
    for generation, ptx in zip(GENERATIONS, texts, strict=True):
        assert f".target sm_{generation.replace('.', '')}" in ptx
        assert_well_formed(ptx)
        assert_not_contracted(ptx)


@pytest.mark.parametrize(
    ("generation", "stored", "summing"),
    [
        ("7.5", "float16", "float32"),
        ("8.0", "float32", "float64"),
        ("12.0", "float64", "float64"),
    ],
)
@pytest.mark.parametrize("kernel", REGRESSION, ids=lambda kernel: kernel[1])
def test_regression_compiles(kernel, generation, stored, summing):
    """From the oldest generation to the newest, each with another pair of types: they take seconds."""
    (ptx,) = compiled(kernel, stored, summing, generations=(generation,))
    assert f".target sm_{generation.replace('.', '')}" in ptx
    assert_well_formed(ptx)
    if kernel[1] == "linreg_partials":
        assert f"fma.rn.f{summing[5:]}" in instructions(ptx)


@pytest.mark.parametrize(
    ("generation", "stored", "summing"),
    [
        ("7.5", "float16", "float32"),
        ("12.0", "complex64", "complex128"),
    ],
)
@pytest.mark.parametrize("kernel", CO_MOMENTS, ids=lambda kernel: kernel[1])
def test_co_moments_stay_in_registers(kernel, generation, stored, summing):
    """From the oldest generation to the newest, each with another pair of types: they take seconds."""
    (ptx,) = compiled(kernel, stored, summing, generations=(generation,), linked=True)
    assert f".target sm_{generation.replace('.', '')}" in ptx
    assert_well_formed(ptx)
    if kernel[1] == "co_moment_partials":
        width = {"complex128": "64"}.get(summing, summing[-2:])
        assert f"fma.rn.f{width}" in instructions(ptx)


@pytest.mark.parametrize(
    ("kernel", "generation", "stored", "summing"),
    [
        (SMALL, "7.5", "float16", "float32"),
        (SMALL, "12.0", "complex64", "complex128"),
        (SYSTEMS, "9.0", "float64", "float64"),
    ],
    ids=str,
)
def test_small_problems_compile(kernel, generation, stored, summing):
    (ptx,) = compiled(kernel, stored, summing, generations=(generation,), linked=True)
    assert f".target sm_{generation.replace('.', '')}" in ptx
    assert_well_formed(ptx)


@pytest.mark.parametrize("stored", ["float64", "complex64"])
@pytest.mark.parametrize("kernel", PRODUCTS, ids=lambda kernel: kernel[1])
def test_products_are_not_contracted(kernel, stored):
    (ptx,) = compiled(kernel, stored)
    assert_not_contracted(ptx)


@pytest.mark.parametrize(
    ("kernel", "stored", "summing"),
    [
        *((kernel, "float32", "float32") for kernel in PRODUCTS),
        (PRODUCTS[0], "float16", "float32"),
        (PRODUCTS[1], "complex64", "complex64"),
        (PRODUCTS[2], "float16", "float32"),
    ],
    ids=str,
)
def test_narrow_products_stay_narrow(kernel, stored, summing):
    (ptx,) = compiled(kernel, stored, summing)
    assert_well_formed(ptx)
    assert not [name for name in instructions(ptx) if ".f64" in name]


@pytest.mark.parametrize(
    ("stored", "load"), [("int8", "ld.global.u8"), ("uint64", "ld.global.u64"), ("float16", "ld.global.u16")]
)
@pytest.mark.parametrize("kernel", [PRODUCTS[0], PRODUCTS[1]], ids=lambda kernel: kernel[1])
def test_other_types_are_read_at_their_own_width(kernel, stored, load):
    (ptx,) = compiled(kernel, stored, "float32" if stored == "float16" else stored)
    assert_well_formed(ptx)
    loads = [name for name in instructions(ptx) if name.startswith("ld.global")]
    assert set(loads) == {load}


def test_float32_regression_keeps_double_for_sums_across_tiles():
    (ptx,) = compiled(REGRESSION[0], "float32", "float32", generations=("9.0",))
    names = instructions(ptx)
    assert "fma.rn.f32" in names
    assert "ld.shared.f32" in names
    assert "add.f64" in names
    assert not {"mul.f64", "fma.rn.f64"} & set(names)
    assert names.count("cvt.f64.f32") == 1


@pytest.mark.parametrize("kernel", PRODUCTS[:2], ids=lambda kernel: kernel[1])
def test_link_time_optimisation_does_not_contract_either(kernel):
    """Where nvJitLink is installed, Numba lets it compile: with contraction on, like NVVM."""
    (ptx,) = compiled(kernel, "float32", linked=True)
    assert_not_contracted(ptx)


@pytest.mark.parametrize(
    "types", [("int8", "float64"), ("float64", "float32"), ("float32", "complex128")], ids=str
)
def test_copy_compiles(types):
    (ptx,) = compiled(("copy", "strided_copy"), *types)
    assert ".extern .func" not in ptx


def geometry(kernel):
    """PTX of each pair of types, each for another generation than the one before."""
    targets = [(*types, generation) for types, generation in zip(GEOMETRY[kernel], cycle(GENERATIONS))]
    return dict(zip(targets, compiled_targets(kernel, tuple(targets)), strict=True))


@pytest.mark.parametrize("kernel", GEOMETRY, ids=lambda kernel: kernel[1])
def test_geometry_compiles_for_every_type(kernel):
    for (_, _, generation), ptx in geometry(kernel).items():
        assert f".target sm_{generation.replace('.', '')}" in ptx
        assert_well_formed(ptx)


@pytest.mark.parametrize("kernel", [DOT, TRIPLE], ids=lambda kernel: kernel[1])
def test_dot_and_triple_products_are_not_contracted(kernel):
    for (stored, _, _), ptx in geometry(kernel).items():
        if stored not in INTEGERS:
            assert_not_contracted(ptx)


@pytest.mark.parametrize("kernel", FUSED, ids=lambda kernel: kernel[1])
def test_geometry_is_fused_only_where_it_says_so(kernel):
    (linked,) = compiled(kernel, *GEOMETRY[kernel][-1], linked=True)
    for ptx in (linked, *geometry(kernel).values()):
        names = [name for name in instructions(ptx) if name.endswith((".f32", ".f64"))]
        assert len([name for name in names if name.startswith("fma.rn.")]) == FUSED[kernel]
        assert any(name.startswith("mul.rn.") for name in names)
        assert not {"mul.f32", "mul.f64"} & set(names)


@pytest.mark.parametrize("kernel", [DOT, TRIPLE, ANGLE, AREA, TRIANGLE, FACES], ids=lambda kernel: kernel[1])
def test_narrow_geometry_stays_narrow(kernel):
    for (stored, _, _), ptx in geometry(kernel).items():
        if stored not in ("float64", "complex128"):
            assert not [name for name in instructions(ptx) if ".f64" in name]


def test_vertex_normals_are_summed_in_double():
    for ptx in geometry(VERTICES).values():
        names = set(instructions(ptx))
        assert {"add.f64", "sub.f64", "mul.rn.f64", "fma.rn.f64"} <= names
        assert not {"add.f32", "sub.f32", "mul.rn.f32", "fma.rn.f32"} & names


@pytest.mark.parametrize("kernel", [FACES, VERTICES], ids=lambda kernel: kernel[1])
def test_bad_faces_are_reported_without_a_loop(kernel):
    for ptx in geometry(kernel).values():
        atomics = [name for name in instructions(ptx) if name.startswith("atom.")]
        assert atomics
        assert all(name.endswith(".global.min.s64") for name in atomics)
