"""The arguments of a linear regression: checked, and brought to the one form that backends take."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import _dispatch
from .._arrays import Array, Kind, as_arrays, common_kind, stored_dtype, summing_dtype
from .._checks import shape_is
from .._costs import Work
from .._dispatch import Choice
from .._layout import size
from ..errors import DTypeError, ShapeError

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Shapes:
    """The axes of one call, read off the callers' shapes.

    Attributes
    ----------
    lead : tuple of int
        Batch axes that X, y, w and sample_weight share; B is their product.
    n, d : int
        Rows and columns of X.
    targets : int
        Columns of y in native form: 1 where there is one target.
    models : tuple of int
        ``()`` for one model, ``(k,)`` for k of them.
    """

    lead: tuple[int, ...]
    n: int
    d: int
    targets: int
    models: tuple[int, ...]

    @property
    def w(self) -> tuple[int, ...]:
        """The caller's shape of w and of a gradient."""
        return (*self.lead, self.d, *self.models)

    @property
    def loss(self) -> tuple[int, ...]:
        """The caller's shape of a loss."""
        return (*self.lead, *self.models)

    @property
    def native_w(self) -> tuple[int, int, int]:
        """``(B, d, k)``."""
        return (size(self.lead), self.d, size(self.models))

    @property
    def native_loss(self) -> tuple[int, int]:
        """``(B, k)``."""
        return (size(self.lead), size(self.models))


def read_shapes(
    X: Array, y: Array | None, w_shape: tuple[int, ...] | None, sample_weight: Array | None, w_name: str = "w"
) -> Shapes:
    """Check the shapes against each other; without w there is one model for each target."""
    lead, n, d = read_observations(X, sample_weight)
    targets = read_targets(X, y)
    models = read_models(lead, d, targets, w_shape, w_name)
    if 0 in models:
        raise ShapeError(
            "there is no model: y has no columns" if 0 in targets else f"{w_name} has no columns"
        )
    return Shapes(lead, n, d, size(targets), models)


def read_observations(X: Array, sample_weight: Array | None) -> tuple[tuple[int, ...], int, int]:
    """Batch axes, rows and columns of X, with a weight for each row where there are any."""
    if X.ndim < 2:
        raise ShapeError(
            f"X has shape {tuple(X.shape)}; needed is (..., n, d), a row for each observation"
            + (": for a single feature give X[:, None]" if X.ndim == 1 else "")
        )
    *lead, n, d = X.shape
    if n < 1 or d < 1:
        raise ShapeError(f"X has shape {tuple(X.shape)}; it needs at least one row and one column")
    if sample_weight is not None:
        shape_is("sample_weight", sample_weight, (*lead, n), "one weight for each row of X")
    return tuple(lead), n, d


def read_targets(X: Array, y: Array) -> tuple[int, ...]:
    """``()`` where y is one target for each row of X, ``(k,)`` where it has a column for each of k."""
    *lead, n, _ = X.shape
    if y.ndim == X.ndim:
        shape_is("y", y, (*lead, n, y.shape[-1]), "a row for each row of X and a column for each target")
    else:
        shape_is("y", y, (*lead, n), "one target for each row of X")
    return tuple(y.shape[X.ndim - 1 :])


def read_models(
    lead: tuple[int, ...], d: int, targets: tuple[int, ...], w_shape: tuple[int, ...] | None, w_name: str
) -> tuple[int, ...]:
    """``()`` or ``(k,)``: from w where it is given, else from the targets."""
    if w_shape is None:
        return targets
    if not targets and len(w_shape) == len(lead) + 2:
        needed: tuple[int, ...] = (*lead, d, w_shape[-1])
        why = "a coefficient for each column of X, and a column for each model"
    else:
        needed = (*lead, d, *targets)
        why = "a coefficient for each column of X" + (", and a column for each target" if targets else "")
    if w_shape != needed:
        raise ShapeError(f"{w_name} has shape {w_shape}; needed is {needed}, {why}")
    return needed[len(lead) + 1 :]


def result_dtype(**arrays: Array | None) -> np.dtype[Any]:
    """NumPy's promotion of all the arrays, integers counted as float64.

    Raises
    ------
    DTypeError
        If one holds complex numbers, or no numbers at all.
    """
    dtypes = []
    for name, array in arrays.items():
        if array is None:
            continue
        dtype = np.dtype(array.dtype)
        if dtype.kind in "biu":
            dtype = np.dtype(np.float64)
        if dtype.kind != "f":
            raise DTypeError(f"{name} has dtype {dtype}; linear regression takes real numbers")
        dtypes.append(dtype)
    return np.result_type(*dtypes)


