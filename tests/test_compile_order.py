"""Bits do not depend on what a process compiled before: Numba hands freedom on from function to function."""

import pytest

from tests.workers import run_python

CALLS = {
    "cross": "vp.cross(a, b)",
    "outer": "vp.batched_outer(a, b)",
    "outer of single numbers": "vp.batched_outer(a[:, :1].copy(), b[:, :1].copy())",
    "vecdot": "vp.linalg.vecdot(a, b)",
    "coordinate descent": "vp.linreg_fit(a.real, b.real[:, 0], l1=0.01, solver='cd').coef",
    "gradient descent": "vp.linreg_fit(a.real, b.real[:, 0], l1=0.01, solver='comoments', max_iter=9).coef",
}
A_CALLER_IN_A_HURRY = """
import numba

@numba.njit(fastmath=True)
def sum_of_products(x, y):
    total = 0j
    for i in range(x.size):
        total += x[i] * y[i]
    return total

sum_of_products(np.ones(4, complex), np.ones(4, complex))
"""
PREPARED = """
import numpy as np
{before}
import vecprod_gpu as vp
import vecprod_gpu.linalg
from tests.workers import digest

rng = np.random.default_rng(0)
a, b = rng.standard_normal((2, 3000, 3)) + 1j * rng.standard_normal((2, 3000, 3))
vp.use_backend("cpu").__enter__()
"""


@pytest.fixture(scope="module")
def in_order(tmp_path_factory):
    """The digests of all calls, made in their order by a process that finds nothing compiled."""
    folder = tmp_path_factory.mktemp("nothing")
    return digests(CALLS, "", folder)


def digests(names, before, folder):
    script = PREPARED.format(before=before) + "\n".join(f"print(digest({CALLS[name]}))" for name in names)
    ended = run_python(script, NUMBA_CACHE_DIR=str(folder))
    assert ended.returncode == 0, ended.stderr
    return dict(zip(names, ended.stdout.split(), strict=True))


@pytest.mark.parametrize("before", ["", A_CALLER_IN_A_HURRY], ids=["alone", "after others"])
def test_bits_do_not_depend_on_the_calls_before(before, in_order, tmp_path):
    assert digests([*reversed(CALLS)], before, tmp_path) == in_order
