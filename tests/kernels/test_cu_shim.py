"""The .cu kernels through the ``cupy`` backend, against float64 oracles: on a GPU, or through the shim."""

import numpy as np
import pytest

from tests.kernels import checks
from tests.kernels.checks import INTEGERS, bits, random, shifted
from tests.shim import fake_cupy
from tests.shim.build import ShimError, build
from vecprod_gpu import _compile
from vecprod_gpu.backends import cupy_raw
from vecprod_gpu.backends._device import launcher, products
from vecprod_gpu.errors import DeviceError

FLOATING = "efdFD"
CONTRACTED_BY_NUMPY = "FD"  # its complex products may use fused multiply-adds


# --- Outer products --------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [*FLOATING, *INTEGERS, "?"])
def test_outer_of_every_dtype(cupy, rng, code):
    for batch, m, n in [((), 1, 1), ((3,), 2, 3), ((5,), 3, 17), ((2, 3), 4, 16)]:
        a, b = random(rng, (*batch, m), code), random(rng, (*batch, n), code)
        plain = checks.batched_outer(cupy, cupy.asarray(a), cupy.asarray(b))
        if code not in CONTRACTED_BY_NUMPY:
            np.testing.assert_array_equal(plain.get(), a[..., :, None] * b[..., None, :])


@pytest.mark.parametrize("code", [*FLOATING, "i", "B"])
def test_outer_with_alpha_and_beta(cupy, rng, code):
    a, b, previous = (random(rng, shape, code) for shape in [(3, 5), (3, 7), (3, 5, 7)])
    arguments = {"alpha": 3, "beta": 2, "previous": previous}
    checks.batched_outer(cupy, cupy.asarray(a), cupy.asarray(b), **arguments)


def test_outer_keeps_complex_infinities_as_numpy_does(cupy):
    a, b = np.array([complex(np.inf, 0), 1j], "F"), np.array([1, 2], "F")
    out = cupy.empty((2, 2), "F")
    cupy_raw.batched_outer(cupy.asarray(a), cupy.asarray(b), np.complex64(1), np.complex64(0), out)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(out.get(), np.multiply.outer(a, b))


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [
        ((4, 1, 3), (1, 6, 5)),
        ((2, 1, 3, 1, 4), (1, 5, 1, 2, 3)),
        ((3,), (7, 2, 4)),
        ((0, 3), (0, 4)),
        ((2, 0), (2, 3)),
    ],
)
def test_outer_broadcasts(cupy, rng, a_shape, b_shape):
    checks.batched_outer(
        cupy, cupy.asarray(random(rng, a_shape, "f")), cupy.asarray(random(rng, b_shape, "f"))
    )


def test_outer_reads_any_strides(cupy, rng):
    a, b = cupy.asarray(random(rng, (6, 4, 10), "f")), cupy.asarray(random(rng, (10, 4, 12), "f"))
    checks.batched_outer(cupy, a[::-1, :, ::2], b[4:, :, ::-1])
    checks.batched_outer(cupy, cupy.moveaxis(a, 0, 1), cupy.moveaxis(b[:6], 0, 1))
    checks.batched_outer(cupy, cupy.moveaxis(a, 2, 0), b[:, :1])


def test_outer_writes_any_strides(cupy, rng):
    a, b, previous = (random(rng, shape, "f") for shape in [(3, 5), (3, 8), (3, 5, 8)])
    whole = cupy.asarray(np.full((3, 8, 10), np.nan, "f"))
    out = cupy.moveaxis(whole, 1, 2)[:, ::2]
    for arguments in ({}, {"beta": 2, "previous": previous}):
        checks.batched_outer(cupy, cupy.asarray(a), cupy.asarray(b), out=out, **arguments)
    assert np.isnan(whole.get()[:, :, 1::2]).all()


