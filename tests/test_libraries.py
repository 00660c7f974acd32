"""Arrays of libraries that follow the Array API, and of Dask and ml_dtypes, in the public functions."""

import sys
import types

import array_api_strict as xp
import dask.array as da
import ml_dtypes
import numpy as np
import pytest

import vecprod_gpu as vp
from vecprod_gpu._libraries import _known
from vecprod_gpu._libraries._library import Library, _Held
from vecprod_gpu.backends import cpu

CALLS = {
    "cross": vp.cross,
    "outer": vp.outer,
    "batched_outer": vp.batched_outer,
    "gram": lambda a, b: vp.gram(a, b, weights=a[:, 0]),
    "linalg.outer": lambda a, b: vp.linalg.outer(a[0, :], b[0, :]),
    "linalg.cross": lambda a, b: vp.linalg.cross(a, b, axis=-1),
    "linalg.vecdot": vp.linalg.vecdot,
    "vector_angle": vp.vector_angle,
    "parallelogram_area": vp.parallelogram_area,
    "triangle_area": lambda a, b: vp.triangle_area(a, b, b),
    "triple_product": lambda a, b: vp.triple_product(a, b, a),
    "grid_normals": lambda a, b: vp.grid_normals(a),
    "cov": lambda a, b: vp.cov(a, rowvar=False),
    "corrcoef": lambda a, b: vp.corrcoef(a),
    "batched_cov": lambda a, b: vp.batched_cov(a, axis=0),
    "linreg_gradient": lambda a, b: vp.linreg_gradient(a, b[:, 0], b[0, :]),
    "linreg_step": lambda a, b: vp.linreg_step(a, b[:, 0], b[0, :], 0.1),
    "predict": lambda a, b: vp.linreg_fit(a, b[:, 0]).predict(a),
    "one number": lambda a, b: vp.vector_angle(a[0, :], b[0, :]),
}


@pytest.fixture
def pair(rng):
    return rng.normal(size=(7, 3)), rng.normal(size=(7, 3))


@pytest.mark.parametrize("name", CALLS)
def test_the_array_api_in_and_out(pair, name):
    result = CALLS[name](*map(xp.asarray, pair))
    assert type(result) is type(xp.asarray(0))
    np.testing.assert_array_equal(np.from_dlpack(result), CALLS[name](*pair))


@pytest.mark.parametrize("dtype", [xp.float32, xp.int64, xp.complex64, xp.uint8])
def test_dtypes_are_kept(pair, dtype):
    a, b = (xp.astype(xp.asarray(one), dtype) for one in pair)
    assert vp.cross(a, b).dtype == dtype


def test_the_device_is_respected(pair):
    device = xp.Device("device1")
    a, b = (xp.asarray(one, device=device) for one in pair)
    result = vp.cross(a, b)
    assert result.device == device
    np.testing.assert_array_equal(np.from_dlpack(result.to_device(xp.Device("CPU_DEVICE"))), np.cross(*pair))


def test_memory_is_shared(pair, monkeypatch):
    seen = []
    ours = cpu.cross
    monkeypatch.setattr(cpu, "cross", lambda *its: seen.append(its) or ours(*its))
    a = xp.asarray(np.ones((100_000, 3)))
    out = xp.empty((100_000, 3))
    assert vp.cross(a, a, out=out) is out
    assert [one.ctypes.data for one in seen[0][:3]] == [
        np.from_dlpack(one).ctypes.data for one in (a, a, out)
    ]
    assert not np.from_dlpack(out).any()


def test_a_read_only_out_is_refused(pair):
    frozen = np.zeros((7, 3))
    frozen.flags.writeable = False
    a, out = xp.asarray(pair[0]), xp.asarray(frozen, copy=False)
    with pytest.raises((ValueError, BufferError), match=r"read-?only"):
        vp.cross(a, a, out=out)
    assert not frozen.any()


def test_two_libraries_are_named(pair):
    a, b = pair
    with pytest.raises(TypeError, match="a is an array of the Array API, b is an array of dask"):
        vp.cross(xp.asarray(a), da.from_array(b))


class Exported:
    """What can be exported by DLPack, and no more."""

    def __init__(self, array, device=(1, 0)):
        self._array, self._device, self.dtype = array, device, array.dtype

    def __dlpack__(self, **how):
        return self._array.__dlpack__(**how)

    def __dlpack_device__(self):
        return self._device


def test_dlpack_alone_gives_numpy_arrays(pair):
    result = vp.cross(*map(Exported, pair))
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, np.cross(*pair))


