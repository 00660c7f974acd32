"""The arguments of a linear regression: checked, and brought to the one form that backends take."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import _dispatch
from .._arrays import Array, Kind, as_array, common_kind
from .._dispatch import Choice
from ._plan import DType, Plan, Shapes, look_of, plan_of

Host = np.ndarray[Any, Any]


@dataclass(slots=True)  # to freeze it would take a small call longer than to make it
class Problem:
    """``B`` linear regressions in the arrays of one backend.

    Attributes
    ----------
    choice : Choice
        The backend.
    backend : module
        The same, at hand.
    kind : str
        The caller's kind of array.
    plan : Plan
        Axes and dtypes of the call.
    X, y, sample_weight : native array
        As ``linreg_pass`` takes them; see the contract in `vecprod_gpu.backends`.
    """

    choice: Choice
    backend: Any
    kind: Kind
    plan: Plan
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
    ) -> "tuple[Problem, Array | None]":
        """Check the arguments of a call, choose its backend, and bring them there; w comes back beside."""
        kind = common_kind(X=X, y=y, w=w, sample_weight=sample_weight, out=out)
        X, y = as_array(kind, X), as_array(kind, y)
        w = None if w is None else as_array(kind, w)
        sample_weight = None if sample_weight is None else as_array(kind, sample_weight)
        plan = plan_of(look_of(X), look_of(y), look_of(w), look_of(sample_weight))
        choice = _dispatch.choose("linreg", kind, plan.stored, plan.work)
        problem = cls._of(choice, kind, plan, X, y, sample_weight)
        return problem, _packed(problem.backend, w, plan.sums, plan.shapes.native_w)

    @classmethod
    def _of(
        cls, choice: Choice, kind: Kind, plan: Plan, X: Array, y: Array, sample_weight: Array | None
    ) -> "Problem":
        """The caller's arrays in the backend's form."""
        backend, shapes, sums = choice.module, plan.shapes, plan.sums
        return cls(
            choice,
            backend,
            kind,
            plan,
            _native(backend, X, plan.stored, shapes.native_X),
            _packed(backend, y, sums, shapes.native_y),
            _packed(backend, sample_weight, sums, shapes.native_weight),
        )

    @property
    def shapes(self) -> Shapes:
        """Axes of the call."""
        return self.plan.shapes

    @property
    def dtype(self) -> DType:
        """Of the results."""
        return self.plan.dtype

    @property
    def sums(self) -> DType:
        """Dtype of w, of gradients and of all else but X, inside the backend."""
        return self.plan.sums

    @property
    def is_empty(self) -> bool:
        """Whether the batch holds no problem at all."""
        return 0 in self.plan.shapes.lead

    def empty(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        """New native memory, of the summing dtype unless told otherwise."""
        return self.backend.empty(shape, self.plan.sums if dtype is None else np.dtype(dtype))

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
        return replace(self, plan=self.plan.with_axes(models=axes))

    def with_rows(self, X: Array, y: Array, sample_weight: Array | None) -> "Problem":
        """The same models on other rows, in the caller's arrays."""
        plan = self.plan.with_axes(n=X.shape[-2])
        return self._of(self.choice, self.kind, plan, X, y, sample_weight)

    def with_target(self, y: Array) -> "Problem":
        """The same problem with another y, in native form."""
        return replace(self, y=y)

    def to_caller(self, native: Array, shape: tuple[int, ...]) -> Array:
        """A result in the caller's kind, dtype and shape; a NumPy scalar where NumPy would give one."""
        backend = self.backend
        result = backend.export(backend.reshape(backend.cast(native, self.dtype), shape), self.kind)
        return result[()] if self.kind == "numpy" and shape == () else result

    def write(self, native: Array, out: Array) -> Array:
        """A result into the caller's array, which is returned."""
        self.backend.assign(out, self.backend.reshape(native, tuple(out.shape)))
        return out

    def to_host(self, native: Array) -> np.ndarray[Any, Any]:
        """A small result as a NumPy array; on a GPU this waits for it."""
        return np.asarray(self.backend.export(native, "numpy"))

    def run(
        self,
        w: Array,
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


def _native(backend: Any, array: Array, dtype: DType, shape: tuple[int, ...]) -> Array:
    """A caller's array in the backend's form."""
    return backend.reshape(backend.cast(backend.native(array), dtype), shape)


def _packed(backend: Any, array: Array | None, dtype: DType, shape: tuple[int, ...]) -> Array | None:
    """The same of an array that backends take without gaps, where there is one."""
    return None if array is None else backend.contiguous(_native(backend, array, dtype, shape))
