"""Tensors of PyTorch, on the host and on CUDA GPUs."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from .._arrays import Array
from ..errors import ArgumentError, DeviceError, DTypeError
from ._library import OPTION_TYPES, Library, cupy_for, writable

# Functions that have an operator, and what follows their two inputs where nothing is asked for beside it.
_USUAL = {"batched_outer": (1, 0, None), "cross": (-1, -1, -1, None)}

_ANYWHERE = nullcontext()

_DIFFERENTIABLE = ("batched_outer", "cross", "gram", "linreg_gradient")


class Torch(Library):
    """On a GPU the kernels run on torch's current stream, and all memory comes from torch's allocator.

    So a call is to torch as one of its own: results can be told to other streams by ``record_stream``, and a
    capture by ``torch.cuda.graph`` keeps the memory that it needs.
    """

    name = "torch"

    def is_tracing(self) -> bool:
        return bool(torch.compiler.is_dynamo_compiling())

    def traced(self, call: Callable[..., Any], function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """By the operator of `vecprod_gpu.torch`, where that is the same; else the graph is broken there."""
        name, values = function.__name__, (*args, *kwargs.values())
        if name in _USUAL and _are_alike(*values[:2]) and _are_usual(name, values[2:]):
            from vecprod_gpu.torch import _operators

            return getattr(_operators, name)(*values[:2])
        return _outside(call, self, function, args, kwargs)

    def launching(self, array: torch.Tensor) -> AbstractContextManager[Any]:
        return _on_current_stream(array.device) if array.is_cuda else _ANYWHERE

    def view(self, array: torch.Tensor, function: str) -> Array:
        if forward_ad._current_level < 0:
            try:
                return array.numpy()
            except (RuntimeError, TypeError):  # what asks first takes longer than a small product
                pass
        return self._view_of_another(array, function)

    def plain_views(self, values: Sequence[Any]) -> list[Any] | None:
        if forward_ad._current_level >= 0:  # and there may be tangents
            return None
        try:
            return [value.numpy() if type(value) is torch.Tensor else _option(value) for value in values]
        except (RuntimeError, TypeError):  # bfloat16, on a GPU, one that requires a gradient
            return None

    def _view_of_another(self, array: torch.Tensor, function: str) -> Array:
        """Of a tensor that torch does not show to NumPy as it is."""
        if array.is_nested:
            raise ArgumentError(
                f"{function} was given a nested tensor and takes those of one shape: "
                "give it each of tensor.unbind(), or tensor.to_padded_tensor(0.0)"
            )
        if array.layout is not torch.strided:
            raise ArgumentError(
                f"{function} was given a tensor of layout {array.layout} and takes dense ones: "
                "give it tensor.to_dense()"
            )
        if forward_ad.unpack_dual(array).tangent is not None:
            raise ArgumentError(
                f"{function} was given a tensor with a tangent, which it does not carry: "
                f"use {_door(function)}, or give it forward_ad.unpack_dual(tensor).primal"
            )
        if array.requires_grad:
            if torch.is_grad_enabled():
                raise ArgumentError(
                    f"{function} was given a tensor that requires a gradient, which it does not carry: "
                    f"use {_door(function)}, or give it tensor.detach()"
                )
            array = array.detach()
        array = array.resolve_conj().resolve_neg()
        if array.device.type == "cpu":
            return _shown(array, function)
        if array.device.type != "cuda":
            raise DeviceError(
                f"a tensor on {array.device} cannot be computed there: move it to cpu or to cuda"
            )
        return cupy_for(self.name).from_dlpack(array)

    def is_copied(self, array: torch.Tensor) -> bool:
        return bool(array.is_conj() or array.is_neg())

    def keep(self, views: Sequence[Array]) -> None:
        """Nothing to do: the kernels are on the stream that torch frees memory by."""

    def give(self, native: Array, like: torch.Tensor) -> torch.Tensor:
        native = writable(native)
        return torch.from_numpy(native) if isinstance(native, np.ndarray) else _of_own_memory(native)

    def is_bfloat16(self, array: torch.Tensor) -> bool:
        return array.dtype is torch.bfloat16

    def is_floating(self, array: torch.Tensor) -> bool:
        return bool(array.dtype.is_floating_point or array.dtype.is_complex)

    def widened(self, array: torch.Tensor) -> torch.Tensor:
        return array.to(torch.float32)

    def narrowed(self, array: torch.Tensor) -> torch.Tensor:
        return array.to(torch.bfloat16)

    def write(self, out: torch.Tensor, result: torch.Tensor) -> None:
        out.copy_(result)

    def was_written(self, out: torch.Tensor) -> None:
        torch.autograd.graph.increment_version(out)


LIBRARY = Torch()


def _option(value: Any) -> Any:
    """What is no array, as it is; TypeError for others."""
    if type(value) in OPTION_TYPES:
        return value
    raise TypeError


def _are_alike(a: Any, b: Any) -> bool:
    """Whether both are tensors, of one dtype: NumPy and torch promote others in ways of their own."""
    return isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and a.dtype == b.dtype


def _are_usual(name: str, options: tuple[Any, ...]) -> bool:
    """Whether nothing is asked for beside the product; a tensor has no numbers yet to tell it by."""
    return not any(isinstance(option, torch.Tensor) for option in options) and options == _USUAL[name]


def _apart(call: Callable[..., Any], *arguments: Any) -> Any:
    return call(*arguments)


_REASON = (
    "a graph can hold the functions of vecprod_gpu.torch, and of those of vecprod_gpu itself cross and "
    "batched_outer of two tensors of one dtype, without options"
)
_takes_reason = "reason" in inspect.signature(torch.compiler.disable).parameters  # from PyTorch 2.7 on
_outside = torch.compiler.disable(_apart, **({"reason": _REASON} if _takes_reason else {}))


def _shown(array: torch.Tensor, function: str) -> Array:
    """A host tensor as NumPy sees it."""
    try:
        return array.numpy()
    except TypeError as error:
        raise DTypeError(
            f"{function} was given a tensor of {array.dtype}, which NumPy has no type for: convert it first"
        ) from error
    except RuntimeError as error:
        raise ArgumentError(
            f"{function} was given a tensor without memory, as in transforms of torch.func: "
            f"use {_door(function)}"
        ) from error


def _door(function: str) -> str:
    """Where torch's transforms know the function."""
    return f"vecprod_gpu.torch{f'.{function}' if function in _DIFFERENTIABLE else ''}"


