"""A call that has guests: on views of them, and back."""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

from .._arrays import Array
from ..errors import ArgumentError, DeviceError
from ._known import library_of
from ._library import OPTION_TYPES, Library

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def takes_any_library(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """`function`, which takes guests too and gives back in their kind what it returns."""

    @wraps(function)
    def with_guests(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        library = library_of(*args, *kwargs.values())
        if library is None:
            return function(*args, **kwargs)
        return cast(Result, call(library, function, *args, **kwargs))

    return with_guests


def call(library: Library, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """``function(*args, **kwargs)`` on views of a library's arrays, with results as arrays of it."""
    if library.is_tracing():
        return library.traced(_call, function, args, kwargs)
    views = library.plain_views(args)
    if views is None or not all(type(option) in OPTION_TYPES for option in kwargs.values()):
        return _call(library, function, args, kwargs)
    result = function(*views, **kwargs)
    return (
        library.give(result, args[0])
        if type(result) is np.ndarray
        else _Guests(library, function, args, kwargs).give(result)
    )


def _call(library: Library, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    guests = _Guests(library, function, args, kwargs)
    if library.is_lazy:
        return library.apply(function, args, kwargs)
    with library.launching(guests.first):
        return guests.give(
            function(*map(guests.view, args), **{k: guests.view(v) for k, v in kwargs.items()})
        )


class _Guests:
    """The guests of one call, and their views."""

    def __init__(self, library: Library, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self._library = library
        self._name = function.__name__
        self._out = kwargs.get("out")
        guests = []
        meets_wider = False
        for value in (*args, *kwargs.values()):
            if (its := library_of(value)) is library:
                guests.append(value)
            elif its is not None:
                _refuse_mixture(function, args, kwargs)
            elif isinstance(value, np.ndarray) and value.dtype.kind in "fc" and value is not self._out:
                meets_wider = True
        if not library.has_mutable_arrays and any(self._out is guest for guest in guests):
            raise ArgumentError(f"out is an array of {library.name}, which cannot be written to")
        self.first = guests[0]
        self._ids = set(map(id, guests))
        self._originals: dict[int, Array] = {}
        self._views: list[Array] = []  # kept, so that no two have one id
        self._narrows = (
            not meets_wider
            and any(map(library.is_bfloat16, guests))
            and all(map(library.is_bfloat16, filter(library.is_floating, guests)))
            and "dtype" not in kwargs
        )

    def view(self, value: Any) -> Any:
        """A view of a guest; whatever else the function is given stays as it is."""
        if id(value) not in self._ids:
            return value
        is_narrow = self._library.is_bfloat16(value)
        view = self._library.view(self._library.widened(value) if is_narrow else value, self._name)
        self._views.append(view)
        self._originals[id(view)] = value
        return view

    def give(self, result: Any) -> Any:
        """What the function returned, in the kind of the guests."""
        self._library.keep(self._views)
        return self._given(result)

    def _given(self, result: Any) -> Any:
        if isinstance(result, tuple):
            return tuple(map(self._given, result))
        if hasattr(result, "with_arrays"):
            return result.with_arrays(self._given)
        if result is self._out or not _is_array(result):
            return result
        original = self._originals.get(id(result))
        if original is not None:
            return self._written(original, result)
        given = self._library.give(result, self.first)
        return self._library.narrowed(given) if self._narrows and result.dtype == np.float32 else given

    def _written(self, out: Array, view: Array) -> Array:
        """The caller's `out`, which holds the result."""
        if self._library.is_bfloat16(out) or self._library.is_copied(out):
            self._library.write(out, self._library.give(view, out))
        self._library.was_written(out)
        return out


def _is_array(value: Any) -> bool:
    """Whether it is an array, or NumPy's scalar in place of one without axes."""
    return isinstance(value, np.ndarray | np.generic) or hasattr(value, "__cuda_array_interface__")


def _refuse_mixture(function: Callable[..., Any], args: Any, kwargs: Any) -> None:
    """Raise for guests of several libraries; the message names an argument of each."""
    arguments = signature(function).bind(*args, **kwargs).arguments
    libraries = {name: library_of(value) for name, value in arguments.items()}
    found = {library.name: name for name, library in libraries.items() if library is not None}
    places = ", ".join(f"{name} is an array of {library}" for library, name in found.items())
    raise DeviceError(f"all arrays of one call must be of one library, but {places}: convert them first")
