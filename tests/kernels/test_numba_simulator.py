"""The Numba twins, through their backend, against float64 oracles: in Numba's simulator, or on a GPU.

Sizes are tiny: the simulator runs every thread as one of Python.  Numbers are chosen so that results of
integers, and of float16 products, are exact.
"""

import importlib
import importlib.util
import os
import pkgutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vecprod_gpu import kernels
from vecprod_gpu.backends import numba_cuda
from vecprod_gpu.backends._device import linreg as launches
from vecprod_gpu.backends._device import windows
from vecprod_gpu.errors import DTypeError

from . import oracles

FLOATS = ["float16", "float32", "float64"]
COMPLEX = ["complex64", "complex128"]
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


REAL_GPU = os.environ.get("VECPROD_TEST_REAL_GPU") == "1"


@pytest.fixture(autouse=True)
def simulator():
    assert windows.is_simulated() != REAL_GPU


def replace_kernels(file, monkeypatch, right, wrong):
    """Let the backend find the kernels of `file` with one thing in their source replaced.

    All kernels are imported first: one that is imported meanwhile would keep what replaces another.
    """
    for each in pkgutil.iter_modules(kernels.__path__):
        importlib.import_module(f"vecprod_gpu.kernels.{each.name}")
    name = f"vecprod_gpu.kernels.{file}"
    original = importlib.import_module(name)
    source = Path(original.__file__).read_text()
    assert source.count(right) == 1
    module = importlib.util.module_from_spec(importlib.util.find_spec(name))
    exec(compile(source.replace(right, wrong), f"<{file}, changed>", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, name, module)


def numbers(shape, dtype, seed=0):
    """Random numbers; of integers the whole range, so that products wrap."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    values = rng.normal(size=shape)
    if dtype.kind == "c":
        values = values + 1j * rng.normal(size=shape)
    return values.astype(dtype)


def assert_close(result, expected, roundings=4):
    """Equal for integers, else within some roundings of the largest entry."""
    assert result.shape == expected.shape
    if result.dtype.kind in "iub":
        np.testing.assert_array_equal(result, expected)
    else:
        tolerance = roundings * np.finfo(result.dtype).eps * max(1.0, np.abs(expected).max(initial=0))
        np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance)


def poisoned(shape, dtype):
    """Memory that a test would notice if it were read or left unwritten."""
    poison = np.nan if np.dtype(dtype).kind in "fc" else 77
    return numba_cuda.native(np.full(shape, poison, dtype))


# --- batched_outer ---------------------------------------------------------------------------------


def outer(a, b, alpha=1, beta=0, out=None):
    a, b = np.asarray(a), np.asarray(b)
    batch = np.broadcast_shapes(a.shape[:-1], b.shape[:-1])
    shape = (*batch, a.shape[-1], b.shape[-1])
    target = poisoned(shape, a.dtype) if out is None else numba_cuda.native(out)
    scalar = np.float32 if a.dtype == np.float16 else a.dtype.type
    numba_cuda.batched_outer(numba_cuda.native(a), numba_cuda.native(b), scalar(alpha), scalar(beta), target)
    return numba_cuda.export(target, "numpy")


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX, *INTEGERS, "bool"])
def test_outer_of_every_dtype(dtype):
    a, b = numbers((2, 3), dtype), numbers((2, 5), dtype, seed=1)
    assert_close(outer(a, b), oracles.batched_outer(a, b))


def test_outer_of_half_is_rounded_once():
    a, b = numbers(7, "float16"), numbers(9, "float16", seed=1)
    np.testing.assert_array_equal(outer(a, b), np.multiply.outer(a, b))


@pytest.mark.parametrize(
    "shapes", [((1,), (1,)), ((4, 1, 3), (2, 5)), ((3,), (2, 2, 7)), ((67,), (3,)), ((3,), (67,))]
)
def test_outer_broadcasts(shapes):
    a, b = (numbers(shape, "float32", seed) for seed, shape in enumerate(shapes))
    assert_close(outer(a, b), oracles.batched_outer(a, b))


def test_outer_of_nothing():
    assert outer(np.ones((0, 3)), np.ones((0, 2))).shape == (0, 3, 2)


@pytest.mark.parametrize("view", [lambda x: x[::-1], lambda x: x[:, ::2], lambda x: x[1:, 1:], lambda x: x.T])
def test_outer_of_device_views(view):
    a, b = numbers((4, 4), "float64"), numbers((4, 4), "float64", seed=1)
    device_views = [view(numba_cuda.export(numba_cuda.native(array), "numba")) for array in (a, b)]
    natives = [numba_cuda.native(array) for array in device_views]
    expected = oracles.batched_outer(view(a), view(b))
    out = poisoned(expected.shape, "float64")
    numba_cuda.batched_outer(*natives, np.float64(1), np.float64(0), out)
    assert_close(numba_cuda.export(out, "numpy"), expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64", "int16"])
def test_outer_scales_and_accumulates(dtype):
    a, b, out = (numbers(shape, dtype, seed) for seed, shape in enumerate([(2, 3), (2, 4), (2, 3, 4)]))
    assert_close(outer(a, b, 2, 3, out), oracles.batched_outer(a, b, 2, 3, out))


def test_outer_by_one_keeps_complex_infinities():
    infinite, one = np.array([complex(np.inf, 0)], np.complex64), np.ones(1, np.complex64)
    with np.errstate(invalid="ignore"):
        expected = np.multiply.outer(infinite, one)
    np.testing.assert_array_equal(outer(infinite, one), expected)


# --- cross -----------------------------------------------------------------------------------------


def cross(a, b, out=None):
    shape = np.broadcast_shapes(a.shape, b.shape)
    target = poisoned(shape, a.dtype) if out is None else out
    numba_cuda.cross(numba_cuda.native(a), numba_cuda.native(b), target)
    return numba_cuda.export(target, "numpy")


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX, *INTEGERS])
@pytest.mark.parametrize("shapes", [((5, 3), (5, 3)), ((2, 1, 3), (4, 3))], ids=["contiguous", "strided"])
def test_cross_of_every_dtype(dtype, shapes):
    a, b = (numbers(shape, dtype, seed) for seed, shape in enumerate(shapes))
    assert_close(cross(a, b), oracles.cross(a, b), roundings=8)


def test_cross_rounds_half_as_numpy_does():
    a, b = numbers((9, 3), "float16"), numbers((9, 3), "float16", seed=1)
    np.testing.assert_array_equal(cross(a, b), np.cross(a, b))


@pytest.mark.parametrize("count", [1, 31, 65, 129])
def test_cross_of_ragged_counts(count):
    a, b = numbers((count, 3), "float32"), numbers((count, 3), "float32", seed=1)
    assert_close(cross(a, b), oracles.cross(a, b), roundings=8)


@pytest.mark.parametrize("aliased", [0, 1])
def test_cross_into_its_input(aliased):
    inputs = [numba_cuda.native(numbers((7, 3), "float64", seed)) for seed in range(2)]
    expected = oracles.cross(*(numba_cuda.export(one, "numpy") for one in inputs))
    numba_cuda.cross(*inputs, inputs[aliased])
    assert_close(numba_cuda.export(inputs[aliased], "numpy"), expected)


def test_cross_of_component_major_vectors():
    a, b = numbers((3, 6), "float32"), numbers((3, 6), "float32", seed=1)
    natives = [numba_cuda.moveaxis(numba_cuda.native(array), 0, -1) for array in (a, b)]
    out = numba_cuda.moveaxis(poisoned((3, 6), "float32"), 0, -1)
    numba_cuda.cross(*natives, out)
    assert_close(numba_cuda.export(out, "numpy"), oracles.cross(a.T, b.T), roundings=8)


# --- linreg ----------------------------------------------------------------------------------------


def regression(problems, n, d, k, stored="float64", summing="float64", y_columns=None):
    """X, y and w of a batch of regressions."""
    shapes = [(problems, n, d), (problems, n, y_columns or k), (problems, d, k)]
    return [
        numbers(shape, dtype, seed)
        for seed, (shape, dtype) in enumerate(zip(shapes, (stored, summing, summing), strict=True))
    ]


def linreg(X, y, w, sample_weight=None, x_offset=None, *, in_place=False, has_loss=True, **rates):
    """Run the backend; without a loss, its place is checked to stay as it was."""
    X, y, w, s, offset = (
        None if one is None else numba_cuda.native(one) for one in (X, y, w, sample_weight, x_offset)
    )
    out = w if in_place else poisoned(w.shape, w.dtype)
    loss = poisoned((w.shape[0], w.shape[2]), np.float64) if has_loss else None
    rates = {"l1": 0.0, "l2": 0.0, "learning_rate": None, **rates}
    numba_cuda.linreg_pass(X, y, w, s, offset, **rates, out=out, loss=loss)
    return numba_cuda.export(out, "numpy"), numba_cuda.export(loss, "numpy") if has_loss else None


def check_linreg(arrays, sample_weight=None, x_offset=None, in_place=False, roundings=64, **rates):
    expected, expected_loss = oracles.linreg(*arrays, sample_weight, x_offset, **rates)
    result, loss = linreg(*arrays, sample_weight, x_offset, in_place=in_place, **rates)
    assert_close(result, expected, roundings)
    tolerance = roundings * np.finfo(result.dtype).eps
    np.testing.assert_allclose(loss, expected_loss, rtol=tolerance, atol=0)


@pytest.mark.parametrize(
    "types", [("float16", "float32"), ("float32", "float32"), ("float32", "float64"), ("float64", "float64")]
)
def test_linreg_of_every_dtype(types):
    check_linreg(regression(1, 7, 3, 1, *types))


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (2, 5, 2, 1), (1, 40, 4, 2), (1, 3, 65, 1)])
def test_linreg_of_ragged_sizes(sizes):
    check_linreg(regression(*sizes))


@pytest.mark.parametrize("y_columns", [1, 11])
def test_linreg_of_many_models(y_columns):
    check_linreg(regression(1, 4, 2, 11, y_columns=y_columns))


def test_linreg_with_weights_offset_and_penalties():
    arrays = regression(2, 6, 3, 2, y_columns=1)
    weight, offset = np.random.default_rng(5).uniform(size=(2, 6)), numbers((2, 3), "float64", 6)
    check_linreg(arrays, weight, offset, l1=0.1, l2=0.3)


@pytest.mark.parametrize("in_place", [False, True])
def test_linreg_steps(in_place):
    check_linreg(regression(1, 6, 3, 2), l1=0.4, l2=0.3, learning_rate=0.5, in_place=in_place)


def test_linreg_without_loss():
    X, y, w = regression(1, 5, 2, 1)
    result, _ = linreg(X, y, w, has_loss=False)
    assert_close(result, oracles.linreg(X, y, w)[0], 64)


def test_linreg_of_columns_in_fortran_order():
    X, y, w = regression(2, 6, 3, 1)
    columns_first = numba_cuda.native(np.ascontiguousarray(X.transpose(0, 2, 1)))
    result, _ = linreg(numba_cuda.moveaxis(columns_first, 1, 2), y, w)
    assert_close(result, oracles.linreg(X, y, w)[0], 64)


@pytest.mark.parametrize(
    ("limit", "is_staged", "has_shared_sums"), [(3320, True, True), (2824, True, False), (2100, False, False)]
)
def test_linreg_where_shared_memory_is_short(monkeypatch, limit, is_staged, has_shared_sums):
    replace_kernels("linreg", monkeypatch, "SHARED_LIMIT = 49152", f"SHARED_LIMIT = {limit}")
    monkeypatch.setattr(numba_cuda._LAUNCHER.__class__, "shared_bytes_limit", limit)
    monkeypatch.setattr(launches, "TILE_BYTES", 512)
    geometry = launches.linreg_geometry(5, 60, 1, 8, 8, limit)
    assert (geometry.is_staged, geometry.has_shared_sums) == (is_staged, has_shared_sums)
    check_linreg(regression(1, 5, 60, 1))


def test_linreg_over_several_blocks_of_rows(monkeypatch):
    monkeypatch.setattr(launches, "PARTIALS_SHARE", 1)
    monkeypatch.setattr(launches, "TILE_BYTES", 16)
    assert launches.linreg_geometry(21, 1, 1, 8, 8, 49152).blocks_per_problem == 6
    check_linreg(regression(1, 21, 1, 1))


def test_linreg_keeps_nan():
    X, y, w = regression(1, 4, 2, 1)
    X[0, 0, 0] = np.nan
    assert np.isnan(linreg(X, y, w, learning_rate=0.1, l1=0.1)[0]).all()


def test_linreg_has_the_same_bits_for_any_grid_and_strides(monkeypatch):
    X, y, w = regression(1, 13, 3, 1, "float32", "float32")
    result, loss = linreg(X, y, w)
    monkeypatch.setattr(windows, "threads", lambda: 16)
    columns_first = numba_cuda.native(np.ascontiguousarray(X.transpose(0, 2, 1)))
    again, loss_again = linreg(numba_cuda.moveaxis(columns_first, 1, 2), y, w)
    np.testing.assert_array_equal(result, again)
    np.testing.assert_array_equal(loss, loss_again)


def test_launcher_and_kernel_agree_on_shared_memory():
    kernels = importlib.import_module("vecprod_gpu.kernels.linreg")
    assert numba_cuda._LAUNCHER.shared_bytes_limit == kernels.SHARED_LIMIT


# --- Arrays ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "view", [lambda x: x[::-1, 1:, ::-2], lambda x: x[0], lambda x: x[:, :, 0], lambda x: x[:0]]
)
def test_native_reads_any_view(view):
    host = np.arange(24.0).reshape(2, 3, 4)
    device = numba_cuda.export(numba_cuda.native(host), "numba")
    np.testing.assert_array_equal(numba_cuda.export(numba_cuda.native(view(device)), "numpy"), view(host))


def test_native_does_not_copy_device_arrays():
    device = numba_cuda.export(numba_cuda.native(np.arange(6.0).reshape(2, 3)), "numba")
    numba_cuda.assign(device[:, 1:], numba_cuda.native(np.full((2, 2), 9.0)))
    np.testing.assert_array_equal(device.copy_to_host(), [[0, 9, 9], [3, 9, 9]])
    assert numba_cuda.overlaps(numba_cuda.native(device[:1]), numba_cuda.native(device))
    assert not numba_cuda.overlaps(numba_cuda.native(device[:1]), numba_cuda.native(device[1:]))


@pytest.mark.parametrize("code", [">f4", ">f8", ">i2", ">c16"])
def test_host_arrays_are_brought_to_the_byte_order_of_the_machine(code):
    host = np.arange(6).reshape(2, 3).astype(code)
    window = numba_cuda.native(host)
    assert window.dtype == np.dtype(code).newbyteorder("=")
    np.testing.assert_array_equal(numba_cuda.export(window, "numpy"), host)
    swapped = np.full(3, 7, code)
    numba_cuda.assign(swapped, numba_cuda.native(host[1]))
    np.testing.assert_array_equal(swapped, host[1])


def test_device_arrays_in_another_byte_order_are_refused():
    device = windows.cuda().to_device(np.arange(3).astype(">f4"))
    with pytest.raises(DTypeError, match=r"byte order of '>f4'"):
        numba_cuda.native(device)
    with pytest.raises(DTypeError, match=r"byte order of '>f4'"):
        numba_cuda.assign(device, numba_cuda.native(np.arange(3, dtype="f4")))


@pytest.mark.parametrize("shape", [(24,), (4, 6), (1, 12, 1, 2), (2, 2, 2, 3)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_reshape(shape, order):
    host = np.arange(24).reshape(2, 3, 4)
    window = numba_cuda.native(host)
    if order != (0, 1, 2):
        window = numba_cuda.moveaxis(window, 2, 0)
    expected = host.transpose(order).reshape(shape)
    np.testing.assert_array_equal(numba_cuda.export(numba_cuda.reshape(window, shape), "numpy"), expected)


@pytest.mark.parametrize("axes", [(0, -1), (-1, 0), (1, 2), (2, 2)])
def test_moveaxis(axes):
    host = np.arange(24).reshape(2, 3, 4)
    moved = numba_cuda.moveaxis(numba_cuda.native(host), *axes)
    np.testing.assert_array_equal(numba_cuda.export(moved, "numpy"), np.moveaxis(host, *axes))
    np.testing.assert_array_equal(
        numba_cuda.export(numba_cuda.contiguous(moved), "numpy"), np.moveaxis(host, *axes)
    )


@pytest.mark.parametrize("dtypes", [("int8", "float64"), ("float64", "float16"), ("float32", "complex64")])
def test_cast(dtypes):
    host = numbers((3, 2), dtypes[0])
    result = numba_cuda.export(numba_cuda.cast(numba_cuda.native(host), np.dtype(dtypes[1])), "numpy")
    np.testing.assert_array_equal(result, host.astype(dtypes[1]))
    assert result.dtype == dtypes[1]


def test_fields_of_packed_records_are_copied_as_bytes():
    records = np.zeros(5, np.dtype([("flag", "i1"), ("value", "f4")]))
    whole = windows.window(windows.cuda().to_device(records))
    device = replace(whole, address=whole.address + 1, dtype=np.dtype("f4")).as_numba()
    numba_cuda.assign(device, numba_cuda.native(np.arange(5.0)))
    np.testing.assert_array_equal(numba_cuda.export(numba_cuda.native(device), "numpy"), np.arange(5))


@pytest.mark.parametrize("destination", [np.zeros(2, np.float32), "device"])
def test_assign_casts_within_same_kind_only(destination):
    if isinstance(destination, str):
        destination = numba_cuda.export(numba_cuda.native(np.zeros(2, np.float32)), "numba")
    numba_cuda.assign(destination, numba_cuda.native(np.array([1.5, 2.5])))
    host = destination if isinstance(destination, np.ndarray) else destination.copy_to_host()
    np.testing.assert_array_equal(host, [1.5, 2.5])
    with pytest.raises(TypeError, match="same_kind"):
        numba_cuda.assign(destination, numba_cuda.native(np.array([1j, 2j])))


@pytest.fixture
def launched(monkeypatch):
    """What a GPU would be told: ("wait", stream), or ("launch", stream)."""
    told = []

    def stream(number=0):
        return SimpleNamespace(synchronize=lambda: told.append(("wait", number)))

    monkeypatch.setattr(windows, "is_simulated", lambda: False)
    monkeypatch.setattr(windows, "_keep_compiled", lambda function: None)
    stand_in = SimpleNamespace(
        external_stream=stream,
        default_stream=stream,
        from_cuda_array_interface=lambda interface, owner, sync: interface,
    )
    monkeypatch.setattr(windows, "cuda", lambda: stand_in)
    monkeypatch.setattr(
        windows, "_configured", lambda *how: lambda *arguments: told.append(("launch", how[3]))
    )
    return told


def queued(*streams):
    """Windows with work on those streams."""
    return [
        windows.Window(None, 0, (2,), (8,), np.dtype(np.float64), windows.Queue(stream)) for stream in streams
    ]


@pytest.mark.parametrize(
    ("streams", "joined", "waited"),
    [
        ((None, 7, 9, 7, 9), 7, {9}),
        ((None, None), 0, set()),
        ((0, None, 7), 7, {0}),  # a copy of a host array, fresh memory and the caller's
        ((0, 0), 0, set()),
    ],
)
def test_a_launch_waits_for_the_streams_that_it_does_not_join(launched, streams, joined, waited):
    windows.launch("copy", "strided_copy", (1, 1), 32, queued(*streams))
    assert launched[-1] == ("launch", joined)
    assert launched[:-1] == [("wait", stream) for stream in waited]


def test_fresh_memory_follows_the_stream_that_wrote_it(launched):
    theirs, partials, out = queued(7, None, None)
    windows.launch("copy", "strided_copy", (1, 1), 32, (theirs, partials))
    windows.launch("copy", "strided_copy", (1, 1), 32, (replace(partials, address=8), out))
    assert launched == [("launch", 7), ("launch", 7)]


# --- Status ----------------------------------------------------------------------------------------


def test_status_says_whether_it_simulates():
    assert numba_cuda.status().available
    assert ("simulator" in numba_cuda.status().reason) != REAL_GPU


@pytest.mark.parametrize(
    ("situation", "reason", "remedy"),
    [
        ({"numba-cuda": None}, "not installed", "pip install"),
        ({"numpy": "2.5.0"}, "cannot compile with NumPy 2.5.0", 'pip install "numpy<2.5"'),
        ({"cuda-bindings": None}, "without the CUDA toolkit", "vecprod-gpu[cuda13]"),
        ({"driver": None}, "no NVIDIA driver", "nvidia.com/drivers"),
        ({"driver": (12, 8)}, "runs CUDA 12.8", "vecprod-gpu[cuda12]"),
        ({"devices": 0}, "no NVIDIA GPU is visible", "CUDA_VISIBLE_DEVICES"),
        ({"disabled": "1"}, "leave the GPU alone", "NUMBA_DISABLE_CUDA"),
        ({}, "NVIDIA driver for CUDA 13.0", ""),
    ],
)
def test_status_says_what_is_missing(monkeypatch, situation, reason, remedy):
    here = {
        "numba-cuda": "0.30.4",
        "cuda-bindings": "13.0.1",
        "numpy": "2.4.6",
        "driver": (13, 0),
        "devices": 1,
        "disabled": "0",
    }
    here |= situation
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "0")
    monkeypatch.setenv("NUMBA_DISABLE_CUDA", here["disabled"])
    monkeypatch.setattr(numba_cuda, "_installed", here.get)
    monkeypatch.setattr(np, "__version__", here["numpy"])
    monkeypatch.setattr(numba_cuda._driver, "driver_version", lambda: here["driver"])
    monkeypatch.setattr(numba_cuda._driver, "device_count", lambda: here["devices"])
    status = numba_cuda.status()
    assert status.available == (remedy == "")
    assert reason in status.reason
    assert remedy in status.remedy
