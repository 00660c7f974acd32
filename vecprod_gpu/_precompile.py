"""What ``vecprod precompile`` does: it calls each operation on small data, and counts what is kept of that.

The calls are only as large as the way to each kernel asks for.  Kernels are counted in the folders where
they are kept, so that none counts that a later process would have to compile again.
"""

import importlib
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import vecprod_gpu as vp
from vecprod_gpu import _dispatch
from vecprod_gpu.backends._device.lanes import lane_cut

from .errors import BadInputError

Array = np.ndarray[Any, Any]
DType = np.dtype[Any]

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
NUMBERS = (*FLOATS, np.dtype(np.int64))
"""What tables hold, and what comes out of them."""

LARGE_BYTES = 1 << 26
"""Of a product, which neither stays with one thread nor with those that wait awake."""

SHARED = frozenset({"outer", "cross", "geometry", "gradient"})
"""Operations that are shared with threads that wait awake, where calls follow each other."""

SEVERAL_BLOCKS = 1 << 15
"""Rows of four columns that are summed in several blocks, on several threads."""

SHORT_ROWS = (6, 10, 14, 17, 25, 33)
"""Columns of rows that take as many vectors as sums on the host are compiled for."""

FEW_BLOCKS = 200
"""Rows of so few columns that are summed in blocks, not in lanes."""

WIDE = 300
"""Columns whose Gram matrix is too large for each thread to have its own."""

SEVERAL_WIDE_BLOCKS = 2000
"""Rows of so many columns that are summed in several blocks."""

WIDEST_ROW = 4096
"""Columns up to which a kernel on a GPU is compiled for the width of a row."""

CUPY_CACHE = ".cupy/kernel_cache"


@dataclass(frozen=True, slots=True)
class Operation:
    """Calls that compile all that an operation needs for a dtype, and the dtypes that it is compiled for."""

    call: Callable[[DType], None]
    dtypes: tuple[DType, ...] = FLOATS


@dataclass(frozen=True, slots=True)
class Kernels:
    """What one operation compiled for one dtype.

    Attributes
    ----------
    backend, operation, dtype : str
        Names.
    compiled : int
        How many kernels were not in the cache before.
    seconds : float
        Time of the calls, compiling included.
    """

    backend: str
    operation: str
    dtype: str
    compiled: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Task:
    """One operation to compile for one dtype."""

    backend: str
    operation: str
    dtype: DType

    def run(self) -> Kernels:
        """Call the operation, and count what that leaves in the cache."""
        place = cache_folder(self.backend)
        before, start = _count(place), time.perf_counter()
        with vp.use_backend(self.backend), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as that a fit of three steps has not converged
            if self.backend == "cpu" and self.operation in SHARED:
                importlib.import_module("vecprod_gpu.backends._cpu.products.shared_loops").load()
            OPERATIONS[self.operation].call(self.dtype)
        seconds = time.perf_counter() - start
        return Kernels(self.backend, self.operation, self.dtype.name, _count(place) - before, seconds)


def tasks(backend: str, operations: Iterable[str], dtypes: Iterable[str]) -> list[Task]:
    """What there is to compile of the operations and dtypes with these names, or of all there are.

    Raises
    ------
    BadInputError
        If there is no operation, or nothing to compile for a dtype, of a name.
    """
    named = _chosen("operation", operations, OPERATIONS)
    wanted = _chosen("dtype", dtypes, {dtype.name: dtype for dtype in NUMBERS})
    return [
        Task(backend, operation, dtype)
        for operation in named
        for dtype in OPERATIONS[operation].dtypes
        if dtype.name in wanted
    ]