@dataclass(frozen=True)
class Problem:
    """``B`` linear regressions in the arrays of one backend.

    Attributes
    ----------
    choice : Choice
        The backend.
    kind : str
        The caller's kind of array.
    shapes : Shapes
        Axes of the call.
    dtype : numpy.dtype
        Of the results.
    X, y, sample_weight : native array
        As ``linreg_pass`` takes them; see the contract in `vecprod_gpu.backends`.
    """

    choice: Choice
    kind: Kind
    shapes: Shapes
    dtype: np.dtype[Any]
    X: Array
    y: Array
    sample_weight: Array | None

    @classmethod
    def prepare(
        cls,
        X: Array,
        y: Array,
        w: Array | None,
        sample_weight: Array | None,
        out: Array | None = None,
        w_name: str = "w",
    ) -> "tuple[Problem, Array | None]":
        """Check the arguments of a call, choose its backend, and bring them there; w comes back beside."""
        kind = common_kind(**{"X": X, "y": y, w_name: w, "sample_weight": sample_weight, "out": out})
        X, y = as_arrays(kind, X, y)
        w = None if w is None else as_arrays(kind, w)[0]
        sample_weight = None if sample_weight is None else as_arrays(kind, sample_weight)[0]
        shapes = read_shapes(X, y, None if w is None else tuple(w.shape), sample_weight, w_name)
        dtype = result_dtype(**{"X": X, "y": y, w_name: w, "sample_weight": sample_weight})
        stored = stored_dtype(np.dtype(X.dtype), summing_dtype(dtype))
        choice = _dispatch.choose("linreg", kind, stored, _work(shapes, stored))
        problem = cls._of(choice, kind, shapes, dtype, X, y, sample_weight)
        return problem, None if w is None else problem.native(w, shapes.native_w)

    @classmethod
    def _of(
        cls,
        choice: Choice,
        kind: Kind,
        shapes: Shapes,
        dtype: np.dtype[Any],
        X: Array,
        y: Array,
        sample_weight: Array | None,
    ) -> "Problem":
        """The caller's arrays in the backend's form."""
        backend, problems = choice.module, size(shapes.lead)
        stored = stored_dtype(np.dtype(X.dtype), summing_dtype(dtype))
        return cls(
            choice,
            kind,
            shapes,
            dtype,
            backend.reshape(backend.cast(backend.native(X), stored), (problems, shapes.n, shapes.d)),
            _native(backend, y, dtype, (problems, shapes.n, shapes.targets)),
            None if sample_weight is None else _native(backend, sample_weight, dtype, (problems, shapes.n)),
        )

    @property
    def backend(self) -> Any:
        """The backend's module."""
        return self.choice.module

    @property
    def is_empty(self) -> bool:
        """Whether the batch holds no problem at all."""
        return 0 in self.shapes.lead

    @property
    def sums(self) -> np.dtype[Any]:
        """Dtype of w, of gradients and of all else but X, inside the backend."""
        return summing_dtype(self.dtype)

    def native(self, array: Array, shape: tuple[int, ...]) -> Array:
        """A caller's array in the backend's form: C-contiguous, of the summing dtype."""
        return _native(self.backend, array, self.dtype, shape)

    def empty(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        """New native memory, of the summing dtype unless told otherwise."""
        return self.backend.empty(shape, self.sums if dtype is None else np.dtype(dtype))

    def filled(self, shape: tuple[int, ...], value: float) -> Array:
        """New native memory that holds one value."""
        filled = self.empty(shape)
        self.backend.assign(filled, self.backend.native(np.full((1,) * len(shape), value, self.sums)))
        return filled

    def copy(self, native: Array) -> Array:
        """New native memory with the same contents."""
        copy = self.empty(tuple(native.shape))
        self.backend.assign(copy, native)
        return copy

    def with_models(self, axes: tuple[int, ...]) -> "Problem":
        """The same problem with models of those axes instead of one for each target."""
        return replace(self, shapes=replace(self.shapes, models=axes))

    def with_rows(self, X: Array, y: Array, sample_weight: Array | None) -> "Problem":
        """The same models on other rows, in the caller's arrays."""
        shapes = replace(self.shapes, n=X.shape[-2])
        return self._of(self.choice, self.kind, shapes, self.dtype, X, y, sample_weight)

    def with_target(self, y: Array) -> "Problem":
        """The same problem with another y, in native form."""
        return replace(self, y=y)

    def to_caller(self, native: Array, shape: tuple[int, ...]) -> Array:
        """A result in the caller's kind, dtype and shape; a NumPy scalar where NumPy would give one."""
        backend = self.backend
        result = backend.export(backend.reshape(backend.cast(native, self.dtype), shape), self.kind)
        return result[()] if self.kind == "numpy" and shape == () else result

    def to_host(self, native: Array) -> np.ndarray[Any, Any]:
        """A small result as a NumPy array; on a GPU this waits for it."""
        return np.asarray(self.backend.export(native, "numpy"))

    def run(
        self,
        w: Array,
        *,
        out: Array,
        loss: Array | None = None,
        x_offset: Array | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        learning_rate: float | None = None,
    ) -> None:
        """One pass over X: the gradient at w, or the step from w, into out. No problem, no pass."""
        if self.is_empty:
            return
        self.backend.linreg_pass(
            self.X,
            self.y,
            w,
            self.sample_weight,
            x_offset,
            l1=l1,
            l2=l2,
            learning_rate=learning_rate,
            out=out,
            loss=loss,
        )

    def is_kept(self, w: Array, x_offset: Array | None) -> bool:
        """Whether the steps of a walk read X once, and are cheap beside the walk's beginning and end."""
        return not self.is_empty and bool(self.backend.linreg_is_kept(self.X, w, x_offset))

    def walk(self, w: Array, steps: int, **how: Any) -> tuple[Host, Host]:
        """So many steps from w: where each leads ``(T, B, d, k)``, and the objectives before; on the host."""
        points = self.empty((steps, *self.shapes.native_w))
        losses = self.empty((steps, *self.shapes.native_loss), np.float64)
        if not self.is_empty:
            inputs = self.X, self.y, w, self.sample_weight
            self.backend.linreg_steps(*inputs, points=points, losses=losses, **how)
        return self.to_host(points), self.to_host(losses)


def _native(backend: Any, array: Array, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    array = backend.cast(backend.native(array), summing_dtype(dtype))
    return backend.contiguous(backend.reshape(array, shape))


def _work(shapes: Shapes, stored: np.dtype[Any]) -> Work:
    """X is read once; every element of it is multiplied and added twice for each model."""
    elements = size(shapes.lead) * shapes.n * shapes.d
    return Work(bytes=elements * stored.itemsize, flops=4 * elements * size(shapes.models))
