"""The first few small calls of a process, which NumPy answers before Numba is imported."""

import pytest

from tests.conftest import HOST_BACKENDS
from tests.workers import run_python

pytestmark = pytest.mark.skipif("cpu" not in HOST_BACKENDS, reason="needs Numba")

BEGIN = """
import sys
import numpy as np
import vecprod_gpu as vp
from vecprod_gpu._early import FEW

rng = np.random.default_rng(0)
a, b = rng.standard_normal((2, 50, 3), np.float32)
calls = [
    lambda: vp.cross(a, b),
    lambda: vp.batched_outer(a, b),
    lambda: vp.batched_outer(a, b, alpha=0.3, beta=1.7, out=np.ones((50, 3, 3), np.float32)),
]
assert vp.explain(vp.cross, a, b).backend == "reference"
"""
HAVE_THE_SAME_BITS = """
early = [calls[k % 3]().tobytes() for k in range(FEW)]
assert "numba" not in sys.modules
with vp.use_backend("cpu"):
    assert [calls[k % 3]().tobytes() for k in range(FEW)] == early
"""
ARE_FEW = """
for k in range(FEW):
    calls[k % 3]()
assert vp.explain(vp.cross, a, b).backend == "cpu"
calls[0]()
assert "vecprod_gpu.backends.cpu" in sys.modules
"""
ARE_SMALL_AND_EXACT = """
assert vp.explain(vp.cross, np.ones((100_000, 3)), np.ones(3)).backend == "cpu"
assert vp.explain(vp.cross, a + 0j, b).backend == "cpu"
assert vp.explain(vp.gram, a).backend == "cpu"
"""
END_WITH_THE_FIRST_OTHER_CALL = """
vp.gram(a)
assert vp.explain(vp.cross, a, b).backend == "cpu"
"""


@pytest.mark.parametrize(
    "script", [HAVE_THE_SAME_BITS, ARE_FEW, ARE_SMALL_AND_EXACT + END_WITH_THE_FIRST_OTHER_CALL]
)
def test_early_calls(script):
    ended = run_python(BEGIN + script, VECPROD_BACKEND="")
    assert ended.returncode == 0, ended.stderr
