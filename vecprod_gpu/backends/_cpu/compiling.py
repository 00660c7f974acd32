"""How this package compiles for the host: lazily, cached on disk where that can be, never failing for it."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy.ma  # noqa: F401  # Numba does at a first call, when no fork waits for it
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import overload, register_jitable

from .. import _cache, _forks

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered into lanes and fused: their order is then fixed by the compiled code, which is
# the same for every call. Nothing may be assumed about NaN or infinity.
SUMS = {"reassoc", "contract", "nsz"}

BARE = {"_nrt": False}  # without reference counts

# What Numba is not told of a function, it takes from the one that it compiles it for first: another one in
# each process, by which calls came before. So it is told all that changes bits: 0 / 0 is NaN, and no freedom.
_STRICT = {"error_model": "numpy", "fastmath": False}

_forks.wait_for(global_compiler_lock)
_cache.follow_compiler_lock()


def compiled(**options: Any) -> Callable[[Function], Function]:
    """``numba.njit`` without the GIL, strict as above, on whichever cache folder there is, or none."""

    def compile_lazily(function: Function) -> Any:
        with global_compiler_lock:  # the decorator imports modules of Numba: a fork waits for them
            dispatcher = numba.njit(nogil=True, **{**_STRICT, **options})(function)
        dispatcher._cache = _cache.LateFiles(function)
        dispatcher._compilation_chain_init_hook = _without_extensions
        return dispatcher

    return compile_lazily


def inlined(**options: Any) -> Callable[[Function], Function]:
    """Compile a function into those that call it, strict even there."""
    return register_jitable(**{**_STRICT, **options})  # type: ignore[no-any-return]


def by_type(function: Callable[..., Any], **options: Any) -> Callable[[Function], Function]:
    """`inlined` where the body follows from the types of the arguments, see `numba.extending.overload`."""
    return overload(function, jit_options={**_STRICT, **options})  # type: ignore[no-any-return]


def _without_extensions() -> None:
    """Look for no packages that add types to Numba, which reads what every installed package says of itself.

    None of their types comes here.
    """
