"""Tensors in the functions of vecprod_gpu itself, which come back as tensors over the same memory."""

import pickle

import numpy as np
import pytest
import torch

import vecprod_gpu as vp
from vecprod_gpu.backends import cpu


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return torch.randn(2, 7, 3, dtype=torch.float64)


CALLS = {
    "cross": lambda a, b: vp.cross(a, b),
    "outer": lambda a, b: vp.outer(a, b),
    "batched_outer": lambda a, b: vp.batched_outer(a, b, alpha=2),
    "gram": lambda a, b: vp.gram(a, b, weights=b[:, 0]),
    "vecdot": lambda a, b: vp.linalg.vecdot(a, b),
    "linalg.cross": lambda a, b: vp.linalg.cross(a, b),
    "vector_angle": lambda a, b: vp.vector_angle(a, b),
    "triple_product": lambda a, b: vp.triple_product(a, b, a + 1),
    "cov": lambda a, b: vp.cov(a, b, rowvar=False),
    "corrcoef": lambda a, b: vp.corrcoef(a),
    "batched_cov": lambda a, b: vp.batched_cov(a[None], axis=1),
    "grid_normals": lambda a, b: vp.grid_normals(a),
    "linreg_step": lambda a, b: vp.linreg_step(a, b[:, 0], b[0], 0.1),
    "one number": lambda a, b: vp.vector_angle(a[0], b[0]),
}


@pytest.mark.parametrize("name", CALLS)
def test_tensors_in_and_out(pair, name):
    result = CALLS[name](*pair)
    assert type(result) is torch.Tensor
    np.testing.assert_array_equal(result.numpy(), CALLS[name](*pair.numpy()))


def test_several_results(pair):
    a, b = pair
    gradient, loss = vp.linreg_gradient(a, b[:, 0], b[0], return_loss=True)
    assert type(gradient) is type(loss) is torch.Tensor
    assert loss.shape == ()


def test_a_fit(pair):
    X, y = pair[0], pair[1, :, 0]
    fit = vp.linreg_fit(X, y)
    assert type(fit.coef) is type(fit.intercept) is torch.Tensor
    host = vp.linreg_fit(X.numpy(), y.numpy())
    np.testing.assert_array_equal(fit.coef.numpy(), host.coef)
    np.testing.assert_array_equal(fit.predict(X).numpy(), host.predict(X.numpy()))
    np.testing.assert_array_equal(fit.predict(X.numpy()).numpy(), host.predict(X.numpy()))
    assert fit.score(X, y) == host.score(X.numpy(), y.numpy())


def test_results_are_shared_and_not_copied(pair, monkeypatch):
    seen = []
    ours = cpu.cross
    monkeypatch.setattr(cpu, "cross", lambda *its: seen.append(its) or ours(*its))
    big = torch.randn(2, 200_000, 3)  # more than what goes the short way
    out = torch.empty(200_000, 3)
    assert vp.cross(*big, out=out) is out
    addresses = [array.ctypes.data for array in seen[0][:3]]
    assert addresses == [big[0].data_ptr(), big[1].data_ptr(), out.data_ptr()]
    torch.testing.assert_close(out, torch.linalg.cross(*big))


def test_strides_are_kept(pair):
    view = pair.flip(1).transpose(0, 1)[::2]
    torch.testing.assert_close(vp.cross(view[:, 0], view[:, 1]), torch.linalg.cross(view[:, 0], view[:, 1]))


def test_an_input_may_be_out(pair):
    a, b = pair
    expected = torch.linalg.cross(a, b)
    assert vp.cross(a, b, out=a) is a
    torch.testing.assert_close(a, expected)


def test_autograd_hears_of_a_written_tensor(pair):
    a, b = pair[0].clone().requires_grad_(), pair[1].clone()
    loss = (a * b).sum()
    vp.cross(a.detach(), pair[0], out=b)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_gradient_is_not_lost_unsaid(pair):
    a, b = pair[0].requires_grad_(), pair[1]
    with pytest.raises(ValueError, match=r"vecprod_gpu\.torch\.cross, or give it tensor\.detach"):
        vp.cross(a, b)
    with pytest.raises(ValueError, match=r"use vecprod_gpu\.torch, or give it"):
        vp.vector_angle(a, b)
    with torch.no_grad():
        torch.testing.assert_close(vp.cross(a, b), torch.linalg.cross(a, b))


def test_conjugates_are_resolved():
    a = torch.randn(5, 3, dtype=torch.complex128)
    torch.testing.assert_close(vp.cross(a.conj(), a), torch.linalg.cross(a.conj(), a))
    torch.testing.assert_close(vp.gram(a.imag.clone()._neg_view()), vp.gram(a.imag.clone()))


@pytest.mark.parametrize(
    "out", [torch.zeros(7, 3).double()._neg_view(), torch.zeros(7, 3).cdouble().conj().imag]
)
def test_results_go_into_tensors_whose_numbers_lie_otherwise_in_memory(pair, out):
    a, b = pair
    assert vp.cross(a, b, out=out) is out
    assert out.is_neg()
    torch.testing.assert_close(out, torch.linalg.cross(a, b))
    before = out.clone()
    assert vp.cross(b, out, out=out) is out
    torch.testing.assert_close(out, torch.linalg.cross(b, before))


