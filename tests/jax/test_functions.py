"""What JAX's transforms make of the functions of `vecprod_gpu.jax`, on the CPU."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import vecprod_gpu as vp
import vecprod_gpu.jax as vj
from vecprod_gpu.backends import cpu

FUNCTIONS = {
    "cross": (vj.cross, ((4, 3), (4, 3))),
    "cross, one for all": (vj.cross, ((3,), (4, 3))),
    "cross along the first axis": (lambda a, b: vj.cross(a, b, 0), ((3, 4), (3, 4))),
    "batched_outer": (vj.batched_outer, ((4, 3), (2, 4, 5))),
    "gram": (vj.gram, ((6, 3),)),
    "gram with weights": (lambda X, Y, s: vj.gram(X, Y, weights=s), ((6, 3), (2, 6, 2), (6,))),
    "linreg": (lambda *its: vj.linreg_gradient(*its, l2=0.2, return_loss=True), ((6, 3), (6,), (3,))),
    "linreg with weights": (
        lambda X, y, w, s: vj.linreg_gradient(X, y, w, sample_weight=s**2 + 0.1, return_loss=True),
        ((2, 6, 3), (2, 6), (2, 3), (2, 6)),
    ),
    "linreg of two targets": (
        lambda *its: vj.linreg_gradient(*its, return_loss=True),
        ((6, 3), (6, 2), (3, 2)),
    ),
    "linreg_loss": (vj.linreg_loss, ((6, 3), (6,), (3,))),
}


@pytest.fixture(params=FUNCTIONS)
def case(request, rng):
    """A function and its arguments."""
    function, shapes = FUNCTIONS[request.param]
    return function, [jnp.asarray(rng.normal(size=shape)) for shape in shapes]


def assert_same(ours, theirs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), ours, theirs)


def stacked(results):
    return jax.tree.map(lambda *parts: jnp.stack(parts), *results)


def test_under_jit_the_numbers_are_the_same(case):
    function, arguments = case
    assert_same(jax.jit(function)(*arguments), function(*arguments))


@pytest.mark.parametrize("transform", [lambda function: function, jax.jit], ids=["eager", "jit"])
def test_gradients(case, transform):
    function, arguments = case
    check_grads(transform(function), arguments, order=2, modes=["rev"])


def test_vmap(case):
    function, arguments = case
    batches = [jnp.stack([one, 2 * one, -one]) for one in arguments]
    expected = stacked([function(*(batch[i] for batch in batches)) for i in range(3)])
    assert_same(jax.vmap(function)(*batches), expected)


def test_vmap_over_each_argument_alone(case):
    function, arguments = case
    for at, argument in enumerate(arguments):
        batch = jnp.stack([argument, 2 * argument], axis=-1)
        axes = tuple(-1 if i == at else None for i in range(len(arguments)))
        mapped = jax.jit(jax.vmap(function, axes))(*arguments[:at], batch, *arguments[at + 1 :])
        rows = [function(*arguments[:at], batch[..., i], *arguments[at + 1 :]) for i in range(2)]
        assert_same(mapped, stacked(rows))


def test_vmap_twice(case):
    function, arguments = case
    batches = [jnp.stack([jnp.stack([one, 2 * one]), jnp.stack([-one, one])]) for one in arguments]
    expected = stacked([jax.vmap(function)(*(batch[i] for batch in batches)) for i in range(2)])
    assert_same(jax.vmap(jax.vmap(function))(*batches), expected)


def test_gradients_of_each_sample(case):
    function, arguments = case
    batches = [jnp.stack([one, 2 * one]) for one in arguments]

    def total(*its):
        return sum((one**2).sum() for one in jax.tree.leaves(function(*its)))

    of_all = jax.grad(total, tuple(range(len(arguments))))
    expected = stacked([of_all(*(batch[i] for batch in batches)) for i in range(2)])
    assert_same(jax.jit(jax.vmap(of_all))(*batches), expected)


def test_complex_gradients_are_those_of_jax(rng):
    a, b = (jnp.asarray(rng.normal(size=(4, 3)) + 1j * rng.normal(size=(4, 3))) for _ in range(2))
    peers = {
        vj.cross: jnp.cross,
        vj.batched_outer: lambda a, b: a[:, :, None] * b[:, None, :],
        vj.gram: lambda a, b: a.conj().T @ b,
    }
    for ours, theirs in peers.items():
        gradients = [
            jax.grad(lambda a, b, call=call: (jnp.abs(call(a, b)) ** 2).sum(), (0, 1))(a, b)
            for call in (ours, theirs)
        ]
        assert_same(*gradients)


def test_a_gradient_of_the_loss_reads_x_once(rng, monkeypatch):
    passes = []
    ours = cpu.linreg_pass
    monkeypatch.setattr(cpu, "linreg_pass", lambda *its, **how: passes.append(1) or ours(*its, **how))
    X, y, w = (jnp.asarray(rng.normal(size=shape)) for shape in ((9, 3), (9,), (3,)))
    loss, gradient = jax.jit(jax.value_and_grad(vj.linreg_loss, 2))(X, y, w)
    assert_same((gradient, loss), vj.linreg_gradient(X, y, w, return_loss=True))
    assert len(passes) == 2  # the other one is that of the call above


def test_one_read_of_x_for_all_models_of_a_vmap(rng, monkeypatch):
    shapes = []
    ours = cpu.linreg_pass

    def spy(X, y, w, *its, **how):
        shapes.append((X.shape, w.shape))
        ours(X, y, w, *its, **how)

    monkeypatch.setattr(cpu, "linreg_pass", spy)
    X, y, w = (jnp.asarray(rng.normal(size=shape)) for shape in ((9, 3), (9,), (5, 3)))
    jax.vmap(lambda w: vj.linreg_gradient(X, y, w))(w).block_until_ready()
    assert shapes == [((1, 9, 3), (1, 3, 5))]


def test_a_gpu_is_refused_when_the_call_is_compiled(case):
    function, arguments = case
    traced = jax.jit(function).trace(*arguments)
    with pytest.raises(vp.errors.DeviceError, match="copy their arrays to the host and back"):
        traced.lower(lowering_platforms=("cuda",))


def test_large_arrays(rng):
    a, b = (jnp.asarray(rng.normal(size=(100_003, 3)), jnp.float32) for _ in range(2))
    np.testing.assert_allclose(jax.jit(vj.cross)(a, b), jnp.cross(a, b), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_dtypes(dtype, rng):
    X = jnp.asarray(rng.normal(size=(300, 4)), dtype)
    exact = X.astype(float).T @ X.astype(float)
    for call in (vj.gram, jax.jit(vj.gram), vp.gram):
        result = call(X)
        assert result.dtype == dtype
        np.testing.assert_allclose(
            result.astype(float), exact, rtol=0, atol=float(jnp.finfo(dtype).eps) * 300
        )
    assert jax.jit(vj.gram)(X, X.astype(float)).dtype == float
    assert jax.grad(lambda X: vj.gram(X).astype(float).sum())(X).dtype == dtype


def test_wrong_shapes_are_named():
    ones = jnp.ones((4, 2))
    for call in (vj.cross, jax.jit(vj.cross)):
        with pytest.raises(vp.errors.ShapeError, match="2 components"):
            call(ones, ones)
    with pytest.raises(vp.errors.ShapeError, match="do not broadcast"):
        jax.jit(vj.batched_outer)(ones, jnp.ones((3, 2)))


def test_the_examples_run():
    with jax.enable_x64(False):
        failed, attempted = doctest.testmod(vj)
    assert attempted > 10
    assert not failed