@pytest.mark.parametrize("columns", [16, 21])
@pytest.mark.parametrize("code", "Bfd")
def test_outer_has_the_same_bits_wherever_arrays_start(cupy, rng, code, columns):
    a, b = random(rng, (5, 9), code), random(rng, (5, columns), code)
    expected = bits(checks.batched_outer(cupy, cupy.asarray(a), cupy.asarray(b)))
    for places in [(1, 0, 0), (0, 1, 0), (0, 3, 1), (1, 1, 3)]:
        out = shifted(cupy, np.zeros((5, 9, columns), code), places[2])
        views = [shifted(cupy, array, place) for array, place in zip((a, b), places, strict=False)]
        assert bits(checks.batched_outer(cupy, *views, out=out)) == expected


OUTER_WAYS = {
    "long rows": ((2, 7), (2, 1056)),
    "long rows of a nested batch": ((2, 1, 3), (3, 1024)),
    "whole rows": ((41, 5), (41, 48)),
    "two rows": ((23, 5), (23, 35)),
    "many rows": ((97, 3), (97, 3)),
    "single columns": ((67, 5), (67, 1)),
    "a nested batch": ((13, 1, 5), (4, 6)),
}
"""Shapes for each way in which ``outer.cu`` fetches factors; rows are long for 64 threads a block."""


@pytest.mark.parametrize("scalars", [{}, {"alpha": 3, "beta": 2}], ids=["plain", "scaled"])
@pytest.mark.parametrize("code", "eBfD")
@pytest.mark.parametrize("way", OUTER_WAYS)
def test_outer_has_the_same_bits_for_any_grid(cupy, rng, monkeypatch, way, code, scalars):
    a, b = (random(rng, shape, code) for shape in OUTER_WAYS[way])
    shape = (*np.broadcast_shapes(a.shape[:-1], b.shape[:-1]), a.shape[-1], b.shape[-1])
    previous = random(rng, shape, code) if scalars else None
    results = set()
    for threads, blocks in [(64, 65535), (64, 1), (256, 2)]:
        monkeypatch.setattr(cupy_raw._LAUNCHER, "threads", threads, raising=False)
        monkeypatch.setattr(cupy_raw._LAUNCHER, "max_blocks", blocks, raising=False)
        out = checks.batched_outer(cupy, cupy.asarray(a), cupy.asarray(b), previous=previous, **scalars)
        results.add(bits(out))
    assert len(results) == 1


@pytest.mark.parametrize(
    ("limit", "lower_limit"),
    [
        ("element >> 31 == 0", "element >> 5 == 0"),
        ("(problems | m | n) >> 31", "(problems | m | n) >> 5"),
    ],
)
def test_outer_past_the_range_of_32_bits(rng, limit, lower_limit):
    """As if 32 bits were 6, so that a small array goes past them."""

    def lowered(source):
        assert source.count(limit) == 1
        return source.replace(limit, lower_limit)

    with fake_cupy.install(edit=lowered) as cupy:
        for a_shape, b_shape in OUTER_WAYS.values():
            a, b = random(rng, a_shape, "f"), random(rng, b_shape, "f")
            checks.batched_outer(cupy, cupy.asarray(a), shifted(cupy, b))


