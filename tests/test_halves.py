"""Products of half precision on the host: the bits of NumPy, for every number there is."""

import warnings

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.workers import run_python, run_with_narrow_registers
from vecprod_gpu.backends import cpu

EVERY = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
SOME = np.float16([0, -0.0, 6e-8, -5.9e-5, 0.333, -1, 1.001, 255.9, -2049, 65504, np.inf, -np.inf, np.nan])

pytestmark = pytest.mark.skipif(not cpu._HALVES, reason="the processor cannot widen float16")


@pytest.fixture(autouse=True)
def on_cpu():
    with vp.use_backend("cpu"), np.errstate(all="ignore"):
        yield


def assert_same_bits(ours, theirs):
    """But of NaN, whose sign and payload nobody promises."""
    assert ours.dtype == theirs.dtype == np.float16
    assert ours.shape == theirs.shape
    bits, expected = (np.where(np.isnan(x), 0x7E00, x.view(np.uint16)) for x in (ours, theirs))
    np.testing.assert_array_equal(bits, expected)


FOR_ANY_PROCESSOR = """
import numpy as np
import vecprod_gpu as vp

a = np.arange(60000, dtype=np.uint16).view(np.float16).reshape(-1, 3)
with vp.use_backend("cpu"), np.errstate(all="ignore"):
    np.testing.assert_array_equal(vp.cross(a, a[::-1]), np.cross(a, a[::-1]))
    np.testing.assert_array_equal(vp.outer(a[:, 0], a[0]), np.outer(a[:, 0], a[0]))
"""


@pytest.mark.parametrize("chosen", [{"NUMBA_CPU_NAME": "generic"}, {"NUMBA_CPU_FEATURES": "+sse2"}])
def test_code_for_processors_without_them_is_not_asked_for(chosen, tmp_path):
    """LLVM ends the process where compiled code calls a function that it does not find."""
    ended = run_python(FOR_ANY_PROCESSOR, NUMBA_CACHE_DIR=str(tmp_path), NUMBA_OPT="0", **chosen)
    assert ended.returncode == 0, ended.stderr


def test_outer_products_of_all_numbers():
    assert_same_bits(vp.outer(EVERY, SOME), np.outer(EVERY, SOME))
    assert_same_bits(vp.outer(SOME, EVERY), np.outer(SOME, EVERY))


def test_cross_products_of_all_numbers(rng):
    """Each stands beside others at random, and in each place of a vector."""
    vectors = np.stack([EVERY, rng.permutation(EVERY), rng.permutation(EVERY)], axis=1)
    for turned in (vectors, vectors[:, [1, 2, 0]], vectors[:, [2, 0, 1]]):
        others = rng.permutation(SOME[rng.integers(0, len(SOME), vectors.shape)])
        assert_same_bits(vp.cross(turned, others), np.cross(turned, others))
        others = rng.permutation(vectors)
        assert_same_bits(vp.cross(turned, others), np.cross(turned, others))


def draw(rng, shape):
    return rng.standard_normal(shape).astype(np.float16)


@pytest.mark.parametrize("count", [1, 3, 16, 31, 64, 65, 1000])
def test_cross_products_of_any_layout(count, rng):
    a, b = draw(rng, (2, count, 3)), draw(rng, (count, 6))
    spread, columns = draw(rng, (2 * count, 3)), np.asfortranarray(a[1])
    for x, y in (
        (a[0], a[1]),
        (a[0], b[:, :3]),
        (a[0], b[:, ::2]),
        (spread[::2], a[0]),
        (columns, a[0]),
        (columns, columns),
        (a[0], a[1, :1]),
        (a[0, ::-1], columns),
    ):
        assert_same_bits(vp.cross(x, y), np.cross(x, y))
        out = np.full((count, 7), np.nan, np.float16)
        vp.cross(x, y, out=out[:, 2:5])
        assert_same_bits(out[:, 2:5].copy(), np.cross(x, y))
        assert np.isnan(out[:, [0, 1, 5, 6]]).all()


@pytest.mark.parametrize(
    "sides", [(1, 1), (2, 2), (3, 3), (4, 4), (1, 7), (7, 1), (5, 9), (8, 8), (3, 33), (16, 70)]
)
def test_outer_products_of_any_layout(sides, rng):
    for batch in (1, 5, 33):
        a, b = (draw(rng, (batch, 2 * side)) for side in sides)
        for x, y in ((a[:, : sides[0]].copy(), b[:, : sides[1]].copy()), (a[:, ::2], b[:, ::2])):
            assert_same_bits(vp.batched_outer(x, y), x[:, :, None] * y[:, None, :])


def test_what_is_added_is_rounded_once(rng):
    a, b, out = draw(rng, (20, 3)), draw(rng, (20, 4)), draw(rng, (20, 3, 4))
    wide_a, wide_b, wide_out = (x.astype(np.float32) for x in (a, b, out))
    expected = np.float32(0.1) * wide_a[:, :, None] * wide_b[:, None, :]
    assert_same_bits(vp.batched_outer(a, b, alpha=0.1), expected.astype(np.float16))
    expected += np.float32(0.7) * wide_out
    vp.batched_outer(a, b, alpha=0.1, beta=0.7, out=out)
    assert_same_bits(out, expected.astype(np.float16))


def test_overflow_is_told(rng):
    a = np.full((70, 3), 300, np.float16)
    with np.errstate(all="warn"), warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        vp.outer(a, a[0])
    assert {str(warning.message) for warning in raised} == {"overflow encountered in outer"}


def test_with_narrow_registers(tmp_path):
    """As on processors without 64-byte vectors."""
    ended = run_with_narrow_registers(NARROW, tmp_path)
    assert ended.returncode == 0, ended.stderr


NARROW = """
import numpy as np
import vecprod_gpu as vp
from tests import test_halves as tests

rng = np.random.default_rng(3)
a, b = tests.draw(rng, (2, 333, 3))
with vp.use_backend("cpu"):
    tests.assert_same_bits(vp.cross(a, b), np.cross(a, b))
    tests.assert_same_bits(vp.batched_outer(a, b), a[:, :, None] * b[:, None, :])
"""