def test_a_device_that_is_out_of_reach(pair):
    elsewhere = Exported(pair[0], (8, 0))
    with pytest.raises(vp.errors.DeviceError, match="can be shared neither with NumPy nor with CuPy"):
        vp.cross(elsewhere, elsewhere)


def test_device_memory_is_held_until_it_has_been_read(monkeypatch):
    """An event tells when that is; here it is one that tells when it is told."""
    events = []

    class Event:
        def __init__(self, disable_timing):
            self.done = False
            events.append(self)

        def record(self):
            pass

    monkeypatch.setattr(sys.modules["cupy"].cuda, "Event", Event, raising=False)
    held = _Held()
    first, second = types.SimpleNamespace(), types.SimpleNamespace()
    held.until_read([first])
    held.until_read([second])
    assert [views for _, views in held._pending] == [[first], [second]]
    events[0].done = True
    held.until_read([])
    assert [views for _, views in held._pending] == [[second]]


@pytest.mark.parametrize("name", ["cross", "batched_outer", "gram", "linreg_gradient", "vector_angle"])
def test_bfloat16_of_numpy(pair, name):
    a, b = (one.astype(ml_dtypes.bfloat16) for one in pair)
    result = CALLS[name](a, b)
    assert result.dtype == ml_dtypes.bfloat16
    wide = CALLS[name](a.astype(np.float32), b.astype(np.float32))
    np.testing.assert_array_equal(result, wide.astype(ml_dtypes.bfloat16))


def test_bfloat16_beside_wider_numbers(pair):
    a = pair[0].astype(ml_dtypes.bfloat16)
    assert vp.gram(a, pair[1]).dtype == np.float64
    single = pair[1].astype(np.float32)
    for result in (vp.cross(a, single), vp.cross(single, a), vp.gram(a, weights=single[:, 0])):
        assert result.dtype == np.float32
    np.testing.assert_array_equal(vp.cross(a, single), np.cross(a.astype(np.float32), single))
    assert vp.cross(a, single[:1].astype(np.float16)).dtype == np.float32
    assert vp.cross(a, np.ones(3, np.int8)).dtype == a.dtype
    assert vp.cov(a, rowvar=False, dtype=np.float32).dtype == np.float32
    out = np.zeros((3, 3), ml_dtypes.bfloat16)
    assert vp.gram(a, out=out) is out
    np.testing.assert_array_equal(out, vp.gram(a))


LAZY = {
    "cross": (vp.cross, 2, {}),
    "cross along another axis": (vp.cross, 2, {"axis": 0}),
    "cross from axis to axis": (vp.cross, 2, {"axisc": 0}),
    "batched_outer": (vp.batched_outer, 2, {"alpha": 2.0}),
    "linalg.cross": (vp.linalg.cross, 2, {}),
    "vecdot": (vp.linalg.vecdot, 2, {"axis": 1}),
    "vector_angle": (vp.vector_angle, 2, {}),
    "parallelogram_area": (vp.parallelogram_area, 2, {"axis": 1}),
    "triangle_area": (vp.triangle_area, 3, {}),
    "triple_product": (vp.triple_product, 3, {"axis": 0}),
}


@pytest.mark.parametrize("name", LAZY)
def test_dask_stays_lazy(rng, name):
    function, count, how = LAZY[name]
    arrays = [rng.normal(size=(3, 9, 3)) for _ in range(count)]
    if name == "vecdot":
        arrays = [rng.normal(size=(3, 8, 4)) for _ in range(count)]
    elif how.get("axis") == 1:
        arrays = [array.swapaxes(1, 2) for array in arrays]
    result = function(*(da.from_array(array, chunks=2) for array in arrays), **how)
    assert isinstance(result, da.Array)
    expected = function(*arrays, **how)
    assert result.shape == expected.shape
    np.testing.assert_array_equal(result.compute(), expected)


def test_dask_beside_numpy(pair):
    a, b = pair
    assert isinstance(vp.cross(da.from_array(a), b), da.Array)
    assert isinstance(vp.cross(a, da.from_array(b)), da.Array)


def test_what_looks_at_all_rows_computes_dask(pair):
    result = vp.batched_cov(da.from_array(pair[0], chunks=3))
    np.testing.assert_array_equal(result, vp.batched_cov(pair[0]))


def test_dask_has_no_out(pair):
    with pytest.raises(ValueError, match="out is an array of dask"):
        vp.cross(*pair, out=da.zeros((7, 3)))


def test_native_arrays_have_no_library(pair):
    natives = (*pair, 1, 2.5, None, [1, 2], np.float32(1), np.ma.ones(3), "numpy", vp.linreg_fit)
    assert _known.library_of(*natives) is None
    assert isinstance(_known.library_of(xp.asarray(1)), Library)
