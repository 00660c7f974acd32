"""What threads do to a number in memory in one step, by its address, for compiled code."""

import ctypes
import sys
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..compiling import compiled

_I64 = ir.IntType(64)
_PAUSES = {"x86_64": ("llvm.x86.sse2.pause", ()), "aarch64": ("llvm.aarch64.hint", (1,))}
"""What tells a processor that a loop only waits, by the first word of LLVM's name for it."""


def _find(symbol: str, elsewhere: str, on_windows: str) -> bool:
    """Show the compiler a function of the system's without arguments, as `symbol`; False if there is none."""
    library, name = ("kernel32", on_windows) if sys.platform == "win32" else (None, elsewhere)
    try:
        function = getattr(ctypes.CDLL(library), name)
    except (OSError, AttributeError):
        return False
    llvmlite.binding.add_symbol(symbol, ctypes.cast(function, ctypes.c_void_p).value)
    return True


def _at(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, _I64.as_pointer())


def numbers_on_stack(count: int) -> Any:
    """A function for compiled code: ``make()`` is the address of so many numbers, until its caller ends."""

    @intrinsic  # type: ignore[untyped-decorator]
    def make(typing_context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.ptrtoint(cgutils.alloca_once(builder, _I64, count), _I64)

        return types.int64(), generate

    return make


@intrinsic  # type: ignore[untyped-decorator]
def look(typing_context: Any, address: Any) -> Any:
    """The number at an address; what was written before it is seen too."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_at(builder, arguments[0]), "acquire", 8)

    return types.int64(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def put(typing_context: Any, address: Any, value: Any) -> Any:
    """Write a number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store_atomic(arguments[1], _at(builder, arguments[0]), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _updating(operation: str) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def update(typing_context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.atomic_rmw(operation, _at(builder, arguments[0]), arguments[1], "seq_cst")

        return types.int64(types.int64, types.int64), generate

    return update


add, merge = _updating("add"), _updating("or")


@intrinsic  # type: ignore[untyped-decorator]
def change(typing_context: Any, address: Any, expected: Any, value: Any) -> Any:
    """Write a number if another is there; whether it was."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, expected, value = arguments
        found = builder.cmpxchg(_at(builder, address), expected, value, "seq_cst", "seq_cst")
        return builder.extract_value(found, 1)

    return types.boolean(types.int64, types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def pause(typing_context: Any) -> Any:
    """Leave a core to the other thread that may run on it, for a moment."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        family = llvmlite.binding.get_process_triple().partition("-")[0].replace("arm64", "aarch64")
        if family in _PAUSES:
            name, hints = _PAUSES[family]
            numbers = [ir.IntType(32)(hint) for hint in hints]
            kind = ir.FunctionType(ir.VoidType(), [number.type for number in numbers])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), numbers)
        return context.get_dummy_value()

    return types.void(), generate


if _find("vecprod_yield", "sched_yield", "SwitchToThread"):
    _yield = types.ExternalFunction("vecprod_yield", types.int32())

    @compiled()
    def give_way() -> None:
        """Leave the processor to a thread that waits for it, if there is one."""
        _yield()

else:

    @compiled()
    def give_way() -> None:
        """Nothing, where the system's way cannot be found."""


KNOWS_PROCESSORS = _find("vecprod_processor", "sched_getcpu", "GetCurrentProcessorNumber")

if KNOWS_PROCESSORS:
    _processor = types.ExternalFunction("vecprod_processor", types.int32())

    @compiled()
    def processor() -> int:
        """The number of the processor that this thread runs on."""
        return _processor()  # type: ignore[no-any-return]

else:

    @compiled()
    def processor() -> int:
        """-1: the system does not tell."""
        return -1