def test_a_conjugate_can_be_out():
    a, b = torch.randn(2, 5, 3, dtype=torch.complex128)
    out = torch.ones(5, 3, 3, dtype=torch.complex128).conj()
    expected = torch.einsum("bi,bj->bij", a, b)
    assert vp.batched_outer(a, b, out=out) is out
    torch.testing.assert_close(out, expected)
    vp.batched_outer(a, b, beta=1, out=out)
    torch.testing.assert_close(out, 2 * expected)


def test_a_tangent_is_not_lost_unsaid(pair):
    a, b = pair
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(a, b)
        for values in ((dual, b), (b, dual)):
            with pytest.raises(
                ValueError,
                match=r"cross was given a tensor with a tangent.*vecprod_gpu\.torch\.cross.*unpack_dual",
            ):
                vp.cross(*values)
        with pytest.raises(ValueError, match=r"cross was given a tensor with a tangent"):
            vp.cross(a, b, out=dual)
        torch.testing.assert_close(vp.cross(a, b), torch.linalg.cross(a, b))
    with pytest.raises(ValueError, match="cross was given a tensor with a tangent"):
        torch.func.jvp(lambda x: vp.cross(x, b), (a,), (b,))


def test_transforms_are_told_of_the_functions_that_they_know(pair):
    with pytest.raises(
        ValueError, match=r"cross was given a tensor without memory.*vecprod_gpu\.torch\.cross"
    ):
        torch.vmap(lambda x: vp.cross(x, x))(pair[0])


def test_tensors_that_numpy_cannot_see_are_refused_by_name(pair):
    with pytest.raises(ValueError, match=r"gram was given a tensor of layout torch\.sparse_coo.*to_dense"):
        vp.gram(pair[0].to_sparse())
    for layout in (torch.strided, torch.jagged):
        ragged = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=layout)
        with pytest.raises(ValueError, match=r"cross was given a nested tensor.*unbind"):
            vp.cross(ragged, ragged)
    with pytest.raises(TypeError, match=r"gram was given a tensor of torch\.float8_e4m3fn"):
        vp.gram(pair[0].to(torch.float8_e4m3fn))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_dtypes(dtype):
    X = torch.randn(300, 4).to(dtype)
    exact = X.double().T @ X.double()
    result = vp.gram(X)
    assert result.dtype == dtype
    torch.testing.assert_close(result, exact.to(dtype), rtol=torch.finfo(dtype).eps, atol=0.01)
    out = torch.empty(4, 4, dtype=dtype)
    assert vp.gram(X, out=out) is out
    assert torch.equal(out, result)
    assert vp.gram(X, X.float()).dtype == torch.float32
    assert vp.cov(X, rowvar=False, dtype=np.float32).dtype == torch.float32


def test_bfloat16_is_rounded_once():
    a, b = torch.randn(2, 500, 3).bfloat16()
    torch.testing.assert_close(
        vp.cross(a, b), torch.linalg.cross(a.float(), b.float()).bfloat16(), rtol=0, atol=0
    )


def test_numpy_arrays_beside_tensors(pair):
    a, b = pair
    assert type(vp.cross(a.numpy(), b)) is torch.Tensor
    assert vp.cross(a, [1.0, 2.0, 3.0]).shape == (7, 3)


def test_out_may_be_native(pair):
    a, b = pair
    out = np.empty((7, 3))
    assert vp.cross(a, b, out=out) is out


def test_tensors_without_memory_are_refused():
    with pytest.raises(TypeError, match="a tensor on meta cannot be computed there"):
        vp.cross(torch.empty(3, device="meta"), torch.empty(3, device="meta"))


def test_moments_and_selections(pair):
    X, y = pair[0], pair[1, :, 0]
    moments = vp.CoMoments().update(X[:3], y[:3]).update(X[3:], y[3:])
    np.testing.assert_array_equal(moments.xx, vp.CoMoments.from_arrays(X.numpy(), y.numpy()).xx)
    ours, theirs = (vp.select_features(*its, 2) for its in ((X, y), (X.numpy(), y.numpy())))
    np.testing.assert_array_equal(ours.indices, theirs.indices)


@pytest.mark.parametrize("targets", [np.s_[0], np.s_[:2]])
def test_a_search(pair, targets):
    X, y = pair[0], pair[1][:, targets]
    ours, theirs = (vp.linreg_search(*its, l2=[0.1, 1.0], cv=2) for its in ((X, y), (X.numpy(), y.numpy())))
    for one in (ours, pickle.loads(pickle.dumps(ours))):
        assert type(one.coef) is type(one.intercept) is type(one.fit.coef) is torch.Tensor
        np.testing.assert_array_equal(one.coef.numpy(), theirs.coef)
        np.testing.assert_array_equal(one.intercept.numpy(), theirs.intercept)
        assert type(one.predict(X)) is torch.Tensor
        np.testing.assert_array_equal(one.predict(X).numpy(), theirs.predict(X.numpy()))
        assert one.score(X, y) == theirs.score(X.numpy(), y.numpy())
        assert type(one.scores) is type(one.mean_scores) is type(one.fit.loss_history) is np.ndarray
        np.testing.assert_array_equal(one.scores, theirs.scores)
        assert (one.best_score, one.best_params) == (theirs.best_score, theirs.best_params)
        assert repr(one) == repr(theirs)
        assert one.to_dict()["mean_test_score"].tolist() == theirs.mean_scores.tolist()
    pytest.importorskip("matplotlib").use("Agg")
    assert ours.plot().lines


def test_explain_looks_through(pair):
    assert vp.explain(vp.cross, *pair).backend in ("cpu", "reference")
