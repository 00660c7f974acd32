"""Functions of vecprod_gpu itself in programs that torch compiles."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounter

import vecprod_gpu as vp


@pytest.fixture
def pair():
    torch.manual_seed(0)
    torch.compiler.reset()
    return torch.randn(2, 7, 3, dtype=torch.float64)


WHOLE = {
    "cross": (lambda a, b: vp.cross(a + 1, b) * 2, lambda a, b: torch.linalg.cross(a + 1, b) * 2),
    "batched_outer": (
        lambda a, b: vp.batched_outer(a, b).sum(0),
        lambda a, b: (a.unsqueeze(-1) * b.unsqueeze(-2)).sum(0),
    ),
}

BROKEN = {
    "outer": lambda a, b: vp.outer(a, b) * 2,
    "batched_outer with alpha": lambda a, b: vp.batched_outer(a, b, alpha=2) * 2,
    "cross along an axis": lambda a, b: vp.cross(a.T, b.T, axis=0) * 2,
    "cross of two dtypes": lambda a, b: vp.cross(a.float(), b.to(torch.int32)) * 2,
    "cross into out": lambda a, b: vp.cross(a, b, out=torch.empty_like(a)) * 2,
    "gram": lambda a, b: vp.gram(a, b, weights=b[:, 0].abs()) * 2,
    "vector_angle": lambda a, b: vp.vector_angle(a, b) * 2,
    "cov": lambda a, b: vp.cov(a, rowvar=False) * 2,
    "linreg_gradient": lambda a, b: vp.linreg_gradient(a, b[:, 0], b[0]) * 2,
}


@pytest.mark.parametrize("name", WHOLE)
def test_products_stay_in_the_graph(name, pair):
    ours, peer = WHOLE[name]
    counter = CompileCounter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = torch.compile(ours, fullgraph=True, backend=counter)(*pair)
    torch.testing.assert_close(result, peer(*pair))
    assert counter.frame_count == 1


@pytest.mark.parametrize("name", WHOLE)
def test_products_in_a_graph_carry_gradients(name, pair):
    ours, peer = WHOLE[name]
    a, b = pair.clone().requires_grad_().unbind()
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    for one, other in zip(
        *(torch.autograd.grad(call(a, b).sum(), (a, b)) for call in (compiled, peer)), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", BROKEN)
def test_other_calls_break_the_graph_and_have_their_numbers(name, pair):
    call = BROKEN[name]
    result = torch.compile(call, backend="eager")(*pair)
    expected = call(*pair)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result.numpy(), expected.numpy())


@pytest.mark.parametrize("name", BROKEN)
def test_where_no_graph_may_break_the_message_names_the_cause(name, pair):
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"the functions of vecprod_gpu\.torch"):
        torch.compile(BROKEN[name], fullgraph=True, backend="eager")(*pair)


def test_calls_on_any_number_of_vectors(pair):
    compiled = torch.compile(
        lambda a, b: vp.cross(a, b).square(), fullgraph=True, backend="eager", dynamic=True
    )
    for length in (2, 5, 9):
        a, b = torch.randn(2, length, 3)
        torch.testing.assert_close(compiled(a, b), torch.linalg.cross(a, b).square())


def test_a_program_of_arrays_beside_tensors(pair):
    host = np.arange(6.0).reshape(2, 3)

    def program(a, b):
        return vp.cross(a, b) + float(vp.cross(host, host[::-1]).sum())

    torch.testing.assert_close(torch.compile(program, backend="eager")(*pair), torch.linalg.cross(*pair))


def test_the_first_tensor_may_come_from_a_graph():
    code = (
        "import torch, vecprod_gpu as vp\n"
        "a, b = torch.randn(2, 7, 3)\n"
        "ours = torch.compile(lambda a, b: vp.cross(a, b), fullgraph=True, backend='eager')(a, b)\n"
        "torch.testing.assert_close(ours, torch.linalg.cross(a, b))\n"
        "angle = torch.compile(lambda a, b: vp.vector_angle(a, b), backend='eager')(a, b)\n"
        "torch.testing.assert_close(angle, vp.vector_angle(a, b))\n"
    )
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], check=True)
