"""Products of vectors as operators of torch."""

from torch import Tensor

from vecprod_gpu.errors import ShapeError

from . import _operators
from ._tensors import autocast, promoted


def batched_outer(a: Tensor, b: Tensor) -> Tensor:
    """Outer products of a batch of vectors: ``out[..., i, j] = a[..., i] * b[..., j]``.

    Parameters
    ----------
    a : (..., m) Tensor
        First vectors.
    b : (..., n) Tensor
        Second vectors; the leading axes of a and b broadcast.

    Returns
    -------
    (..., m, n) Tensor
        In torch's promoted dtype; under autocast in that of matrix products.

    Raises
    ------
    ShapeError
        If a or b has no axis, or the leading axes do not broadcast.

    Notes
    -----
    The gradients are ``grad_a = G b`` and ``grad_b = Gᵀ a`` with G that of the result.  On the host both come
    from one read of G.

    Examples
    --------
    >>> import torch
    >>> from vecprod_gpu.torch import batched_outer
    >>> a = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> product = batched_outer(a, torch.tensor([3.0, 4.0]))
    >>> product.detach()
    tensor([[3., 4.],
            [6., 8.]])
    >>> product.sum().backward()
    >>> a.grad
    tensor([7., 7.])
    """
    return _operators.batched_outer(*promoted(*autocast(a, b)))


def cross(a: Tensor, b: Tensor, dim: int = -1) -> Tensor:
    """Cross product of 3-vectors: ``(a1 b2 - a2 b1, a2 b0 - a0 b2, a0 b1 - a1 b0)``.

    Parameters
    ----------
    a, b : (..., 3) Tensor
        Vectors; their other axes broadcast.
    dim : int, default -1
        Axis of a, of b and of the result that holds the components.

    Returns
    -------
    (..., 3) Tensor
        In torch's promoted dtype, which is what autocast asks of `torch.linalg.cross`, too.

    Raises
    ------
    ShapeError
        If an input has no 3 components along the axis, or the other axes do not broadcast.

    Notes
    -----
    ``cross(a, a)`` is exactly zero for finite a.  The gradients are ``b × g`` for a and ``g × a`` for b.

    Examples
    --------
    >>> import torch
    >>> from vecprod_gpu.torch import cross
    >>> cross(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0]))
    tensor([-3.,  6., -3.])
    """
    a, b = promoted(a, b)
    for name, tensor in (("a", a), ("b", b)):
        if (components := tensor.shape[dim]) != 3:
            raise ShapeError(f"{name} has {components} components along axis {dim}; a cross product needs 3")
    if dim == -1:
        return _operators.cross(a, b)
    product = _operators.cross(a.movedim(dim, -1), b.movedim(dim, -1))
    return product.movedim(-1, dim)


def gram(X: Tensor, Y: Tensor | None = None, *, weights: Tensor | None = None) -> Tensor:
    """Sum of outer products of the rows of X and Y: ``sum_i s_i conj(X[..., i, :]) ⊗ Y[..., i, :]``.

    Parameters
    ----------
    X : (..., n, p) Tensor
        Rows of numbers.
    Y : (..., n, q) Tensor, optional
        As many rows; X itself unless given. The leading axes of X, Y and weights broadcast.
    weights : (..., n) Tensor, optional
        Factor s of each row; 1 unless given.

    Returns
    -------
    (..., p, q) Tensor
        ``Xᴴ S Y``, in torch's promoted dtype, which under autocast is that of matrix products; float16 and
        bfloat16 are summed in float32.

    Raises
    ------
    ShapeError, DTypeError
        As for `vecprod_gpu.gram`.

    Examples
    --------
    >>> import torch
    >>> from vecprod_gpu.torch import gram
    >>> gram(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), weights=torch.tensor([1.0, 0.5]))
    tensor([[ 5.5000,  8.0000],
            [ 8.0000, 12.0000]])
    """
    given = [tensor for tensor in (X, Y, weights) if tensor is not None]
    ready = iter(promoted(*autocast(*given)))
    X, Y, weights = (None if tensor is None else next(ready) for tensor in (X, Y, weights))
    return _operators.gram(X, Y, weights)
