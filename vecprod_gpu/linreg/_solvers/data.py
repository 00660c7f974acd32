"""What a fit reads: rows, their co-moments and their triangular factor, each made once, when asked for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ... import _checks, _dispatch
from ..._arrays import Array, Kind, as_arrays, common_kind
from ..._costs import Work
from ..._layout import size
from ...errors import ArgumentError, ShapeError
from .._plan import read_models
from .._problem import Problem
from .._settings import Settings
from .._streaming.rows import Layout, Rows, on_host
from .._streaming.streamed import segment_rows
from ..moments import CoMoments, MomentSums, NativeMoments
from ..tsqr import TSQR
from .quadratic import Quadratic

Host = np.ndarray[Any, Any]

MOST_COLUMNS = 4096  # of a Gram matrix: 134 MB, and the work of a thousand descent steps
MOST_MATRIX_BYTES = 1 << 30  # of the Gram matrices of a batch that are larger than X


MANY_PROBLEMS = 512  # to solve on a GPU; the host solves fewer while a kernel starts


class Source(Protocol):
    """Rows that are not in memory, but can be read again."""

    def parts(self, most: int) -> Iterator[Rows]:
        """All rows in order, so many at a time; the last part may have fewer."""

    def factor(self) -> TSQR:
        """Their triangular factor."""


@dataclass(frozen=True)
class Given:
    """What the caller gave as X, y and sample_weight: rows, or what was kept of them.

    Attributes
    ----------
    kind : str
        Where the results go.
    layout : Layout
        Shapes of X and y.
    dtype : numpy.dtype
        Of the results.
    n : int
        Rows of each problem.
    rows : Rows or None
    given_moments : CoMoments or None
    given_factor : TSQR or None
    source : Source or None
        Where the rows can be read again of which only a summary was kept.
    """

    kind: Kind
    layout: Layout
    dtype: np.dtype[Any]
    n: int
    rows: Rows | None = None
    given_moments: CoMoments | None = None
    given_factor: TSQR | None = None
    source: Source | None = None
    _quadratics: dict[bool, Quadratic] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, X: Any, y: Array | None, sample_weight: Array | None) -> "Given":
        """Check them."""
        if isinstance(X, CoMoments | TSQR):
            return cls._read_summary(X, y, sample_weight)
        if y is None:
            raise ArgumentError("y is missing; only CoMoments and TSQR, given as X, hold the target already")
        rows = Rows.read(X, y, sample_weight)
        if rows.weights is not None:
            _checks.weights("sample_weight", on_host(rows.weights))
        return cls(rows.kind, rows.layout, rows.dtype, rows.n, rows)

    @classmethod
    def _read_summary(cls, X: CoMoments | TSQR, y: Array | None, sample_weight: Array | None) -> "Given":
        name = type(X).__name__
        if y is not None or sample_weight is not None:
            raise ArgumentError(f"X is a {name}, which holds y and the weights: give neither beside it")
        layout = X.layout
        if not layout.targets:
            raise ArgumentError(f"X is a {name} that was read without y")
        if not np.all(X.weight_sum):
            raise ArgumentError(f"the weights in X, a {name}, add up to 0: no row would count")
        kept = {"given_moments": X} if isinstance(X, CoMoments) else {"given_factor": X}
        return cls("numpy", layout, X.dtype, X.n_samples, **kept)

    @cached_property
    def on_device(self) -> NativeMoments | None:
        """The co-moments of many small problems on a GPU, where they stay; None of all others."""
        rows, layout = self.rows, self.layout
        if rows is None or rows.kind == "numpy" or layout.problems < MANY_PROBLEMS:
            return None
        return NativeMoments.of(rows) if rows.n <= segment_rows(rows) else None

    @cached_property
    def sums(self) -> MomentSums:
        """The co-moments on the host: one read of the rows, if they are not there yet."""
        if self.rows is not None and self.on_device is not None:
            sums = self.on_device.to_host()
            if not sums.is_finite():
                self.rows.raise_for_not_finite()
            return sums
        moments = self.given_moments
        if moments is None:
            if self.rows is None:
                raise ArgumentError('a TSQR serves the solver "svd" alone')
            moments = CoMoments.from_rows(self.rows)
        return moments.summary  # type: ignore[no-any-return]

    @cached_property
    def factor(self) -> TSQR:
        """The triangular factor: one read of the rows, if it is not there yet."""
        if self.given_factor is not None:
            return self.given_factor
        if self.source is not None:
            return self.source.factor()
        if self.rows is None:
            raise ArgumentError(
                'solver="svd" needs the data or a TSQR: co-moments hold the squares of the singular values, '
                "whose small ones are lost in them"
            )
        return TSQR.from_rows(self.rows)

    def quadratic(self, fit_intercept: bool) -> Quadratic:
        """Half the mean squared error as a function of the coefficients."""
        if fit_intercept not in self._quadratics:
            self._quadratics[fit_intercept] = Quadratic.of(self.sums, self.layout.d, fit_intercept)
        return self._quadratics[fit_intercept]

    @property
    def data(self) -> Rows | Source | None:
        """What can be read once more, if anything."""
        return self.source if self.rows is None else self.rows

    @property
    def has_gram(self) -> bool:
        """Whether the matrices of co-moments are there already or of a reasonable size."""
        layout = self.layout
        nbytes = 8 * layout.problems * layout.columns**2
        most = max(MOST_MATRIX_BYTES, 8 * layout.problems * self.n * layout.d)
        return self.given_moments is not None or (layout.d <= MOST_COLUMNS and nbytes <= most)

    @property
    def is_short(self) -> bool:
        """Whether there are few enough rows for singular values, however many columns there are."""
        return self.n <= MOST_COLUMNS and not self.layout.lead

    def require_rows(self, solver: str) -> Rows:
        """The rows, which not every solver can do without."""
        if self.rows is None:
            raise ArgumentError(f"solver={solver!r} steps through the data: give X and y themselves")
        return self.rows


@dataclass(frozen=True)
class Models:
    """Which models are fitted, and from where.

    Attributes
    ----------
    axes : tuple of int
        ``()`` for one model of each problem, ``(k,)`` for k of them.
    start : (B, d, k) ndarray of float64 or None
        Where an iteration begins; zeros where it is None.
    """

    axes: tuple[int, ...]
    start: Host | None

    @classmethod
    def read(cls, given: Given, settings: Settings, w0: Array | None) -> "Models":
        """From the targets, from penalties and rates with one number for each model, or from w0."""
        layout = given.layout
        targets = layout.models
        if settings.models is not None:
            if targets not in ((), (settings.models,)):
                raise ShapeError(
                    f"learning_rate, l1 and l2 are given for {settings.models} models, but y has "
                    f"{targets[0]} targets"
                )
            targets = (settings.models,)
        if w0 is None:
            return cls(targets, None)
        common_kind(X=None if given.rows is None else given.rows.X, w0=w0)
        w0 = as_arrays(given.kind, w0)[0]
        axes = read_models(layout.lead, layout.d, targets, tuple(w0.shape), "w0")
        start = on_host(w0).astype(np.float64).reshape(layout.problems, layout.d, size(axes))
        if not np.isfinite(start).all():
            raise ArgumentError("w0 must hold finite numbers")
        return cls(axes, start)

    @property
    def count(self) -> int:
        """K."""
        return size(self.axes)


@dataclass(frozen=True)
class Native:
    """An array of float64 where a backend has computed it."""

    array: Any
    choice: _dispatch.Choice

    def to_host(self) -> Host:
        """A copy on the host."""
        return np.asarray(self.choice.module.export(self.array, "numpy"))


def to_host(array: Host | Native) -> Host:
    """The array on the host."""
    return array.to_host() if isinstance(array, Native) else array


def export(given: Given, array: Host | Native, shape: tuple[int, ...]) -> Array:
    """A result in the caller's kind and dtype; a NumPy scalar where NumPy would give one."""
    if isinstance(array, Native):
        backend = array.choice.module
        return backend.export(backend.reshape(backend.cast(array.array, given.dtype), shape), given.kind)
    result = array.reshape(shape).astype(given.dtype, copy=False)
    if given.kind == "numpy":
        return result[()]
    backend = _dispatch.choose("linreg", given.kind, given.dtype, Work(0)).module
    return backend.export(backend.native(result), given.kind)


def problem_of(given: Given, models: Models, solver: str) -> tuple[Problem, Array]:
    """The rows in the arrays of one backend, and there a copy of where the descent begins."""
    rows = given.require_rows(solver)
    problem, _ = Problem.prepare(rows.X, rows.y, None, rows.weights)
    problem = problem.with_models(models.axes)
    if models.start is None:
        return problem, problem.filled(problem.shapes.native_w, 0.0)
    return problem, problem.copy(problem.backend.native(models.start.astype(problem.sums)))
