"""Fresh random inputs, in every layout, against float64 oracles."""

import numpy as np
import pytest

from tests.gpu.operations import OPERATIONS
from tests.kernels.checks import shifted


@pytest.fixture
def rng():
    """Other numbers in each run; a failure shows the seed."""
    seed = np.random.SeedSequence().entropy
    print(f"seed {seed}")
    return np.random.default_rng(seed)


def spread(cp, host):
    """A device copy whose numbers are three apart along the last axis, amid others."""
    whole = cp.full((*host.shape[:-1], 3 * host.shape[-1]), 77, host.dtype)
    whole[..., 1::3] = cp.asarray(host)
    return whole[..., 1::3]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_results_are_those_of_the_oracle(cp, dialect, rng, operation):
    operation = OPERATIONS[operation]
    arrays = operation.draw(rng)
    operation.check(operation.call(*map(cp.asarray, arrays)).get(), arrays)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_layouts_give_the_same_bits(cp, dialect, rng, operation):
    operation = OPERATIONS[operation]
    arrays = operation.draw(rng)
    expected = operation.call(*map(cp.asarray, arrays)).get()
    operation.check(expected, arrays)
    for place in (shifted, spread):
        result = operation.call(*(place(cp, array) for array in arrays))
        np.testing.assert_array_equal(result.get(), expected)


@pytest.mark.parametrize("operation", [name for name, one in OPERATIONS.items() if one.has_out])
def test_out_is_written_in_full_and_nothing_else_is(cp, dialect, rng, operation):
    operation = OPERATIONS[operation]
    arrays = operation.draw(rng)
    device = [cp.asarray(array) for array in arrays]
    shape = operation.expected(*arrays).shape
    for start, step in ((0, 1), (1, 1), (1, 2)):
        whole = cp.full((*shape[:-1], step * shape[-1] + 3), cp.nan, np.float32)
        at = (..., slice(start, start + step * shape[-1], step))
        assert operation.call(*device, out=whole[at]).shape == shape
        operation.check(whole[at].get(), arrays)
        whole[at] = cp.nan
        assert cp.isnan(whole).all()


def test_inputs_are_left_as_they_are(cp, dialect, rng):
    for operation in OPERATIONS.values():
        arrays = operation.draw(rng)
        device = [cp.asarray(array) for array in arrays]
        operation.call(*device)
        for array, host in zip(device, arrays, strict=True):
            np.testing.assert_array_equal(array.get(), host)
