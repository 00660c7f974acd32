"""What torch asks of an operator: gradients of all orders, fake tensors, vmap, autocast, whole graphs."""

import doctest

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import vmap
from torch.library import opcheck

import vecprod_gpu as vp
import vecprod_gpu.torch as vt
from tests.torch.operators import OPERATORS, as_tuple
from vecprod_gpu.backends import cpu
from vecprod_gpu.torch import _regression

COMPLEX = (
    "batched_outer",
    "batched_outer, one for all",
    "cross",
    "cross, one for all",
    "gram",
    "gram of two",
)
PAIRS = ("batched_outer", "batched_outer, one for all", "cross", "cross, one for all", "gram of two")


@pytest.fixture(params=OPERATORS)
def operator(request):
    return OPERATORS[request.param]


@pytest.fixture(autouse=True)
def _same_start():
    torch.manual_seed(0)
    torch.compiler.reset()  # it gives up on a function that it has compiled for too many shapes


def assert_same(ours, theirs, **tolerance):
    for one, other in zip(as_tuple(ours), as_tuple(theirs), strict=True):
        torch.testing.assert_close(one, other, **tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_are_those_of_torch(operator, dtype):
    arguments = operator.draw(dtype)
    assert_same(operator.call(*arguments), operator.peer(*arguments))


def test_gradients(operator):
    arguments = operator.draw(requires_grad=True)
    assert gradcheck(operator.call, arguments, check_forward_ad=True, check_batched_forward_grad=True)
    assert gradgradcheck(operator.call, arguments, check_fwd_over_rev=True, check_rev_over_rev=True)


@pytest.mark.parametrize("name", COMPLEX)
def test_gradients_of_complex_numbers(name):
    arguments = OPERATORS[name].draw(torch.complex128, requires_grad=True)
    assert gradcheck(OPERATORS[name].call, arguments, check_forward_ad=True)
    assert gradgradcheck(OPERATORS[name].call, arguments, check_fwd_over_rev=True)


def test_gradients_are_those_of_torch(operator):
    arguments = operator.draw(torch.float32, requires_grad=True)
    ours, theirs = (
        torch.autograd.grad(sum((one * one.detach()).sum() for one in as_tuple(call(*arguments))), arguments)
        for call in (operator.call, operator.peer)
    )
    assert_same(ours, theirs, rtol=1e-4, atol=1e-4)


def total_of_squares(call):
    return lambda *arguments: sum(one.square().sum() for one in as_tuple(call(*arguments)))


@pytest.mark.parametrize("outer", [torch.func.jacfwd, torch.func.jacrev])
def test_second_derivatives_by_both_modes_are_those_of_torch(outer, operator):
    arguments = operator.draw()
    inner = torch.func.jacrev if outer is torch.func.jacfwd else torch.func.jacfwd
    each = tuple(range(len(arguments)))
    ours, theirs = (
        outer(inner(total_of_squares(call), argnums=each), argnums=each)(*arguments)
        for call in (operator.call, operator.peer)
    )
    for one, other in zip(ours, theirs, strict=True):
        assert_same(one, other)


def test_derivatives_that_torch_would_lose_are_refused(operator):
    arguments = operator.draw()
    twice = torch.func.jacfwd(torch.func.jacfwd(total_of_squares(operator.call)))
    with pytest.raises(ValueError, match=r"forward mode within forward mode.*torch\.func\.hessian"):
        twice(*arguments)


def test_a_tangent_of_w_alone_takes_no_more_than_one_pass(monkeypatch):
    monkeypatch.setattr(_regression, "along_data", None)
    X, y, w, v = (torch.randn(shape, dtype=torch.float64) for shape in ((6, 3), (6,), (3,), (3,)))
    _, tangent = torch.func.jvp(lambda w: vt.linreg_gradient(X, y, w), (w,), (v,))
    assert_same(tangent, X.T @ (X @ v) / len(X))


def draw(*shapes):
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("batched_outer", lambda: draw((4, 3), (4, 2))),
        ("outer_adjoint", lambda: draw((4, 3, 2), (3,), (4, 2))),
        ("cross", lambda: draw((3,), (4, 3))),
        ("gram", lambda: [*draw((5, 3)), None, *draw((5,))]),
        ("gram", lambda: [*draw((5, 3), (2, 5, 2)), None]),
        ("linreg_gradient", lambda: [*draw((6, 3), (6,), (3,)), None, 0.1]),
        ("linreg_gradient", lambda: [*draw((2, 6, 3), (2, 6), (2, 3)), torch.rand(2, 6).double(), 0.0]),
    ],
)
def test_torch_finds_no_fault_with_the_registration(name, arguments):
    opcheck(getattr(torch.ops.vecprod_gpu, name).default, arguments())


