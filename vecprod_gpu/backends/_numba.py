"""How this package compiles for the host: lazily, cached on disk where that can be, never failing for it."""

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numba
from numba.core.compiler_lock import global_compiler_lock
from numba.misc.appdirs import AppDirs

from . import _forks

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered into lanes and fused: their order is then fixed by the compiled code, which is
# the same for every call. Nothing may be assumed about NaN or infinity.
SUMS = {"reassoc", "contract", "nsz"}

# A full disk, a folder that vanished, a file that a crash left half written.
_CACHE_ERRORS = (OSError, EOFError, pickle.UnpicklingError)

_forks.wait_for(global_compiler_lock)


def compiled(**options: Any) -> Callable[[Function], Function]:
    """``numba.njit`` without the GIL, on whichever cache folder there is, or none."""

    def compile_lazily(function: Function) -> Any:
        return _forgiving(cached(lambda cache: numba.njit(nogil=True, cache=cache, **options)(function)))

    return compile_lazily


def cached(build: Callable[[bool], Any]) -> Any:
    """``build(cache=True)``, or ``build(cache=False)`` where no folder can be written.

    Numba raises RuntimeError while decorating when it finds no writable place beside the source, in
    the user's cache folder or in NUMBA_CACHE_DIR.
    """
    # A build imports modules of Numba too: a fork waits for all of it.
    with global_compiler_lock, _cache_folder():
        try:
            return build(True)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
        except _CACHE_ERRORS:
            pass
        return build(False)


@contextmanager
def _cache_folder() -> Iterator[None]:
    """The user's cache folder for what is decorated meanwhile, unless NUMBA_CACHE_DIR names another.

    Numba's own choice lies beside the source, where the files outlive ``pip uninstall`` and keep the
    package's folder: without its ``__init__.py`` that hides the next editable installation.
    """
    chosen = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = chosen or AppDirs("vecprod_gpu", appauthor=False).user_cache_dir
    try:
        yield
    finally:
        numba.config.CACHE_DIR = chosen


def _forgiving(dispatcher: Any) -> Any:
    """The dispatcher, which compiles later, with a cache whose failures cost a compilation and no more."""
    cache = getattr(dispatcher, "_cache", None)
    if cache is not None:
        cache.load_overload = _without_failure(cache.load_overload)
        cache.save_overload = _without_failure(cache.save_overload)
    return dispatcher


def _without_failure(access: Callable[..., Any]) -> Callable[..., Any]:
    def attempt(*arguments: Any) -> Any:
        try:
            return access(*arguments)
        except _CACHE_ERRORS:
            return None

    return attempt
