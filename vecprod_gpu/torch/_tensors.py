"""What the operators share: dtypes as torch promotes and autocasts them, and axes for vmap."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import TransformType, get_interpreter_stack
from torch.autograd import forward_ad

from vecprod_gpu.errors import ArgumentError

NARROW = (torch.float16, torch.bfloat16)


def promoted(*tensors: Tensor) -> list[Tensor]:
    """The tensors in the dtype that torch promotes theirs to."""
    dtype = common_dtype(*tensors)
    return [tensor.to(dtype) for tensor in tensors]


def common_dtype(*tensors: Tensor | None) -> torch.dtype:
    """The dtype that torch promotes those of the tensors to."""
    return reduce(torch.promote_types, (tensor.dtype for tensor in tensors if tensor is not None))


def autocast(*tensors: Tensor) -> list[Tensor]:
    """The tensors as torch's matrix products take them where autocast is on: float64 stays as it is."""
    device = tensors[0].device.type
    if not is_autocast(tensors[0]):
        return list(tensors)
    narrow = torch.get_autocast_dtype(device)
    wide = (torch.float32, *NARROW)
    return [tensor.to(narrow) if tensor.dtype in wide else tensor for tensor in tensors]


def is_autocast(tensor: Tensor) -> bool:
    """Whether autocast is on for the device that the tensor lives on."""
    return bool(torch.is_autocast_enabled(tensor.device.type))


def batch_first(
    tensors: Sequence[Tensor], batch_axes: Sequence[int | None], core_axes: Sequence[int]
) -> list[Tensor]:
    """The tensors with the axis of vmap first (of length 1 without one), and equally many leading axes.

    So their leading axes broadcast as they did without vmap, and the axis of vmap with itself alone.
    """
    moved = [
        tensor.unsqueeze(0) if axis is None else tensor.movedim(axis, 0)
        for tensor, axis in zip(tensors, batch_axes, strict=True)
    ]
    leading = [tensor.ndim - core for tensor, core in zip(moved, core_axes, strict=True)]
    return [
        tensor.reshape(tensor.shape[0], *(1,) * (max(leading) - own), *tensor.shape[1:])
        for tensor, own in zip(moved, leading, strict=True)
    ]


def _is_transformed() -> bool:
    """Whether a transform of `torch.func` or the forward mode of autograd looks on."""
    return bool(torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0)


# A constant of the graph, which torch.compile makes anew for other transforms.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _is_differentiated() -> bool:
    """Whether one that differentiates does, which `torch.func.vmap` does not."""
    return any(kind != TransformType.Vmap for kind in _transforms()) or forward_ad._current_level >= 0


def _refuse_two_forward_modes() -> None:
    """Forward mode within forward mode loses the outer tangents of what an `autograd.Function` has kept."""
    if _transforms().count(TransformType.Jvp) > 1:
        raise ArgumentError(
            "a function of vecprod_gpu.torch was given to forward mode within forward mode, where torch "
            "loses derivatives of all but its own functions: use reverse mode for one of the two, as "
            "torch.func.hessian does"
        )


def _transforms() -> list[TransformType]:
    """Of `torch.func`, from the outermost on."""
    return [level.key() for level in get_interpreter_stack() or ()]


def save(ctx: Any, *tensors: Tensor | None) -> None:
    """Keep inputs and outputs for both modes of differentiation."""
    ctx.save_for_backward(*tensors)
    ctx.save_for_forward(*tensors)


def operator(schema: str) -> Callable[[Callable[..., Any]], Any]:
    """Register a function as ``torch.ops.vecprod_gpu.NAME``; the schema is ``NAME(arguments) -> results``."""
    name, parenthesis, signature = schema.partition("(")
    registered: Callable[[Callable[..., Any]], Any] = torch.library.custom_op(
        f"vecprod_gpu::{name}", mutates_args=(), schema=parenthesis + signature
    )
    return registered


def differentiable(
    operator: Any,
    *,
    fake: Callable[..., Any],
    setup_context: Callable[..., None],
    backward: Callable[..., Any],
    jvp: Callable[..., Any],
    vmap: Callable[..., Any],
) -> Callable[..., Any]:
    """A function that calls an operator, with shapes for tracing, derivatives and a rule for vmap.

    An operator is registered with a gradient that neither the transforms of `torch.func` nor forward mode
    see: they ask for an `autograd.Function` that sets up its context apart.  That one alone would do, but it
    costs more for each call, and no graph can hold it: torch.compile breaks one there.

    All rules are as `torch.autograd.Function` has them.
    """
    operator.register_fake(fake)
    operator.register_autograd(backward, setup_context=setup_context)
    operator.register_vmap(vmap)
    rules = {
        "forward": operator,
        "setup_context": setup_context,
        "backward": backward,
        "jvp": jvp,
        "vmap": vmap,
    }
    function: Any = type(
        "Function", (torch.autograd.Function,), {name: staticmethod(rule) for name, rule in rules.items()}
    )

    def call(*arguments: Any) -> Any:
        if _is_differentiated() if torch.compiler.is_compiling() else _is_transformed():
            _refuse_two_forward_modes()
            return function.apply(*arguments)
        return operator(*arguments)

    return call
