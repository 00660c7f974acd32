"""A planted fault in the kernels of dot products, measures, normals and sorting makes their tests fail.

None of the faults reads out of bounds, so that a GPU survives them too.
"""

import pytest

from . import test_numba_geometry as geometry
from . import test_numba_sort as sort
from . import test_numba_vecdot as vecdot
from .test_numba_simulator import numbers, replace_kernels


def run_vecdot():
    vecdot.test_vecdot_of_every_dtype("complex64", [(2, 1, 9), (4, 9)])
    vecdot.test_vecdot_of_ragged_sizes((5, 65))


def run_pairs():
    shapes = [(2, 1, 3), (4, 3)]
    geometry.check_measure("vector_angle", *(numbers(shape, "float32") for shape in shapes))
    geometry.test_angle_with_a_zero_vector_is_zero("float32")
    geometry.test_nearly_parallel_vectors_keep_their_digits("float32", -1)


def run_triples():
    geometry.test_triangle_area("float32", [(2, 1, 3), (4, 3), (3,)])
    geometry.test_triple_product_rounds_as_numpy_does("float32")


def run_faces():
    geometry.check_normals(*geometry.mesh(2, 5, 67), False)
    geometry.test_the_first_bad_face_is_named(True, "int32", "at the end", 1)


def run_vertices():
    geometry.check_normals(*geometry.mesh(2, 5, 67))


def run_grid():
    geometry.test_grid_normals_of_every_dtype("float32", (2, 3, 4))


def run_sort():
    sort.test_stable_order_of_any_count(65, "int64")


# (file, what exercises it), then what stands there and what the fault makes of it.
FAULTS = {
    ("vecdot", run_vecdot): [
        ("left.conjugate()", "left"),
        ("range(first, length, lanes)", "range(first, length - 1, lanes)"),
        ("sums[lane * vectors + slot]", "sums[slot * lanes + lane]"),
    ],
    ("measures", run_pairs): [
        ("along if along != 0 else abs(along)", "along"),
        ("outer * outer_stride + inner", "inner"),
        ("length(normal) / root / root", "length(normal) / root"),
    ],
    ("measures", run_triples): [
        ("(root + root)", "root"),
        ("product(b[2], c[0]) - product(b[0], c[2])", "product(b[0], c[2]) - product(b[2], c[0])"),
    ],
    ("common", run_pairs): [("(left - right) + (left_error - right_error)", "left - right")],
    ("vectors", run_triples): [("return normal, product(root, shrunk)", "return normal, root")],
    ("vectors", run_faces): [("difference(r, p))", "difference(p, r))")],
    ("normals", run_faces): [
        ("if is_unit else", "if not is_unit else"),
        ("high < vertex_count", "high < vertex_count - 1"),
        ("atomic.min(first_bad, 0, face)\n        elif", "atomic.max(first_bad, 0, face)\n        elif"),
    ],
    ("normals", run_vertices): [
        ("place += 1", "place += 2"),
        ("y + normal[1]", "normal[1]"),
        ("order[place] // 3", "order[place] // 6"),
    ],
    ("normals", run_grid): [
        ("step + step if is_inside", "step if is_inside"),
        ("if position < count - 1 else", "if position < count - 2 else"),
        ("z_row_stride, real(dy)", "z_row_stride, dx[row]"),
    ],
    ("sort", run_sort): [
        ("order[index] = index", "order[index] = count - 1 - index"),
        ("not is_left)", "is_left)"),
    ],
}

IMPORTERS = {"common": ("vectors", "measures"), "vectors": ("measures", "normals")}
NOTHING = ("\nfrom .common import", "\nfrom .common import")


def plant(file, monkeypatch, right, wrong):
    """Replace the kernels of `file`, and those that import from it by themselves."""
    replace_kernels(file, monkeypatch, right, wrong)
    for importer in IMPORTERS.get(file, ()):
        replace_kernels(importer, monkeypatch, *NOTHING)


@pytest.mark.parametrize(
    ("file", "run", "right", "wrong"),
    [(*key, *fault) for key, faults in FAULTS.items() for fault in faults],
    ids=lambda value: None if callable(value) else value,
)
def test_fault_is_seen(file, run, right, wrong, monkeypatch):
    plant(file, monkeypatch, right, wrong)
    with pytest.raises(AssertionError):
        run()


@pytest.mark.parametrize(("file", "run"), FAULTS)
def test_no_fault_is_seen_in_the_kernels_themselves(file, run, monkeypatch):
    unchanged = ("import math", "import math") if file == "common" else NOTHING
    plant(file, monkeypatch, *unchanged)
    run()
