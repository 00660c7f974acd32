"""What the kernels should compute, in plain NumPy and float64, sharing no code with any backend.

Angles, areas and normals, in which digits cancel, are those of `tests.kernels.exact`.
"""

import numpy as np


def wide(array):
    """The array in the widest type of its kind; integers stay, since they wrap at their own width."""
    kind = np.asarray(array).dtype.kind
    return np.asarray(array, dtype={"f": np.float64, "c": np.complex128}.get(kind))


def batched_outer(a, b, alpha=1, beta=0, out=None):
    """``(alpha * a) ⊗ b + beta * out``."""
    product = np.einsum("...i,...j->...ij", wide(a) * np.asarray(alpha).astype(wide(a).dtype), wide(b))
    return product if beta == 0 else product + wide(out) * np.asarray(beta).astype(wide(out).dtype)


def cross(a, b):
    """``a × b`` over the last axis."""
    a0, a1, a2 = np.moveaxis(wide(a), -1, 0)
    b0, b1, b2 = np.moveaxis(wide(b), -1, 0)
    return np.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis=-1)


def vecdot(a, b):
    """``sum(conj(a) * b)`` over the last axis."""
    a, b = wide(a), wide(b)
    return (np.conj(a) * b).sum(axis=-1, dtype=a.dtype)


def triple_product(a, b, c):
    """``a · (b × c)`` over the last axis."""
    return vecdot(a, cross(b, c))


def linreg(X, y, w, sample_weight=None, x_offset=None, *, l1=0.0, l2=0.0, learning_rate=None):
    """Gradient, or proximal step where a learning rate is given, and loss: ``(B, d, k)`` and ``(B, k)``."""
    X, y, w = wide(X), wide(y), wide(w)
    s = np.ones(X.shape[:2]) if sample_weight is None else wide(sample_weight)
    if x_offset is not None:
        X = X - wide(x_offset)[:, None, :]
    results, losses = [], []
    for X_i, y_i, w_i, s_i in zip(X, y, w, s, strict=True):
        residual = X_i @ w_i - y_i
        total = s_i.sum()
        result = X_i.T @ (s_i[:, None] * residual) / total + l2 * w_i
        if learning_rate is not None:
            moved = w_i - learning_rate * result
            result = np.sign(moved) * np.maximum(np.abs(moved) - learning_rate * l1, 0)
        results.append(result)
        penalty = l1 * np.abs(w_i).sum(axis=0) + l2 / 2 * (w_i**2).sum(axis=0)
        losses.append((s_i[:, None] * residual**2).sum(axis=0) / (2 * total) + penalty)
    return np.stack(results), np.stack(losses)


def widest(array):
    """The array in a type that has digits to spare; integers stay, since they wrap at their own width."""
    kind = np.asarray(array).dtype.kind
    return np.asarray(array, dtype={"f": np.longdouble, "c": np.clongdouble}.get(kind))


def gram(X, Y=None, weights=None):
    """``sum_i s_i conj(X_i) ⊗ Y_i``, of X with itself where there is no Y."""
    left = np.conj(widest(X)) if weights is None else np.conj(widest(X)) * widest(weights)[..., np.newaxis]
    return np.einsum("...ni,...nj->...ij", left, widest(X if Y is None else Y))


def co_moments(X, Y=None, weights=None, *, scale=1.0, correlation=False):
    """Total weights, means and centred sums of outer products of ``[X Y]``, in two passes."""
    Z = widest(X if Y is None else np.concatenate([X, Y], axis=-1))
    s = np.ones(Z.shape[:-1], np.longdouble) if weights is None else widest(weights).real
    total = s.sum(axis=-1)
    means = (s[..., np.newaxis] * Z).sum(axis=-2) / total[..., np.newaxis]
    centred = Z - means[..., np.newaxis, :]
    matrix = scale * np.einsum("...n,...ni,...nj->...ij", s, centred, np.conj(centred))
    if correlation:
        deviations = np.sqrt(np.einsum("...ii->...i", matrix).real)
        with np.errstate(invalid="ignore"):
            matrix = matrix / deviations[..., :, np.newaxis] / deviations[..., np.newaxis, :]
        if matrix.dtype.kind == "c":
            return total, means, np.clip(matrix.real, -1, 1) + 1j * np.clip(matrix.imag, -1, 1)
        matrix = np.clip(matrix, -1, 1)
    return total, means, matrix


def ridge(X, Y, *, l2, is_centred):
    """Of one regression: coef, None where X is singular; intercept, loss, condition, and the loss's share.

    The condition is that of the scaled matrix in the 1-norm; the share that half the mean squared error is of
    the sizes of the terms that a quadratic form of it has.
    """
    n, d = X.shape
    x_mean, y_mean = (one.mean(axis=0) * is_centred for one in (X, Y))
    X, Y = (X - x_mean) / np.sqrt(n), (Y - y_mean) / np.sqrt(n)
    normal = X.T @ X + l2 * np.eye(d)
    roots = np.sqrt(np.diagonal(normal))
    scaled = normal / roots / roots[:, np.newaxis]
    if np.linalg.cond(scaled) > 1e13:
        return None, None, None, np.inf, np.inf
    rows, targets = np.vstack([X, np.sqrt(l2) * np.eye(d)]), np.vstack([Y, np.zeros((d, Y.shape[1]))])
    coef = np.linalg.lstsq(rows, targets, rcond=None)[0]
    squares = np.square(Y - X @ coef).sum(axis=0)
    terms = np.square(Y).sum(axis=0) + np.square(np.linalg.norm(X, axis=0) @ np.abs(coef))
    loss = squares / 2 + l2 / 2 * np.square(coef).sum(axis=0)
    return coef, y_mean - x_mean @ coef, loss, np.linalg.cond(scaled, 1), (squares / terms).min()