def test_a_compiled_graph_is_whole(operator):
    """Forwards and backwards, without a compiler of C++ between."""
    compiled = torch.compile(operator.call, fullgraph=True, backend="aot_eager")
    arguments = operator.draw(requires_grad=True)
    ours, theirs = compiled(*arguments), operator.call(*arguments)
    assert_same(ours, theirs, rtol=0, atol=0)
    for one, other in zip(as_tuple(ours), as_tuple(theirs), strict=True):
        assert_same(
            torch.autograd.grad(one.sum(), arguments, retain_graph=True, allow_unused=True),
            torch.autograd.grad(other.sum(), arguments, retain_graph=True, allow_unused=True),
        )


@pytest.mark.parametrize("transform", ["grad", "jvp", "hessian", "vmap of grad"])
def test_transforms_in_a_compiled_program(transform):
    """They break its graph, and give the same."""
    a, b, c = torch.randn(3, 4, 3, dtype=torch.float64)

    def program(cross):
        def square(x):
            return cross(x, b).square()

        return {
            "grad": lambda: torch.func.grad(lambda x: square(x).sum())(a),
            "jvp": lambda: torch.func.jvp(square, (a,), (c,)),
            "hessian": lambda: torch.func.hessian(lambda x: square(x).sum())(a),
            "vmap of grad": lambda: vmap(torch.func.grad(lambda x: square(x).sum()))(torch.stack([a, c])),
        }[transform]

    result = torch.compile(program(vt.cross), backend="aot_eager")()
    assert_same(result, program(torch.linalg.cross)())


def test_vmap_stays_in_a_compiled_graph():
    a, b, c = torch.randn(3, 4, 3)
    mapped = torch.compile(vmap(lambda x: vt.cross(x, b) * 2), fullgraph=True, backend="aot_eager")
    both = torch.stack([a, c])
    assert_same(mapped(both), 2 * torch.linalg.cross(both, b.expand(both.shape)))


def test_a_compiled_graph_takes_any_length():
    compiled = torch.compile(
        lambda a, b: vt.cross(a, b).square(), fullgraph=True, backend="aot_eager", dynamic=True
    )
    for length in (2, 5, 9):
        a, b = torch.randn(2, length, 3)
        assert_same(compiled(a, b), torch.linalg.cross(a, b).square())


def test_inductor_keeps_the_numbers():
    def normal(a, b):
        return torch.nn.functional.normalize(vt.cross(a + 1, b), dim=-1)

    a, b = torch.randn(2, 7, 3)
    assert_same(torch.compile(normal, fullgraph=True)(a, b), normal(a, b))


def test_vmap(operator):
    arguments = [torch.stack([one, one.flip(0), 2 * one]) for one in operator.draw()]
    rows = [operator.call(*(one[i] for one in arguments)) for i in range(3)]
    expected = [torch.stack(parts) for parts in zip(*map(as_tuple, rows), strict=True)]
    assert_same(as_tuple(vmap(operator.call)(*arguments)), tuple(expected))


def test_vmap_over_each_argument_alone(operator):
    whole = operator.draw()
    for at, argument in enumerate(whole):
        stacked = torch.stack([argument, 2 * argument, -argument], dim=-1)
        in_dims = tuple(-1 if i == at else None for i in range(len(whole)))
        rows = [operator.call(*whole[:at], stacked[..., i], *whole[at + 1 :]) for i in range(3)]
        expected = [torch.stack(parts) for parts in zip(*map(as_tuple, rows), strict=True)]
        mapped = vmap(operator.call, in_dims)(*whole[:at], stacked, *whole[at + 1 :])
        assert_same(as_tuple(mapped), tuple(expected))


def test_gradients_of_each_sample(operator):
    """As torch.func has it: grad within vmap."""
    arguments = [torch.stack([one, 2 * one]) for one in operator.draw()]
    ours, theirs = (
        vmap(torch.func.grad(total_of_squares(call), tuple(range(len(arguments)))))(*arguments)
        for call in (operator.call, operator.peer)
    )
    assert_same(ours, theirs)


