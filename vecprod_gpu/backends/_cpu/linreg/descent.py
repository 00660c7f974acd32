"""Kernels of descent on penalised quadratics: proximal gradient steps, and coordinate descent.

Coordinate descent follows Friedman, Hastie and Tibshirani, "Regularization Paths for Generalized Linear
Models via Coordinate Descent", Journal of Statistical Software 33(1), 2010: covariance updates, warm starts
and active sets.  The duality gap is that of scikit-learn's coordinate descent, summed as in `_certificate`.

The rest of a model is ``c - H w``; without penalties it is the gradient with its sign reversed.
"""

import math
from typing import Any

import numpy as np

from ..compiling import SUMS, compiled

MODELS_AT_ONCE = 8  # for each row of H that is read
EPSILON = 2.0**-52


@compiled()
def _soft_threshold(value: float, threshold: float) -> float:
    """The proximal step of the L1 penalty; NaN stays NaN."""
    return value - min(max(value, -threshold), threshold)


@compiled(fastmath=SUMS)
def _dot(a: Any, b: Any) -> float:
    """The sum of the products."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@compiled()
def descend_by_steps(
    H: Any,
    c: Any,
    l1: Any,
    l2: Any,
    learning_rate: Any,
    start: int,
    stop: int,
    w: Any,
    values: Any,
    norms: Any,
) -> None:
    """All steps of groups ``start`` to ``stop`` of models, counted over all problems."""
    _, d, k = w.shape
    groups = -(-k // MODELS_AT_ONCE)
    models, targets = np.empty((MODELS_AT_ONCE, d)), np.empty((MODELS_AT_ONCE, d))
    products = np.empty((MODELS_AT_ONCE, d))
    for unit in range(start, stop):
        problem = unit // groups
        first = unit % groups * MODELS_AT_ONCE
        used = min(MODELS_AT_ONCE, k - first)
        for i in range(d):
            for model in range(used):
                models[model, i] = w[problem, i, first + model]
                targets[model, i] = c[problem, i, first + model]
        for t in range(norms.shape[0]):
            for i in range(d):
                for model in range(used):
                    products[model, i] = _dot(H[problem, i], models[model])
            for model in range(used):
                m = first + model
                values[t, problem, m], norms[t, problem, m] = _step(
                    products[model], targets[model], models[model], l1[m], l2[m], learning_rate[m]
                )
        for i in range(d):
            for model in range(used):
                w[problem, i, first + model] = models[model, i]


@compiled(fastmath=SUMS)
def _step(
    product: Any, target: Any, model: Any, l1: float, l2: float, learning_rate: float
) -> tuple[float, float]:
    """One proximal step of a model in place; the objective before it, and the norm of what it changed."""
    smooth = absolute = square = change = 0.0
    for i in range(model.size):
        before = model[i]
        smooth += before * (0.5 * product[i] - target[i])
        absolute += abs(before)
        square += before * before
        gradient = product[i] - target[i] + l2 * before
        after = _soft_threshold(before - learning_rate * gradient, learning_rate * l1)
        change += (before - after) * (before - after)
        model[i] = after
    return smooth + l1 * absolute + l2 / 2 * square, math.sqrt(change) / learning_rate


@compiled()
def descend_by_coordinates(
    H: Any,
    c: Any,
    yy: Any,
    l1: Any,
    l2: Any,
    tol: float,
    max_iter: int,
    start: int,
    stop: int,
    models: int,
    w: Any,
    n_iter: Any,
    gap: Any,
) -> None:
    """Coordinate descent of models ``start`` to ``stop``, counted over all problems.

    Of every so many `models` the first one alone starts from w.
    """
    _, d, k = w.shape
    target, rest, model = np.empty(d), np.empty(d), np.empty(d)
    memory = np.empty(d, np.int64), np.empty(d), np.empty(d), np.empty(d * d)
    for index in range(start, stop):
        problem, m = index // k, index % k
        shared = 0 if c.shape[2] == 1 else m
        for i in range(d):
            target[i] = c[problem, i, shared]
            if index % models == 0:
                model[i] = w[problem, i, m]
        square = yy[problem, 0 if yy.shape[1] == 1 else m]
        n_iter[problem, m], gap[problem, m] = _descend(
            H[problem], target, square, model, l1[m], l2[m], tol, max_iter, rest, memory
        )
        for i in range(d):
            w[problem, i, m] = model[i]


@compiled()
def _descend(
    H: Any,
    target: Any,
    square: float,
    model: Any,
    l1: float,
    l2: float,
    tol: float,
    max_iter: int,
    rest: Any,
    memory: Any,
) -> tuple[int, float]:
    """Coordinate descent of one model in place; the sweeps, and the duality gap."""
    for i in range(model.size):
        if H[i, i] + l2 <= 0:
            model[i] = 0.0
    _find_rest(H, target, model, rest)
    sweeps = 0
    settled = tol
    while sweeps < max_iter:
        change, largest = _sweep(H, rest, model, l1, l2)
        sweeps += 1
        if math.isnan(change):
            return sweeps, np.nan
        if change <= tol * largest:
            gap, is_optimal = _certificate(H, target, square, model, l1, l2, tol, rest)
            if is_optimal:
                return sweeps, gap
            settled *= 0.1
        if change <= EPSILON * largest:
            break
        sweeps += _descend_among_nonzero(H, target, model, l1, l2, settled, max_iter - sweeps, rest, memory)
    return sweeps, _certificate(H, target, square, model, l1, l2, tol, rest)[0]


@compiled()
def _descend_among_nonzero(
    H: Any,
    target: Any,
    model: Any,
    l1: float,
    l2: float,
    tol: float,
    max_iter: int,
    rest: Any,
    memory: Any,
) -> int:
    """Sweep over the columns of nonzero coefficients until they settle; return the sweeps.

    Their part of H is packed, so that a change costs no more than their number.  None where they are most.
    """
    columns, part_rest, part_model, part_memory = memory
    count = 0
    for i in range(model.size):
        if model[i] != 0:
            columns[count] = i
            count += 1
    if 2 * count > model.size:
        return 0
    part = part_memory[: count * count].reshape((count, count))
    for a in range(count):
        part_rest[a], part_model[a] = rest[columns[a]], model[columns[a]]
        for b in range(count):
            part[a, b] = H[columns[a], columns[b]]
    sweeps = 0
    while sweeps < max_iter:
        change, largest = _sweep(part, part_rest[:count], part_model[:count], l1, l2)
        sweeps += 1
        if not change > max(tol, EPSILON) * largest:
            break
    for a in range(count):
        model[columns[a]] = part_model[a]
    _find_rest(H, target, model, rest)
    return sweeps


@compiled(fastmath=SUMS)
def _find_rest(H: Any, target: Any, model: Any, rest: Any) -> None:
    """``rest = c - H w``."""
    for i in range(model.size):
        rest[i] = target[i]
    for j in range(model.size):
        if model[j] != 0:
            _subtract(model[j], H[j], rest)


@compiled(fastmath=SUMS)
def _subtract(factor: float, row: Any, rest: Any) -> None:
    """Bring the rest up to date with a coefficient that grew by so much."""
    for i in range(rest.size):
        rest[i] -= factor * row[i]


@compiled()
def _sweep(H: Any, rest: Any, model: Any, l1: float, l2: float) -> tuple[float, float]:
    """Minimise over each coefficient in turn; the largest change and the largest coefficient.

    Both are scaled by the root of their curvature: in units of y.  NaN where a step is not finite.
    """
    change = largest = 0.0
    for j in range(model.size):
        curvature = H[j, j] + l2
        if curvature <= 0:
            continue
        before = model[j]
        after = _soft_threshold(rest[j] + H[j, j] * before, l1) / curvature
        step = after - before
        if step != 0:
            model[j] = after
            _subtract(step, H[j], rest)
            if not abs(step) < np.inf:
                return np.nan, np.nan
        scale = math.sqrt(curvature)
        change = max(change, scale * abs(step))
        largest = max(largest, scale * abs(after))
    return change, largest


@compiled()
def _certificate(
    H: Any, target: Any, square: float, model: Any, l1: float, l2: float, tol: float, rest: Any
) -> tuple[float, bool]:
    """A bound on how far the objective is above its minimum, and whether that is small enough.

    The rest is found anew, so that both belong to this very model, whatever rounding the sweeps gathered.
    With ``v = c - Hw - l2 w`` and ``yᵀr = r² + wᵀv + l2 w²`` for the residual r, scikit-learn's gap becomes a
    sum of terms that are not negative, and so loses no digits near the minimum.
    """
    _find_rest(H, target, model, rest)
    dual = largest = norm = fit = excess = slack = 0.0
    for i in range(model.size):
        if H[i, i] + l2 <= 0:
            continue
        v = rest[i] - l2 * model[i]
        dual = max(dual, abs(v))
        largest = max(largest, abs(target[i]))
        norm += model[i] * model[i]
        fit += model[i] * (target[i] + rest[i])
        excess += v * v
    if l1 == 0:
        gap = excess / (2 * l2) if l2 > 0 else np.nan
        return gap, gap <= tol * square if l2 > 0 else dual <= tol * largest
    share = l1 / dual if dual > l1 else 1.0
    for i in range(model.size):
        v = rest[i] - l2 * model[i]
        slack += l1 * abs(model[i]) - share * model[i] * v
    gap = 0.5 * (1 - share) ** 2 * (max(square - fit, 0.0) + l2 * norm) + slack
    return gap, gap <= tol * square
