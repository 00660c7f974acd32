"""Floating-point warnings for compiled loops, as NumPy's ufuncs give them and Numba does not.

A kernel clears the processor's status flags, computes, and returns those that were raised; `report`
then acts on them as np.errstate says.
"""

import ctypes
import sys
import warnings
from typing import Any

import llvmlite.binding
import numpy as np
from numba import types

from ..._callers import frames_to_caller
from .compiling import compiled

# The C constants of <fenv.h>, which differ between platforms.
if sys.platform == "win32":
    _INVALID, _DIVIDE, _OVERFLOW, _UNDERFLOW = 0x10, 0x08, 0x04, 0x02
elif llvmlite.binding.get_process_triple().startswith(("aarch64", "arm64")):
    _INVALID, _DIVIDE, _OVERFLOW, _UNDERFLOW = 0x01, 0x02, 0x04, 0x08
else:
    _INVALID, _DIVIDE, _OVERFLOW, _UNDERFLOW = 0x01, 0x04, 0x08, 0x10
_WATCHED = _INVALID | _DIVIDE | _OVERFLOW | _UNDERFLOW

# The processor's flag; what NumPy says; and its flag for functions that np.seterrcall installs: in its order.
_KINDS = {
    "divide": (_DIVIDE, "divide by zero", 1),
    "over": (_OVERFLOW, "overflow", 2),
    "under": (_UNDERFLOW, "underflow", 4),
    "invalid": (_INVALID, "invalid value", 8),
}


def _find_fenv() -> bool:
    """Show the compiler where the C library has ``<fenv.h>``; False where it has it nowhere."""
    for library in ("ucrtbase",) if sys.platform == "win32" else ("libm.so.6", None):
        try:
            functions = ctypes.CDLL(library)
            for name in ("feclearexcept", "fetestexcept", "feraiseexcept"):
                address = ctypes.cast(getattr(functions, name), ctypes.c_void_p).value
                llvmlite.binding.add_symbol(name, address)
        except (OSError, AttributeError):
            continue
        return True
    return False


if _find_fenv():
    _clear = types.ExternalFunction("feclearexcept", types.int32(types.int32))
    _test = types.ExternalFunction("fetestexcept", types.int32(types.int32))
    _raise = types.ExternalFunction("feraiseexcept", types.int32(types.int32))

    @compiled()
    def clear_flags() -> None:
        """Forget what earlier operations of this thread raised."""
        _clear(_WATCHED)

    @compiled()
    def raised_flags() -> int:
        """The flags raised on this thread since `clear_flags`."""
        return _test(_WATCHED)  # type: ignore[no-any-return]

    @compiled()
    def raise_flags(flags: int) -> None:
        """Have this thread know of flags that others raised."""
        _raise(flags)

else:  # a C library without <fenv.h>: no warnings, as on a GPU

    @compiled()
    def clear_flags() -> None:
        """Nothing to clear."""

    @compiled()
    def raised_flags() -> int:
        """No flag is known."""
        return 0

    @compiled()
    def raise_flags(flags: int) -> None:
        """None is known."""


def report(flags: int, name: str) -> None:
    """Warn, raise or stay silent about `flags`, by np.errstate, as a ufunc called `name` would."""
    if not flags:
        return
    actions = np.geterr()
    numpys_flags = sum(numpys for flag, _, numpys in _KINDS.values() if flags & flag)
    for kind, (flag, description, _) in _KINDS.items():
        if flags & flag:
            _act(actions[kind], description, name, numpys_flags)  # type: ignore[literal-required]


def _act(action: str, description: str, name: str, flags: int) -> None:
    """Do what np.errstate prescribes for one kind of error."""
    message = f"{description} encountered in {name}"
    receiver: Any = np.geterrcall()
    if action == "warn":
        warnings.warn(message, RuntimeWarning, stacklevel=frames_to_caller())
    elif action == "raise":
        raise FloatingPointError(message)
    elif action == "print":
        print(f"Warning: {message}", file=sys.stderr)
    elif action in ("call", "log") and receiver is None:
        raise NameError(f"np.errstate says {action!r} for {description} in {name}: np.seterrcall is missing")
    elif action == "call":
        receiver(description, flags)
    elif action == "log":
        receiver.write(f"Warning: {message}\n")
