"""Memory of other libraries, which goes in and out without a copy."""

import numpy as np
import pytest
import torch
from numba import cuda

import vecprod_gpu as vp


@pytest.fixture
def rng():
    return np.random.default_rng()


@pytest.fixture(params=["the CUDA Array Interface", "DLPack"])
def from_torch(request, cp):
    """CuPy's view of a tensor, taken in either way."""
    view = cp.asarray if request.param == "the CUDA Array Interface" else cp.from_dlpack

    def viewed(tensor):
        array = view(tensor)
        assert array.data.ptr == tensor.data_ptr()
        return array

    return viewed


def address(numba_array):
    return numba_array.__cuda_array_interface__["data"][0]


def test_tensors_of_torch(dialect, from_torch):
    a, b = torch.randn(2, 1013, 3, device="cuda", dtype=torch.float64)
    result = vp.cross(from_torch(a), from_torch(b))
    tensor = torch.from_dlpack(result)
    assert tensor.data_ptr() == result.data.ptr
    torch.testing.assert_close(tensor, torch.linalg.cross(a, b), rtol=0, atol=1e-14)


def test_tensors_of_torch_as_out(dialect, from_torch):
    X, w = torch.randn(4099, 37, device="cuda"), torch.zeros(37, device="cuda")
    y = torch.randn(4099, device="cuda")
    step = vp.linreg_step(from_torch(X), from_torch(y), from_torch(w), 0.5, out=from_torch(w))
    assert step.data.ptr == w.data_ptr()
    torch.testing.assert_close(w, 0.5 * X.T @ y / len(y), rtol=1e-4, atol=1e-6)


def test_views_of_tensors(dialect, from_torch):
    whole = torch.randn(37, 64, 3, device="cuda")
    view = whole[::2, 5:40].transpose(0, 1)
    result = torch.from_dlpack(vp.cross(from_torch(view), from_torch(whole[0, :35, None])))
    expected = torch.linalg.cross(view, whole[0, :35, None].expand_as(view))
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


def test_streams_of_torch(cp, dialect):
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream), cp.cuda.ExternalStream(stream.cuda_stream):
        a, b = torch.randn(2, 1_000_000, 3, device="cuda")
        for _ in range(20):
            a = torch.from_dlpack(vp.cross(cp.from_dlpack(a), cp.from_dlpack(b)))
            a = a / torch.linalg.vector_norm(a, dim=-1, keepdim=True)
        normal = torch.linalg.cross(a, b)
    stream.synchronize()
    assert torch.isfinite(normal).all()
    assert (torch.linalg.vecdot(a, b).abs() < 1e-5 * torch.linalg.vector_norm(b, dim=-1)).all()


def test_numba_arrays_are_views_of_cupy_arrays(cp, dialect, rng):
    a, b = (cp.asarray(rng.standard_normal((1013, 3))) for _ in range(2))
    views = [cuda.as_cuda_array(array) for array in (a, b)]
    assert [address(view) for view in views] == [a.data.ptr, b.data.ptr]
    result = vp.cross(*views)
    assert type(result) is type(views[0])
    as_cupy = cp.asarray(result)
    assert as_cupy.data.ptr == address(result)
    np.testing.assert_allclose(as_cupy.get(), np.cross(a.get(), b.get()), rtol=0, atol=1e-14)
    out = cp.full((1013, 3), cp.nan)
    target = cuda.as_cuda_array(out)
    assert vp.cross(*views, out=target) is target
    np.testing.assert_array_equal(out.get(), as_cupy.get())


def test_numba_arrays_on_a_stream(dialect, rng):
    host = rng.standard_normal((2, 100_003, 3))
    stream = cuda.stream()
    a, b = (cuda.to_device(array, stream=stream) for array in host)
    result = vp.cross(a, b).copy_to_host(stream=stream)
    stream.synchronize()
    np.testing.assert_allclose(result, np.cross(*host), rtol=0, atol=1e-13)


def test_results_outlive_what_they_came_from(cp, dialect, rng):
    """Memory of Numba in an array of CuPy, and the other way round, is not given back too early."""
    host = rng.standard_normal((2, 1013, 3))
    results = [vp.cross(*(cuda.as_cuda_array(cp.asarray(array)) for array in host)) for _ in range(50)]
    results += [vp.cross(*(cp.asarray(cuda.to_device(array)) for array in host)) for _ in range(50)]
    for result in results:
        np.testing.assert_allclose(cp.asnumpy(cp.asarray(result)), np.cross(*host), rtol=0, atol=1e-14)