@contextmanager
def _on_current_stream(device: torch.device) -> Iterator[None]:
    """Let CuPy launch on torch's current stream, and allocate from torch."""
    cuda = cupy_for("torch").cuda
    stream = cuda.ExternalStream(torch.cuda.current_stream(device).cuda_stream, device.index)
    with cuda.Device(device.index), stream, cuda.using_allocator(_allocate):
        yield


def _allocate(nbytes: int) -> Any:
    """Device memory for CuPy that is a tensor of bytes."""
    cuda = cupy_for("torch").cuda
    device = cuda.runtime.getDevice()
    owner = torch.empty(nbytes, dtype=torch.uint8, device=torch.device("cuda", device))
    return cuda.MemoryPointer(cuda.UnownedMemory(owner.data_ptr(), nbytes, owner, device), 0)


def _of_own_memory(native: Array) -> torch.Tensor:
    """The tensor that a CuPy array's memory is; one that borrows it where another library allocated it."""
    owner = getattr(native.data.mem, "_owner", None)
    if not isinstance(owner, torch.Tensor):
        return torch.from_dlpack(native)
    dtype = torch.from_numpy(np.empty(0, native.dtype)).dtype
    start = (native.data.ptr - owner.data_ptr()) // native.itemsize
    strides = [stride // native.itemsize for stride in native.strides]
    return (
        owner[: owner.numel() // native.itemsize * native.itemsize]
        .view(dtype)
        .as_strided(native.shape, strides, start)
    )
