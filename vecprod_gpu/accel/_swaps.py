"""Putting ours behind NumPy's names, and taking it away again."""

import functools
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy._core.overrides import array_function_dispatch

from . import _covariances, _products
from ._routes import ask


class Swapped:
    """A function of NumPy's, whose calls may be ours.

    It stands for the original wherever functions are compared, hashed or pickled: libraries that override
    NumPy's functions look them up in tables, which they may have filled before or after the swap.
    """

    __call__: Callable[..., Any]

    def __init__(self, original: Callable[..., Any]) -> None:
        functools.update_wrapper(self, original)
        self.original = original

    def __eq__(self, other: object) -> bool:
        return other is self or other is self.original

    def __hash__(self) -> int:
        return hash(self.original)

    def __reduce__(self) -> str:
        return self.original.__name__

    def __repr__(self) -> str:
        return repr(self.original)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "original"), name)


def swapped(original: Any, question: Callable[..., Any]) -> Swapped:
    """The function, with `question` asked before each call; between the two stands C code alone."""
    dispatcher = array_function_dispatch(question, verify=False)(original._implementation)
    kind = type("Swapped", (Swapped,), {"__call__": staticmethod(dispatcher)})
    result: Swapped = kind(original)
    return result


@dataclass(frozen=True)
class Place:
    """Where an original stood.

    Attributes
    ----------
    owner : object
        A module, or a class.
    name : str
        Of its attribute.
    original, ours : object
    """

    owner: Any
    name: str
    original: Any
    ours: Any

    def fill(self) -> None:
        """Put ours there."""
        setattr(self.owner, self.name, self.ours)

    def clear(self) -> None:
        """Put the original back, unless somebody else's stands there by now."""
        if vars(self.owner).get(self.name) is self.ours:
            setattr(self.owner, self.name, self.original)


def of_numpy() -> list[Place]:
    """The places of NumPy's functions."""
    return [
        _place(np, "outer", _products.ask_outer),
        _place(np, "cross", _products.ask_cross),
        _place(np, "einsum", _products.ask_einsum),
        _place(np, "cov", _asking("np.cov", _covariances.judge_cov)),
        _place(np, "corrcoef", _asking("np.corrcoef", _covariances.judge_corrcoef)),
        _place(np.linalg, "outer", _asking("np.linalg.outer", _products.judge_linalg_outer)),
        _place(np.linalg, "cross", _asking("np.linalg.cross", _products.judge_linalg_cross)),
    ]


def _place(module: Any, name: str, asking: Callable[[Any], Callable[..., Any]]) -> Place:
    original = getattr(module, name)
    return Place(module, name, original, swapped(original, asking(original)))


def _asking(function: str, judge: Callable[..., Any]) -> Callable[[Any], Callable[..., Any]]:
    return lambda original: ask(function, original, judge)
