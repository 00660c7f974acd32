"""What runs under the sanitizers on a GPU reaches every kernel there is."""

import pytest

from tests.conftest import REAL_GPU
from tests.kernels import checks, every_kernel, numba_arrays
from tests.shim import fake_cupy


@pytest.mark.parametrize("dialect", every_kernel.DIALECTS)
def test_every_kernel_is_launched(dialect):
    with fake_cupy.install() as cupy, every_kernel.launches(dialect) as counts:
        every_kernel.run(cupy if dialect == "cupy" else numba_arrays, is_small=not REAL_GPU)
    assert set(counts) == every_kernel.kernels(dialect)


def test_a_kernel_that_is_not_launched_is_missed():
    with fake_cupy.install() as cupy, every_kernel.launches("cupy") as counts:
        vectors = checks.points(every_kernel.np.random.default_rng(0), (2, 5), "f")
        checks.cross(cupy, *map(cupy.asarray, vectors))
    assert dict(counts) == {"cross_contiguous": {"f": 1}}
