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


def import_later(
    package: dict[str, Any],
    rest: str,
    sooner: dict[str, tuple[str, ...]] | None = None,
    modules: tuple[str, ...] = (),
) -> None:
    """Have a package import modules of its own once they, or names that come from them, are asked for.

    It is asked by ``__getattr__`` (PEP 562). The names of a module are put in place together, and that
    function goes with the last ones: as long as a package has one, Python looks up none of its names in the
    fastest way.

    Parameters
    ----------
    package : dict
        Its globals.
    rest : str
        The module, by its name within the package, of what ``__all__`` lists and they lack.
    sooner : dict of str to tuple of str, optional
        Of modules that `rest` needs, the names that come from them: for these it is not imported.
    modules : tuple of str, optional
        Further modules that `rest` needs, which are asked for as attributes too.
    """
    homes = dict(sooner or {})
    elsewhere = {*package, *(name for names in homes.values() for name in names)}
    homes[rest] = tuple(name for name in package["__all__"] if name not in elsewhere)
    missing = {name for names in homes.values() for name in names} | {home.split(".")[0] for home in homes}
    missing.update(modules)

    def __getattr__(name: str) -> Any:
        if name not in missing:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        for module, names in homes.items():
            home = imported(f"{package['__name__']}.{module}")
            for each in names:
                package.setdefault(each, getattr(home, each))  # what somebody has put there meanwhile, stays
            if name in package:
                break
        if missing <= package.keys():
            package.pop("__getattr__", None)
            package.pop("__dir__", None)
        return package[name]

    def __dir__() -> list[str]:
        return sorted({*package, *missing})

    package.update(__getattr__=__getattr__, __dir__=__dir__)