def test_one_read_of_x_for_all_models_of_a_vmap(monkeypatch):
    X, y = torch.randn(9, 3), torch.randn(9)
    shapes = []
    ours = cpu.linreg_pass

    def spy(X, y, w, *its, **how):
        shapes.append((X.shape, w.shape))
        ours(X, y, w, *its, **how)

    monkeypatch.setattr(cpu, "linreg_pass", spy)
    vmap(lambda w: vt.linreg_gradient(X, y, w))(torch.randn(5, 3))
    assert shapes == [((1, 9, 3), (1, 3, 5))]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast(dtype):
    X, y, w = torch.randn(9, 3), torch.randn(9), torch.randn(3)
    with torch.autocast("cpu", dtype=dtype):
        assert vt.gram(X).dtype == (X.T @ X).dtype == dtype
        assert vt.batched_outer(w, w).dtype == dtype
        assert vt.cross(X, X.to(dtype)).dtype == torch.float32
        assert vt.linreg_loss(X.to(dtype), y, w.to(dtype)).dtype == torch.float32
        assert vt.gram(X.double()).dtype == torch.float64
        assert_same(vt.gram(X), gram := vt.gram(X.to(dtype)))
        weights = X.clone().requires_grad_()
        vt.gram(weights).float().sum().backward()
    assert gram.dtype == dtype
    assert weights.grad.dtype == torch.float32


@pytest.mark.parametrize("name", PAIRS)
def test_dtypes_are_promoted_as_torch_does(name):
    a, b = OPERATORS[name].draw(torch.float32)
    a, b = a.requires_grad_(), b.half().requires_grad_()
    result = OPERATORS[name].call(a, b)
    assert result.dtype == torch.float32
    result.sum().backward()
    assert (a.grad.dtype, b.grad.dtype) == (torch.float32, torch.float16)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_numbers_are_summed_wide(dtype):
    X = torch.ones(5000, 2, dtype=dtype)  # a running sum in bfloat16 would stop at 256, in float16 at 2048
    assert_same(vt.gram(X), torch.full((2, 2), 5000.0).to(dtype))
    gradient = vt.linreg_gradient(X, torch.zeros(5000, dtype=dtype), torch.ones(2, dtype=dtype))
    assert_same(gradient, torch.full((2,), 2.0, dtype=dtype))


def test_a_loss_is_trained_by_one_read_of_x_each_step(monkeypatch):
    passes = []
    ours = cpu.linreg_pass
    monkeypatch.setattr(cpu, "linreg_pass", lambda *its, **how: passes.append(1) or ours(*its, **how))
    X = torch.randn(200, 3)
    w = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.SGD([w], lr=0.5)
    for _ in range(100):
        optimiser.zero_grad()
        vt.linreg_loss(X, X @ torch.tensor([1.0, -2.0, 0.5]), w).backward()
        optimiser.step()
    torch.testing.assert_close(w.detach(), torch.tensor([1.0, -2.0, 0.5]), rtol=0, atol=1e-4)
    assert len(passes) == 100


def test_the_examples_run():
    for module in (vt._products, vt._regression):
        failed, attempted = doctest.testmod(module)
        assert attempted > 4
        assert not failed


@pytest.mark.parametrize(
    ("call", "shapes"),
    [
        (vt.cross, ((4, 2), (4, 2))),
        (vt.batched_outer, ((4, 3), (5, 3))),
        (vt.gram, ((4, 3), (5, 3))),
        (vt.linreg_gradient, ((4, 3), (5,), (3,))),
    ],
)
def test_wrong_shapes_are_named(call, shapes):
    with pytest.raises(vp.errors.ShapeError):
        call(*map(torch.ones, shapes))


@pytest.mark.parametrize("call", [vt.linreg_gradient, vt.linreg_loss])
@pytest.mark.parametrize("name", ["X", "y", "w", "sample_weight"])
@pytest.mark.parametrize("value", [np.ones(3), [1.0, 1.0, 1.0], None])
def test_what_is_no_tensor_is_named(call, name, value):
    given = {"X": torch.ones(3, 3), "y": torch.ones(3), "w": torch.ones(3), "sample_weight": torch.ones(3)}
    given[name] = value
    if value is None and name == "sample_weight":
        call(**given)
        return
    kind = type(value).__name__
    with pytest.raises(vp.errors.DTypeError, match=f"{name} must be a Tensor, not {kind}"):
        call(given.pop("X"), given.pop("y"), given.pop("w"), **given)
