"""Tensors on a GPU, in and out: on torch's stream, in torch's memory, through graphs and operators."""

import numpy as np
import pytest
import torch
from torch.library import opcheck

import vecprod_gpu as vp
import vecprod_gpu.torch as vt
from tests.gpu.operations import OPERATIONS, arrays_of
from tests.gpu.test_graphs import CAPTURED
from tests.torch.operators import OPERATORS, as_tuple


def tensors(arrays):
    return [torch.asarray(array, device="cuda") for array in arrays]


@pytest.fixture
def spin():
    """Occupy torch's current stream for some ten milliseconds."""
    return lambda: torch.cuda._sleep(20_000_000)


@pytest.mark.parametrize("name", OPERATIONS)
def test_tensors_in_and_out(dialect, name):
    arrays = arrays_of(name)
    result = OPERATIONS[name].call(*tensors(arrays))
    assert type(result) is torch.Tensor
    assert result.is_cuda
    OPERATIONS[name].check(result.cpu().numpy(), arrays)


@pytest.mark.parametrize("name", [name for name, one in OPERATIONS.items() if one.has_out])
def test_out(dialect, name):
    arrays = arrays_of(name)
    out = torch.full(OPERATIONS[name].expected(*arrays).shape, torch.nan, device="cuda")
    assert OPERATIONS[name].call(*tensors(arrays), out=out) is out
    OPERATIONS[name].check(out.cpu().numpy(), arrays)


def test_results_are_in_memory_of_torch():
    a, b = torch.randn(2, 1_000_003, 3, device="cuda")
    with vp.use_backend("cupy"):
        vp.cross(a, b)
        before = torch.cuda.memory_allocated()
        result = vp.cross(a, b)
        assert torch.cuda.memory_allocated() - before >= result.nbytes
        del result
        assert torch.cuda.memory_allocated() == before


@pytest.mark.parametrize("name", OPERATIONS)
def test_work_is_done_on_the_current_stream(name, spin):
    """Inputs arrive late, and the result is overwritten as soon as it has been copied: all without a wait."""
    arrays, stream = arrays_of(name), torch.cuda.Stream()
    sources = tensors(arrays)
    inputs = [torch.zeros_like(source) for source in sources]
    torch.cuda.synchronize()
    with vp.use_backend("cupy"), torch.cuda.stream(stream):
        for _ in range(3):
            spin()
            for tensor, source in zip(inputs, sources, strict=True):
                tensor.copy_(source)
            result = OPERATIONS[name].call(*inputs)
            copied = result.clone()
            result.fill_(0)
            for tensor in inputs:
                tensor.fill_(1)
            OPERATIONS[name].check(copied.cpu().numpy(), arrays)


def test_inputs_may_be_dropped_at_once(spin):
    """Their memory serves the next tensors while the kernels that read it are still waiting."""
    arrays = arrays_of("cross")
    sources, stream = tensors(arrays), torch.cuda.Stream()
    torch.cuda.synchronize()
    with vp.use_backend("cupy"), torch.cuda.stream(stream):
        results = []
        for _ in range(10):
            spin()
            results.append(vp.cross(*(source.clone() for source in sources)))
            torch.zeros_like(sources[0])
        for result in results:
            OPERATIONS["cross"].check(result.cpu().numpy(), arrays)


def test_results_are_told_to_other_streams(spin):
    """As torch's own are, by record_stream: their memory is not reused before the other stream is done."""
    arrays, other = arrays_of("cross"), torch.cuda.Stream()
    inputs = tensors(arrays)
    with vp.use_backend("cupy"):
        for _ in range(5):
            result = vp.cross(*inputs)
            other.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(other):
                spin()
                copied = result.clone()
            result.record_stream(other)
            del result
            vp.cross(*inputs).fill_(torch.nan)
            other.synchronize()
            OPERATIONS["cross"].check(copied.cpu().numpy(), arrays)


def test_a_call_does_not_wait_for_the_device(spin):
    names = ("cross", "batched_outer", "linreg_gradient", "gram", "vector_angle")
    inputs = {name: tensors(arrays_of(name)) for name in names}
    stream = torch.cuda.Stream()
    with vp.use_backend("cupy"), torch.cuda.stream(stream):
        for name, arrays in inputs.items():
            OPERATIONS[name].call(*arrays)
            stream.synchronize()
            spin()
            OPERATIONS[name].call(*arrays)
            assert not stream.query(), name
            stream.synchronize()


@pytest.mark.parametrize("name", CAPTURED)
def test_a_graph_of_torch(name):
    """A replay reads what the inputs hold by then, also with memory that the calls took for themselves."""
    operation, rng = OPERATIONS[name], np.random.default_rng()
    arrays = operation.draw(rng)
    inputs = tensors(arrays)
    out = torch.empty(operation.expected(*arrays).shape, device="cuda")
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with vp.use_backend("cupy"):
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            operation.call(*inputs, out=out)
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            operation.call(*inputs, out=out)
            fresh = operation.call(*inputs)
        for _ in range(5):
            arrays = operation.draw(rng)
            for tensor, array in zip(inputs, arrays, strict=True):
                tensor.copy_(torch.from_numpy(array))
            out.fill_(torch.nan)
            graph.replay()
            operation.check(out.cpu().numpy(), arrays)
            operation.check(fresh.cpu().numpy(), arrays)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_and_their_gradients(name):
    operator = OPERATORS[name]
    torch.manual_seed(0)
    arguments = [one.cuda().requires_grad_() for one in operator.draw()]
    compiled = torch.compile(operator.call, fullgraph=True, backend="aot_eager")
    expected = as_tuple(operator.peer(*(one.cpu() for one in arguments)))
    gradients = torch.autograd.grad(sum(one.square().sum() for one in expected), arguments)
    for call in (operator.call, compiled):
        results = as_tuple(call(*arguments))
        ours = torch.autograd.grad(sum(one.square().sum() for one in results), arguments)
        for one, other in zip((*results, *ours), (*expected, *gradients), strict=True):
            assert one.is_cuda
            torch.testing.assert_close(one.cpu(), other.cpu())


def test_torch_finds_no_fault_with_the_registration():
    a, b = (torch.randn(4, 3, device="cuda", dtype=torch.float64, requires_grad=True) for _ in range(2))
    for operator in ("cross", "batched_outer"):
        opcheck(getattr(torch.ops.vecprod_gpu, operator).default, (a, b))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_numbers(dtype):
    X = torch.randn(4099, 16, device="cuda").to(dtype)
    exact = X.double().T @ X.double()
    for call in (vp.gram, vt.gram):
        result = call(X)
        assert result.dtype == dtype
        torch.testing.assert_close(result.double(), exact, rtol=torch.finfo(dtype).eps, atol=0.5)
    with torch.autocast("cuda", dtype=dtype):
        assert vt.gram(X.float()).dtype == dtype


def test_tensors_of_two_places_are_refused():
    with pytest.raises(TypeError, match="must live in one place"):
        vp.cross(torch.ones(4, 3, device="cuda"), torch.ones(4, 3))
