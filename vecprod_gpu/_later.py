"""Modules that are imported when they are first used: the start of programs without them takes less time."""

import concurrent.futures.thread  # noqa: F401  # it holds a lock during forks: not to come in the midst of one
from importlib import import_module
from typing import Any

from .backends import _forks


def imported(name: str) -> Any:
    """The module of that full name; a fork waits until it is imported whole.

    A child would otherwise wait for ever at its own use of it, since a lock of Python's for the module would
    belong to a thread that the child does not have.
    """
    with _forks.loading:
        return import_module(name)


def import_later(package: dict[str, Any], module: str) -> None:
    """Have a package import a module of its own once that, or a name that comes from it, is asked for.

    It is asked by ``__getattr__`` (PEP 562). All names are put in place at once, and that function goes: as
    long as a module has one, Python looks up none of its names in the fastest way.

    Parameters
    ----------
    package : dict
        Its globals. What ``__all__`` lists and they lack is what comes from the module.
    module : str
        Its name within the package.
    """
    missing = [name for name in package["__all__"] if name not in package]

    def __getattr__(name: str) -> Any:
        if name != module and name not in missing:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        home = imported(f"{package['__name__']}.{module}")
        for each in missing:
            package.setdefault(each, getattr(home, each))  # what somebody has put there meanwhile, stays
        package.pop("__getattr__", None)
        package.pop("__dir__", None)
        return package[name]

    def __dir__() -> list[str]:
        return sorted({*package, *missing, module})

    package.update(__getattr__=__getattr__, __dir__=__dir__)
