"""Calls that CuPy captures in a CUDA graph, replayed on inputs that have changed since."""

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.gpu.operations import OPERATIONS

# All but normals, which wait for the device, or copy their steps from the host.
CAPTURED = (
    "cross",
    "batched_outer",
    "outer",
    "gram",
    "vector_angle",
    "triple_product",
    "linreg_gradient",
    "linreg_step",
)


def captured(cp, stream, call):
    """Graph of what `call` launches, made once before so that kernels are compiled and memory is at hand."""
    call()
    stream.synchronize()
    stream.begin_capture()
    call()
    return stream.end_capture()


@pytest.mark.parametrize("name", CAPTURED)
def test_a_replay_reads_what_the_inputs_hold_by_then(cp, name):
    operation, rng = OPERATIONS[name], np.random.default_rng()
    arrays = operation.draw(rng)
    with vp.use_backend("cupy"), cp.cuda.Stream(non_blocking=True) as stream:
        device = [cp.asarray(array) for array in arrays]
        out = cp.empty(operation.expected(*arrays).shape, np.float32)
        graph = captured(cp, stream, lambda: operation.call(*device, out=out))
        for _ in range(5):
            arrays = operation.draw(rng)
            for array, host in zip(device, arrays, strict=True):
                array[...] = cp.asarray(host)
            out.fill(cp.nan)
            graph.launch(stream)
            operation.check(out.get(), arrays)


def test_many_steps_in_one_graph(cp):
    """A descent whose every step starts where the last one led."""
    rng = np.random.default_rng()
    X, y = rng.standard_normal((4099, 37)), rng.standard_normal(4099)
    with vp.use_backend("cupy"), cp.cuda.Stream(non_blocking=True) as stream:
        device_X, device_y, w = cp.asarray(X), cp.asarray(y), cp.zeros(37)

        def descend():
            for _ in range(20):
                vp.linreg_step(device_X, device_y, w, 0.1, out=w)

        graph = captured(cp, stream, descend)
        w.fill(0)
        expected = np.zeros(37)
        for _ in range(3):
            graph.launch(stream)
            for _ in range(20):
                expected -= 0.1 * X.T @ (X @ expected - y) / len(y)
        np.testing.assert_allclose(w.get(), expected, rtol=1e-9, atol=1e-12)