def test_positions_are_divided_exactly(rng):
    """Digits and divisors of up to 32 bits, and above all those about which a quotient changes."""
    source = (
        'extern "C" __global__ void divided(unsigned* digits, const unsigned* values, unsigned* carries) {\n'
        "    const index_t i = thread_in_grid();\n"
        "    carries[i] = divisor_t<unsigned>(values[i]).carry(digits[i]);\n}\n"
    )
    module = build(_compile.source("outer", np.dtype("f"), np.dtype("f")) + source)
    values = rng.integers(1, 2 ** rng.integers(1, 33, 4096), dtype=np.uint64)
    values[:5] = 1, 2, 3, 2**31, 2**32 - 1
    nearest = values * rng.integers(0, 2**32 // values, dtype=np.uint64, endpoint=True)
    digits = np.stack([nearest, nearest - 1, nearest + 1, np.full_like(values, 2**32 - 1)]) % 2**32
    remainders, carries = digits.astype(np.uint32), np.zeros(digits.shape, np.uint32)
    divisors = np.tile(values, (len(digits), 1)).astype(np.uint32)
    addresses = [np.uint64(array.ctypes.data) for array in (remainders, divisors, carries)]
    module.launch("divided", (digits.size // 256,), 256, addresses)
    np.testing.assert_array_equal(carries, digits // values)
    np.testing.assert_array_equal(remainders, digits % values)


@pytest.mark.parametrize(
    ("name", "value"), [("CHUNKS_AT_ONCE", products.CHUNKS_AT_ONCE), ("THREADS", launcher.THREADS)]
)
def test_outer_and_host_agree_on(name, value):
    assert f" {name} = {value};" in _compile.source("outer", np.dtype("f"), np.dtype("f"))


def test_products_keep_subnormal_numbers(cupy):
    a, b = np.array([1, 3, -5], "f") * np.float32(1e-25), np.array([7, -2, 1], "f") * np.float32(1e-15)
    for multiply, expected in [(checks.batched_outer, np.outer(a, b)), (checks.cross, np.cross(a, b))]:
        assert expected.any()
        np.testing.assert_array_equal(multiply(cupy, *map(cupy.asarray, (a, b))).get(), expected)


# --- Cross products --------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [*FLOATING, *INTEGERS])
def test_cross_of_every_dtype(cupy, rng, code):
    for count in (0, 1, 3, 4, 5, 16, 67):
        a, b = random(rng, (count, 3), code), random(rng, (count, 3), code)
        out = checks.cross(cupy, cupy.asarray(a), cupy.asarray(b))
        if code not in CONTRACTED_BY_NUMPY:
            np.testing.assert_array_equal(out.get(), np.cross(a, b))


@pytest.mark.parametrize("code", FLOATING)
def test_cross_with_itself_is_exactly_zero(cupy, rng, code):
    a = cupy.asarray(random(rng, (101, 3), code))
    assert not checks.cross(cupy, a, a).get().any()
    assert not checks.cross(cupy, a[::2], a[::2]).get().any()


@pytest.mark.parametrize("code", "efdDh")
def test_cross_has_the_same_bits_wherever_arrays_start(cupy, rng, code):
    a, b = random(rng, (53, 3), code), random(rng, (53, 3), code)
    expected = bits(checks.cross(cupy, cupy.asarray(a), cupy.asarray(b)))
    for places in [(1, 1, 1), (3, 3, 3), (0, 1, 2), (1, 0, 0)]:
        views = [shifted(cupy, array, place) for array, place in zip((a, b, a), places, strict=True)]
        assert bits(checks.cross(cupy, *views)) == expected


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("code", "efD")
def test_cross_may_overwrite_an_operand(cupy, rng, code, start):
    a, b = random(rng, (2, 667, 3), code)
    for alias in (0, 1):
        operands = [shifted(cupy, array, start) for array in (a, b)]
        checks.cross(cupy, *operands, out=operands[alias])
    alone = cupy.asarray(a)
    assert not checks.cross(cupy, alone, alone, out=alone).get().any()


@pytest.mark.parametrize("code", "eBfD")
def test_cross_has_the_same_bits_for_any_grid(cupy, rng, monkeypatch, code):
    a, b = random(rng, (2, 1207, 3), code)
    results = set()
    for threads, blocks in [(64, 65535), (64, 1), (256, 2)]:
        monkeypatch.setattr(cupy_raw._LAUNCHER, "threads", threads, raising=False)
        monkeypatch.setattr(cupy_raw._LAUNCHER, "max_blocks", blocks, raising=False)
        operands = [shifted(cupy, array, 1 - blocks % 2) for array in (a, b)]
        results.add(bits(checks.cross(cupy, *operands)))
        results.add(bits(checks.cross(cupy, *operands, out=operands[0])))
    assert len(results) == 1


def test_cross_reads_and_writes_any_strides(cupy, rng):
    a, b = cupy.asarray(random(rng, (3, 5, 7), "f")), cupy.asarray(random(rng, (5, 7, 6), "f"))
    by_component = cupy.moveaxis(a, 0, -1)
    checks.cross(cupy, by_component, b[..., ::2])
    checks.cross(cupy, by_component[::-1], b[..., 2::-1])
    checks.cross(cupy, by_component[:, :1], b[:1, :, :3])
    out = cupy.moveaxis(cupy.empty((3, 7, 5), "f"), 0, -1)
    checks.cross(cupy, cupy.moveaxis(by_component, 0, 1), cupy.asarray(random(rng, (3,), "f")), out=out)
    checks.cross(cupy, by_component, b[..., :3], out=by_component)


def test_cross_broadcasts_axes_that_do_not_merge(cupy, rng):
    a, b = random(rng, (2, 1, 3, 1, 3), "f"), random(rng, (1, 4, 1, 5, 3), "f")
    checks.cross(cupy, cupy.asarray(a), cupy.asarray(b))


# --- Arrays ----------------------------------------------------------------------------------------


class Foreign:
    """A view of a device array as another library publishes it."""

    def __init__(self, array):
        self._array = array
        self.__cuda_array_interface__ = array.__cuda_array_interface__


def test_views_of_another_library_overlap(cupy):
    whole = cupy.asarray(np.arange(9.0))
    first, second, last = (cupy_raw.native(Foreign(whole[part])) for part in np.s_[:4, 3:6, 6:])
    assert cupy_raw.overlaps(first, second)
    assert not cupy_raw.overlaps(second, last)
    assert cupy_raw.overlaps(whole[::-1], last)


@pytest.mark.parametrize("published", [lambda array: array, Foreign], ids=["cupy", "foreign"])
def test_an_array_of_another_gpu_is_refused(cupy, monkeypatch, published):
    array = cupy.asarray(np.ones(3))
    # From another GPU CuPy copies, so that a result written there would be lost.
    monkeypatch.setattr(cupy, "asarray", lambda _: array.copy())
    for use in (cupy_raw.native, lambda there: cupy_raw.assign(there, array)):
        with pytest.raises(DeviceError, match="current GPU"):
            use(published(array))


# --- What the shim catches -------------------------------------------------------------------------


def test_nothing_is_launched_for_empty_work():
    with fake_cupy.install() as cupy:
        checks.batched_outer(cupy, cupy.empty((0, 3), "f"), cupy.empty((0, 4), "f"))
        checks.cross(cupy, cupy.empty((0, 3), "f"), cupy.empty((0, 3), "f"))
        assert not cupy.built


def test_a_host_array_does_not_reach_a_kernel(cupy):
    kernel = _compile.get_kernel("cross", "cross_contiguous", np.dtype("f"), np.dtype("f"))
    host = np.zeros((4, 3), "f")
    with pytest.raises(TypeError, match=r"Unsupported type|You are trying to pass a numpy\.ndarray"):
        kernel((1,), (32,), (host, host, host, np.int64(4)))


def test_an_argument_of_the_wrong_size_is_refused():
    with fake_cupy.install() as cupy:
        kernel = _compile.get_kernel("cross", "cross_contiguous", np.dtype("f"), np.dtype("f"))
        a = cupy.empty((4, 3), "f")
        with pytest.raises(ShimError, match="bytes"):
            kernel((1,), (32,), (a, a, a, np.int32(4)))


def test_a_write_past_shared_memory_is_reported():
    source = (
        'extern "C" __global__ void overstep(int* out) {\n'
        "    reinterpret_cast<char*>(shared_memory)[threadIdx.x] = char(-1);\n"
        "    __syncthreads();\n"
        "    if (threadIdx.x == 0) out[0] = reinterpret_cast<char*>(shared_memory)[1];\n}\n"
    )
    module = build(_compile.source("outer", np.dtype("f"), np.dtype("f")) + source)
    out = np.zeros(1, np.int32)
    module.launch("overstep", (1,), 16, [np.uint64(out.ctypes.data)], 16)
    assert out == [-1]
    with pytest.raises(ShimError, match="past the 15 bytes of its shared memory"):
        module.launch("overstep", (1,), 16, [np.uint64(out.ctypes.data)], 15)


@pytest.mark.parametrize("kernel", ["vecdot", "co_moment_finish", "linreg_finish"])
def test_a_launch_with_too_little_shared_memory_is_reported(kernel, rng, monkeypatch):
    launch = fake_cupy.RawKernel.__call__

    def less(self, grid, block, args, *, shared_mem=0):
        launch(self, grid, block, args, shared_mem=shared_mem - (self._name == kernel))

    with fake_cupy.install() as cupy:
        checks.everything(cupy)
        monkeypatch.setattr(fake_cupy.RawKernel, "__call__", less)
        with pytest.raises(ShimError, match=f"{kernel}: wrote past the .* bytes of its shared memory"):
            checks.everything(cupy)


def test_a_divergent_barrier_is_named():
    source = (
        'extern "C" __global__ void diverge(int* out) {\n'
        "    if (threadIdx.x == 0) __syncthreads();\n"
        "    out[threadIdx.x] = 1;\n}\n"
    )
    module = build(
        _compile.source("outer", np.dtype("f"), np.dtype("f")) + '\n#line 1 "diverge.cu"\n' + source
    )
    out = np.zeros(4, np.int32)
    with pytest.raises(ShimError, match=r"thread 0 waits at diverge\.cu:2, but thread 1 has ended"):
        module.launch("diverge", (1,), 4, [np.uint64(out.ctypes.data)])


RELAY = """
extern "C" __global__ void relay(volatile int* mail, index_t rounds) {
    int* seen = reinterpret_cast<int*>(shared_memory);
    seen[threadIdx.x] = 0;
    const int last = blockIdx.x == 0 ? gridDim.x - 1 : blockIdx.x - 1;
    for (int round = 1; round <= rounds; ++round) {
        if (threadIdx.x == 3 && (blockIdx.x != 0 || round != 1))
            while (mail[last] < (blockIdx.x == 0 ? round - 1 : round)) look_again();
        seen[3 - threadIdx.x] += __shfl_xor_sync(0xffffffff, int(threadIdx.x), 1);
        __syncthreads();
        if (threadIdx.x == 0) mail[blockIdx.x] = round;
    }
    if (seen[threadIdx.x] != rounds * (int(threadIdx.x) ^ 2)) mail[blockIdx.x] = -1;
}
"""


@pytest.fixture
def relay():
    """Blocks that wait for each other by turns: the rounds that each one has come to."""
    module = build(_compile.source("outer", np.dtype("f"), np.dtype("f")) + RELAY)

    def run(blocks, rounds, *, is_cooperative):
        mail = np.zeros(blocks, np.int32)
        arguments = [np.uint64(mail.ctypes.data), np.int64(rounds)]
        module.launch("relay", (blocks,), 4, arguments, 16, is_cooperative)
        return mail

    return run


def test_blocks_of_a_cooperative_launch_are_alive_together(relay):
    assert relay(3, 5, is_cooperative=True).tolist() == [5, 5, 5]
    assert relay(1, 7, is_cooperative=True).tolist() == [7]


def test_blocks_that_wait_for_each_other_need_a_cooperative_launch(relay):
    with pytest.raises(ShimError, match="relay: blocks wait for what none of them sends"):
        relay(3, 5, is_cooperative=False)
    assert relay(3, 1, is_cooperative=False).tolist() == [1, 1, 1]
