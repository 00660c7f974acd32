"""From a ``.cu`` file and a pair of dtypes to source text, and to a kernel that is compiled once.

The source is a prelude that names the two types, and the constants of a file that is compiled for a
shape, then ``common.cuh`` and the headers that the file needs, then the file.  They are joined as text
because CuPy's disk cache does not see edits to a header that is #included; that cache keeps the binary
between processes, and `get_kernel` keeps the function within one.
"""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import numpy as np

Constants = Mapping[str, int]
_Pairs = tuple[tuple[str, int], ...]

FILES: dict[str, tuple[str, ...]] = {
    "outer": (),
    "cross": ("vectors.cuh",),
    "vecdot": (),
    "measures": ("vectors.cuh", "geometry.cuh"),
    "normals": ("vectors.cuh", "geometry.cuh"),
    "comoments": ("kinds.cuh", "async.cuh", "tiles.cuh"),
    "comoments_small": ("kinds.cuh", "async.cuh"),
    "systems": (),
    "linreg": ("regression.cuh", "finish.cuh"),
    "linreg_lanes": ("regression.cuh", "async.cuh", "lanes.cuh"),
    "linreg_steps": ("regression.cuh", "async.cuh", "lanes.cuh", "finish.cuh", "messages.cuh"),
}
"""The kernel files, by the names that `source` and `get_kernel` take, and the headers each one needs."""

OPTIONS = ("-std=c++17", "-fmad=false")
"""What every compiler is told; ``common.cuh`` says why nothing may be contracted."""

_NAMED = {
    "e": "half_t",
    "f": "float",
    "d": "double",
    "F": "complex_t<float>",
    "D": "complex_t<double>",
    "?": "bool",
}
_UNSIGNED = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long"}

_PRELUDE = """\
template <class Real> struct complex_t;
struct half_t;
typedef {stored} scalar_t;
typedef {summed} acc_t;
"""


def c_type(dtype: np.dtype[Any]) -> str:
    """C++ type of a dtype; signed integers take the unsigned type of their width, which wraps.

    Examples
    --------
    >>> c_type(np.dtype(np.float16)), c_type(np.dtype(np.int32))
    ('half_t', 'unsigned int')
    """
    return _UNSIGNED[dtype.itemsize] if dtype.kind in "iu" else _NAMED[dtype.char]


NONE: Constants = MappingProxyType({})
"""What most files are compiled for: no shape in particular."""


def source(
    file: str, stored_dtype: np.dtype[Any], sum_dtype: np.dtype[Any], constants: Constants = NONE
) -> str:
    """Text of ``file.cu`` for one pair of dtypes and the constants that it asks for."""
    return _source(file, c_type(stored_dtype), c_type(sum_dtype), tuple(constants.items()))


def get_kernel(
    file: str,
    kernel: str,
    stored_dtype: np.dtype[Any],
    sum_dtype: np.dtype[Any],
    constants: Constants = NONE,
) -> Any:
    """CuPy function of a kernel, which CuPy compiles at its first launch on each device."""
    return _function(file, kernel, c_type(stored_dtype), c_type(sum_dtype), tuple(constants.items()))


def _source(file: str, stored_type: str, sum_type: str, constants: _Pairs) -> str:
    prelude = _PRELUDE.format(stored=stored_type, summed=sum_type)
    prelude += "".join(f"constexpr int {name} = {value};\n" for name, value in constants)
    names = ("common.cuh", *FILES[file], f"{file}.cu")
    return prelude + "\n".join(f'#line 1 "{name}"\n{_text(name)}' for name in names)


@cache
def _function(file: str, kernel: str, stored_type: str, sum_type: str, constants: _Pairs) -> Any:
    return _module(file, stored_type, sum_type, constants).get_function(kernel)


@cache
def _module(file: str, stored_type: str, sum_type: str, constants: _Pairs) -> Any:
    import cupy

    return cupy.RawModule(code=_source(file, stored_type, sum_type, constants), options=OPTIONS)


@cache
def _text(name: str) -> str:
    return resources.files("vecprod_gpu.kernels").joinpath(name).read_text(encoding="utf-8")
