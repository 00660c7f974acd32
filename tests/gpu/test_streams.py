"""The same bits on every run, stream and thread, and nothing read or freed before its time."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.gpu.operations import OPERATIONS, arrays_of

STREAMS = {
    "default": lambda cp: nullcontext(),
    "blocking": lambda cp: cp.cuda.Stream(),
    "its own": lambda cp: cp.cuda.Stream(non_blocking=True),
}

SPIN = r"""
extern "C" __global__ void spin(long long cycles) {
    const long long start = clock64();
    while (clock64() - start < cycles) {}
}
"""


@pytest.fixture
def spin(cp):
    """Occupy the current stream for some ten milliseconds."""
    kernel = cp.RawKernel(SPIN, "spin")
    kernel.compile()
    return lambda: kernel((1,), (1,), (np.int64(20_000_000),))


def bits(operation, device):
    return OPERATIONS[operation].call(*device).get().tobytes()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_hundred_runs_give_the_same_bits(cp, dialect, operation):
    device = [cp.asarray(array) for array in arrays_of(operation)]
    assert len({bits(operation, device) for _ in range(100)}) == 1


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_work_is_done_in_the_order_of_the_stream(cp, dialect, spin, operation, stream):
    """Inputs arrive late, and the result is overwritten as soon as it has been copied: all without a wait."""
    arrays = arrays_of(operation)
    expected = bits(operation, [cp.asarray(array) for array in arrays])
    sources = [cp.asarray(array) for array in arrays]
    device = [cp.zeros_like(array) for array in sources]
    cp.cuda.Device().synchronize()
    with STREAMS[stream](cp):
        for _ in range(3):
            for array in device:
                array.fill(0)
            spin()
            for array, source in zip(device, sources, strict=True):
                cp.copyto(array, source)
            result = OPERATIONS[operation].call(*device)
            copied = result.copy()
            result.fill(0)
            for array in device:
                array.fill(1)
            assert copied.get().tobytes() == expected


@pytest.mark.parametrize("stream", STREAMS)
def test_inputs_may_be_dropped_at_once(cp, dialect, spin, stream):
    """Their memory serves the next arrays while the kernels that read it are still waiting."""
    expected = {operation: bits(operation, map(cp.asarray, arrays_of(operation))) for operation in OPERATIONS}
    sources = {operation: [cp.asarray(array) for array in arrays_of(operation)] for operation in OPERATIONS}
    cp.cuda.Device().synchronize()
    with STREAMS[stream](cp):
        results = []
        for _ in range(10):
            spin()
            for operation, arrays in sources.items():
                result = OPERATIONS[operation].call(*(array.copy() for array in arrays))
                for array in arrays:
                    array.copy().fill(0)
                results.append((operation, result))
        for operation, result in results:
            assert result.get().tobytes() == expected[operation], operation


def test_two_threads_on_two_streams(cp, dialect):
    """Both call everything many times, on inputs of their own."""
    rngs = [np.random.default_rng(seed) for seed in (1, 2)]
    inputs = [{name: one.draw(rng) for name, one in OPERATIONS.items()} for rng in rngs]
    alone = [{name: bits(name, map(cp.asarray, arrays)) for name, arrays in own.items()} for own in inputs]

    def call_all(thread):
        with vp.use_backend(dialect), cp.cuda.Stream(non_blocking=True) as stream:
            device = {name: list(map(cp.asarray, arrays)) for name, arrays in inputs[thread].items()}
            for _ in range(20):
                for name in OPERATIONS:
                    results = [OPERATIONS[name].call(*device[name]) for _ in range(3)]
                    stream.synchronize()
                    assert {result.get().tobytes() for result in results} == {alone[thread][name]}, name

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(call_all, thread) for thread in range(2)]:
            done.result()


def test_a_call_does_not_wait_for_the_device(cp, spin):
    """With CuPy, whose memory comes out of a pool."""
    names = ("cross", "batched_outer", "linreg_gradient", "gram", "vector_angle")
    device = {name: [cp.asarray(array) for array in arrays_of(name)] for name in names}
    with vp.use_backend("cupy"), cp.cuda.Stream(non_blocking=True) as stream:
        for name, arrays in device.items():
            OPERATIONS[name].call(*arrays)
            stream.synchronize()
            spin()
            OPERATIONS[name].call(*arrays)
            assert not stream.done, name
            stream.synchronize()