def require_writable(folder: Path) -> None:
    """Raise OSError where nothing can be kept in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()


def backends() -> list[str]:
    """The backends to compile for: those that calls run on when nothing else is asked for."""
    available = [name for name, status in vp.backends().items() if status.available]
    on_device = [name for name in _dispatch.ON_DEVICE if name in available]
    return [name for name in ("cpu",) if name in available] + on_device[:1]


def cache_folder(backend: str) -> Path:
    """Where what a backend compiles is kept."""
    if backend == "cupy":
        chosen = os.environ.get("CUPY_CACHE_DIR")
        return Path(chosen) if chosen else Path.home() / CUPY_CACHE
    cache = importlib.import_module("vecprod_gpu.backends._cache")  # which imports Numba
    return cache.folder()  # type: ignore[no-any-return]


def _count(place: Path) -> int:
    """How many kernels a folder keeps: files of Numba and of CuPy."""
    return sum(file.suffix in (".nbc", ".cubin") for file in place.rglob("*"))


def _chosen(what: str, names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Those of the known names that are among the names; all of them where there are none."""
    wanted = set(names)
    if unknown := sorted(wanted.difference(known)):
        raise BadInputError(f"{what} is {unknown[0]!r}; it is one of {', '.join(known)}")
    return [name for name in known if name in wanted or not wanted]


# --- The calls -------------------------------------------------------------------------------------


def _past_cache(numbers: int, dtype: DType) -> int:
    """Products that read and write so many numbers each, of which so many are written past the cache."""
    # with llvmlite: not for `vecprod --version`
    from vecprod_gpu.backends._cpu.processor import LAST_CACHE_BYTES

    return max(LAST_CACHE_BYTES, LARGE_BYTES) // (numbers * dtype.itemsize) + 1


def _outer(dtype: DType) -> None:
    rows = _numbers((_past_cache(4 + 4 + 16, dtype), 4), dtype)
    vp.outer(rows[0], rows[1])
    vp.batched_outer(rows, rows)


def _cross(dtype: DType) -> None:
    vectors = _numbers((_past_cache(3 + 3 + 3, dtype), 3), dtype)
    vp.cross(vectors[:4], vectors[0])
    vp.cross(vectors[:4], vectors[4:8])
    vp.cross(vectors, vectors)


def _vecdot(dtype: DType) -> None:
    vectors = _numbers((4, 3), dtype)
    vp.linalg.vecdot(vectors, vectors)


def _geometry(dtype: DType) -> None:
    a, b, c = _numbers((3, 5, 3), dtype)
    vp.triple_product(a, b, c)
    if dtype in FLOATS:
        vp.vector_angle(a, b)
        vp.parallelogram_area(a, b)
        vp.triangle_area(a, b, c)


def _normals(dtype: DType) -> None:
    vertices, faces = _numbers((4, 3), dtype), np.array([[0, 1, 2], [1, 2, 3]])
    for indices in (faces, faces.astype(np.int32)):
        vp.face_normals(vertices, indices)
        vp.vertex_normals(vertices, indices)
    heights = _numbers((4, 5), dtype)
    vp.grid_normals(heights)
    vp.grid_normals(heights, np.ones(4), 2.0)


def _gram(dtype: DType) -> None:
    for X in _tables(dtype):
        vp.gram(X)
        vp.gram(X, X[:, :2])


def _covariance(dtype: DType) -> None:
    for X in _tables(dtype):
        vp.cov(X, rowvar=False)
        vp.corrcoef(X, rowvar=False)
        vp.batched_cov(X[np.newaxis, :8])
        vp.batched_corrcoef(X[np.newaxis, :8])


def _gradient(dtype: DType) -> None:
    for columns in _widths(dtype.itemsize):
        X, y, w = _numbers((8, columns), dtype), _numbers(8, dtype), _numbers(columns, dtype)
        vp.linreg_gradient(X, y, w)
        vp.linreg_gradient(X, y, w, sample_weight=np.ones(8, dtype), return_loss=True)
        vp.linreg_step(X, y, w, 0.1)
        vp.linreg_fit(X, y, solver="gd", learning_rate=1e-3, max_iter=2)
    X, Y, W = _numbers((8, 3), dtype), _numbers((8, 2), dtype), _numbers((3, 2), dtype)
    vp.linreg_gradient(X, Y, W)
    vp.linreg_gradient(X[np.newaxis], Y[np.newaxis], W[np.newaxis])
    vp.linreg_gradient(np.asfortranarray(X), Y[:, 0], W[:, 0])


