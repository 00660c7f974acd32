"""How a call finds its way: to ours, or to NumPy as if we were not there.

A swapped function asks a *judge* whether a call is one of ours. The answer travels by NumPy's own override
protocol (NEP 18): an object with ``__array_function__`` takes the call, and without one NumPy's
implementation is called by C code, with no frame of ours between it and the caller. So the warnings that it
gives are attributed to the caller's line, and a small call pays for little more than the question.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from numpy import ndarray

from .. import _dispatch
from .._words import in_one_line
from ._watch import watch

Verdict = Callable[[], Any] | str
"""What computes the result, or the reason why it is left to NumPy."""

TOO_SMALL = "too small to gain"
WARNS = "floating-point warnings are given by NumPy"
IS_NOT_FINITE = "NaN or infinity in the result"
ON_DEVICE = ("cupy", "numba-cuda")


Question = Callable[..., tuple[Any, ...]]
"""Of a call's arguments: who takes it by NumPy's protocol."""


class Unsuitable(Exception):
    """What ours found out in the middle of a call, and leaves to the original."""


class _Taken:
    """A call that ours takes."""

    __slots__ = ("compute", "function")

    def __init__(self, function: str, compute: Callable[[], Any]) -> None:
        self.function, self.compute = function, compute

    def __array_function__(self, public: Any, types: Any, args: Any, kwargs: Any) -> Any:
        start = perf_counter()
        try:
            result, backend = computed(self.compute)
        except Exception as error:
            return watch.timed(self.function, in_words(error), public._implementation, *args, **kwargs)
        if watch.on:
            watch.accelerated(self.function, backend, perf_counter() - start)
        return result


class _Left:
    """A call that is left to NumPy while somebody watches."""

    __slots__ = ("function", "reason")

    def __init__(self, function: str, reason: str) -> None:
        self.function, self.reason = function, reason

    def __array_function__(self, public: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return watch.timed(self.function, self.reason, public._implementation, *args, **kwargs)


class _Foreign:
    """A call on another library's arrays, which expect to be asked about the very function of NumPy's."""

    __slots__ = ("function", "original", "reason")

    def __init__(self, function: str, original: Callable[..., Any], reason: str) -> None:
        self.function, self.original, self.reason = function, original, reason

    def __array_function__(self, public: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return watch.timed(self.function, self.reason, self.original, *args, **kwargs)


def ask(function: str, original: Callable[..., Any], judge: Callable[..., Verdict]) -> Question:
    """The question that NumPy's protocol asks at each call: whom it is to be handed to.

    Parameters
    ----------
    function : str
        Its name, as users write it.
    original : callable
        NumPy's.
    judge : callable
        Says of the arguments whether ours takes them.

    Returns
    -------
    callable
        Of the arguments; it answers with nobody where the call is to be NumPy's own.
    """

    def relevant(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        for argument in (*args, *kwargs.values()):
            if _overrides(type(argument)):
                return (_Foreign(function, original, f"{type(argument).__name__} is no NumPy array"),)
        try:
            verdict = judge(*args, **kwargs)
        except Exception as error:  # of arguments that NumPy will complain of, in its own words
            verdict = in_words(error)
        if not isinstance(verdict, str):
            return (_Taken(function, verdict),)
        return (_Left(function, verdict),) if watch.on else ()

    return relevant


def computed(compute: Callable[[], Any]) -> tuple[Any, str]:
    """The result of ours, and the backend that computed it; an exception where NumPy would have warned."""
    actions = {kind: "ignore" if action == "ignore" else "raise" for kind, action in np.geterr().items()}
    _dispatch.latest.backend = "cpu"  # which a small call reaches without a choice
    with np.errstate(**actions):  # type: ignore[arg-type]
        result = watch.unseen(compute)
    backend = _dispatch.latest.backend
    if backend in ON_DEVICE and type(result) is ndarray and result.dtype.kind == "f":
        require_finite(result)  # a GPU warns of nothing
    return result, backend


def require_finite(result: Any) -> Any:
    """The result, if it is finite; else NumPy is to say how it got there."""
    if not np.isfinite(result).all():
        raise Unsuitable(IS_NOT_FINITE)
    return result


def in_words(error: Exception) -> str:
    """Why a call fell back, from what ours raised."""
    if isinstance(error, FloatingPointError):
        return WARNS
    words = in_one_line(error)[:100]
    return words if isinstance(error, Unsuitable) else f"{type(error).__name__}: {words}"


def _overrides(kind: type) -> bool:
    """Whether a type has NumPy's functions done in its own way."""
    if kind is ndarray:
        return False
    override = getattr(kind, "__array_function__", None)
    return override is not None and override is not ndarray.__array_function__
