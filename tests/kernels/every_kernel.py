"""Every kernel of one dialect, in small ragged sizes and in several types, compared with oracles.

    python -m tests.kernels.every_kernel cupy|numba-cuda

Needs a GPU; this is what a sanitizer watches there.  Ends with status 1 where a kernel was not launched.
"""

import argparse
import importlib
import sys
from collections import Counter, defaultdict
from contextlib import ExitStack, contextmanager
from unittest import mock

import numpy as np

from tests.kernels import checks
from tests.kernels.listing import FOLDER, documented, in_numba
from vecprod_gpu.backends import cupy_raw
from vecprod_gpu.backends._device import chips, moments, windows

DIALECTS = ("cupy", "numba-cuda")
OTHER_TYPES = "edFDbQ"
MOMENT_TYPES = ("ed", "fd", "FD", "dd")
REGRESSION_TYPES = ("ef", "fd", "dd")


def kernels(dialect):
    """Names of the kernels of a dialect; the twins have some to copy and to sort besides."""
    twins = {name for file in FOLDER.glob("*.py") for name in in_numba(file.stem)}
    return set(documented()) if dialect == "cupy" else twins


def run(arrays, is_small=False):
    """Make all the calls; `is_small` makes do with fewer rows, for what takes long to simulate."""
    rng = np.random.default_rng(0)
    checks.every_product(arrays, rng)
    checks.every_measure(arrays, rng)
    checks.every_normal(arrays, rng)
    if is_small:
        checks.every_moment(arrays, rng, sizes=[(7, 3, 2)])
        with mock.patch.object(moments, "small_cut", return_value=None):
            checks.every_moment(arrays, rng, sizes=[(7, 3, 2)])
        checks.every_regression(arrays, rng, sizes=[(9, 3, 2)])
        checks.walk(
            arrays, arrays.asarray(checks.random(rng, (1, 5, 2), "f")), *checks.regression(rng, 5, 2)[1:]
        )
        checks.every_system(arrays, rng, problems=7)
    else:
        checks.every_moment(arrays, rng)
        checks.every_regression(arrays, rng)
        checks.every_walk(arrays, rng)
        checks.every_system(arrays, rng)
        other_types(arrays, rng)


def other_types(arrays, rng):
    """One call of each operation in types that the others leave out."""
    for code in OTHER_TYPES:
        a, b = checks.random(rng, (5, 7), code), checks.random(rng, (5, 9), code)
        checks.batched_outer(arrays, checks.shifted(arrays, a), arrays.asarray(b))
        left, right = checks.random(rng, (2, 67, 3), code)
        checks.cross(arrays, arrays.asarray(left), arrays.asarray(right))
        checks.cross(arrays, checks.shifted(arrays, left), arrays.asarray(right)[:1])
        checks.vecdot(arrays, arrays.asarray(left), checks.shifted(arrays, right))
        X, Y = checks.random(rng, (1, 90, 13), code), checks.random(rng, (1, 90, 5), code)
        checks.gram(arrays, checks.shifted(arrays, X), arrays.asarray(Y))
    for code in "ed":
        for quantity, count in checks.MEASURES.items():
            checks.measure(arrays, quantity, *map(arrays.asarray, checks.points(rng, (count, 35), code)))
        vertices, faces = checks.mesh(rng, 9, 31, code)
        checks.face_normals(arrays, arrays.asarray(vertices), faces)
        checks.vertex_normals(arrays, arrays.asarray(vertices), faces)
        summed = "f" if code == "e" else code
        checks.grid_normals(arrays, arrays.asarray(checks.random(rng, (2, 5, 7), code)), np.ones(5, summed))
    for stored, summed in MOMENT_TYPES:
        X = checks.random(rng, (2, 70, 13), stored)
        checks.co_moments(arrays, checks.shifted(arrays, X), summed=summed, scale=0.5)
    for stored, summed in REGRESSION_TYPES:
        X, *rest = checks.regression(rng, 90, 13, 3, 2, stored, summed)
        checks.linreg(arrays, checks.shifted(arrays, X), *rest, l2=0.2)


@contextmanager
def launches(dialect):
    """Meanwhile count the launches of each kernel, by the types of its arrays."""
    places = (cupy_raw._CupyLauncher, chips.CupyChip) if dialect == "cupy" else (windows,)
    counts = defaultdict(Counter)

    def counting(launch):
        def counted(*arguments, **options):
            _, kernel, *rest = arguments[dialect == "cupy" :]
            arrays = next(one for one in rest if isinstance(one, tuple) and hasattr(one[0], "dtype"))
            counts[kernel][arrays[0].dtype.char] += 1
            launch(*arguments, **options)

        return counted

    with ExitStack() as patches:
        for place in places:
            patches.enter_context(mock.patch.object(place, "launch", counting(place.launch)))
        yield counts


def main():
    parser = argparse.ArgumentParser(description="Launch every kernel of one dialect.")
    parser.add_argument("dialect", choices=DIALECTS)
    dialect = parser.parse_args().dialect
    if dialect == "cupy":
        arrays = importlib.import_module("cupy")
        arrays.cuda.set_allocator(None)  # a pool would hide what lies outside of an array
    else:
        arrays = importlib.import_module("tests.kernels.numba_arrays")
    with launches(dialect) as counts:
        run(arrays)
    for kernel, by_type in sorted(counts.items()):
        print(f"{kernel:20} {by_type.total():4} launches, of {' '.join(sorted(by_type))}")
    if missing := kernels(dialect) - set(counts):
        sys.exit(f"never launched: {', '.join(sorted(missing))}")
    print(f"all {len(counts)} kernels of {dialect} agree with their oracles")


if __name__ == "__main__":
    main()