def _fit(dtype: DType) -> None:
    for rows in (40, SEVERAL_BLOCKS):
        X, y = _numbers((rows, 4), dtype), _numbers(rows, dtype)
        for solver, how in SOLVERS:
            for has_intercept in (True, False):
                vp.linreg_fit(X, y, solver=solver, fit_intercept=has_intercept, **how)
            vp.linreg_fit(X, y, solver=solver, sample_weight=np.ones(rows, dtype), **how)
    for columns in SHORT_ROWS:
        vp.linreg_fit(_numbers((FEW_BLOCKS, columns), dtype), _numbers(FEW_BLOCKS, dtype), solver="cholesky")
    problems, targets = _numbers((6, 40, 4), dtype), _numbers((6, 40), dtype)
    vp.linreg_fit(problems, targets)
    vp.linreg_fit(problems[0], targets[0], l1=np.array([0.1, 0.2]))
    moments = vp.CoMoments().update(problems[0], targets[0])
    vp.linreg_fit(moments)


SOLVERS: tuple[tuple[Any, Mapping[str, Any]], ...] = (
    ("gd", {"max_iter": 3}),
    ("gd", {"max_iter": 3, "l1": 0.01, "l2": 0.01, "momentum": 0.5}),
    ("comoments", {"max_iter": 3}),
    ("comoments", {"max_iter": 3, "l1": 0.01}),
    ("sgd", {"max_iter": 2}),
    ("cd", {"max_iter": 3, "l1": 0.01}),
    ("cholesky", {}),
    ("eigh", {}),
    ("svd", {}),
)


def _search(dtype: DType) -> None:
    X, y = _numbers((60, 4), dtype), _numbers(60, dtype)
    vp.linreg_search(X, y, l2=[0.1, 1.0])
    vp.linreg_search(X, y, l1=[0.1, 1.0])
    vp.linreg_search(X, y, learning_rate=[0.01, 0.1], max_iter=[2, 3])
    vp.select_features(X, y, 2)


OPERATIONS: dict[str, Operation] = {
    "outer": Operation(_outer, NUMBERS),
    "cross": Operation(_cross, NUMBERS),
    "vecdot": Operation(_vecdot, NUMBERS),
    "geometry": Operation(_geometry, NUMBERS),
    "normals": Operation(_normals),
    "gram": Operation(_gram),
    "covariance": Operation(_covariance),
    "gradient": Operation(_gradient),
    "fit": Operation(_fit),
    "search": Operation(_search),
}


def _tables(dtype: DType) -> Iterator[Array]:
    """Tables that are summed in lanes, by each thread, in several blocks, by all threads, and row by row."""
    by_row = ((FEW_BLOCKS, columns) for columns in SHORT_ROWS)
    for rows, columns in (
        (8, 4),
        (40, 20),
        (SEVERAL_BLOCKS, 4),
        (8, WIDE),
        (SEVERAL_WIDE_BLOCKS, WIDE),
        *by_row,
    ):
        yield _numbers((rows, columns), dtype)


@lru_cache
def _widths(itemsize: int) -> tuple[int, ...]:
    """The narrowest row of each kind that the kernels on a GPU are compiled for, for one model."""
    widths: dict[tuple[tuple[str, int], ...], int] = {}
    for columns in range(1, WIDEST_ROW + 1):
        cut = lane_cut(1, columns, 1, itemsize, itemsize, False)
        widths.setdefault(tuple(cut.constants.items()) if cut else (), columns)
    return tuple(widths.values())


def _numbers(shape: Any, dtype: DType) -> Array:
    """Numbers that can be repeated, and with which every fit is well-conditioned."""
    normal: Array = np.random.default_rng(0).standard_normal(shape)
    return (10 * normal if dtype.kind == "i" else normal).astype(dtype)
