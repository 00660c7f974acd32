"""Arrays of JAX in the functions of vecprod_gpu itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vecprod_gpu as vp
from vecprod_gpu.backends import cpu


@pytest.fixture
def pair(rng):
    return [jnp.asarray(rng.normal(size=(7, 3))) for _ in range(2)]


def test_arrays_in_and_out(pair):
    a, b = pair
    host = [np.asarray(one) for one in pair]
    calls = (vp.cross, vp.outer, vp.batched_outer, vp.gram, vp.linalg.vecdot, vp.vector_angle, vp.cov)
    for call in calls:
        result = call(a, b)
        assert isinstance(result, jax.Array)
        np.testing.assert_array_equal(result, call(*host))
    gradient, loss = vp.linreg_gradient(a, b[:, 0], b[0], return_loss=True)
    assert isinstance(gradient, jax.Array)
    assert isinstance(loss, jax.Array)
    fit = vp.linreg_fit(a, b[:, 0])
    assert isinstance(fit.predict(a), jax.Array)


def test_a_search(pair):
    X, y = pair[0], pair[1][:, 0]
    ours, theirs = (vp.linreg_search(*its, l2=[0.1, 1.0], cv=2) for its in ((X, y), map(np.asarray, (X, y))))
    assert isinstance(ours.coef, jax.Array)
    assert isinstance(ours.intercept, jax.Array)
    assert isinstance(ours.predict(X), jax.Array)
    np.testing.assert_array_equal(ours.coef, theirs.coef)
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    assert type(ours.scores) is np.ndarray
    assert ours.score(X, y) == pytest.approx(theirs.score(np.asarray(X), np.asarray(y)))


def test_inputs_are_seen_in_place(pair, monkeypatch):
    seen = []
    ours = cpu.cross
    monkeypatch.setattr(cpu, "cross", lambda *its: seen.append(its) or ours(*its))
    a = jnp.ones((200_000, 3))  # too large for the short way, which some call before may have opened
    vp.cross(a, a)
    assert seen[0][0].ctypes.data == a.unsafe_buffer_pointer()
    assert not seen[0][0].flags.writeable


def test_large_results(rng):
    a, b = (jnp.asarray(rng.normal(size=(20_000, 3))) for _ in range(2))
    np.testing.assert_array_equal(vp.cross(a, b), np.cross(a, b))


def test_out_cannot_be_written_to(pair):
    with pytest.raises(ValueError, match="out is an array of jax, which cannot be written to"):
        vp.cross(*pair, out=pair[0])
    out = np.empty((7, 3))
    assert vp.cross(*pair, out=out) is out


def test_what_is_traced_is_told_where_to_go(pair):
    for transform in (jax.jit, jax.vmap, lambda f: jax.grad(lambda a, b: f(a, b).sum())):
        with pytest.raises(TypeError, match=r"JAX is tracing: use the functions of vecprod_gpu\.jax"):
            transform(vp.cross)(*pair)


def test_results_stay_on_the_device_of_the_inputs(pair):
    a, b = pair
    assert vp.cross(a, b).devices() == a.devices()


def test_another_library_beside(pair):
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="a is an array of jax, b is an array of torch"):
        vp.cross(pair[0], torch.ones(7, 3))
