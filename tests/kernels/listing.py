"""The kernels that there are, with their arguments: as documented, in CUDA, and in Numba."""

import ast
import re
from pathlib import Path

from vecprod_gpu import kernels

FOLDER = Path(kernels.__file__).parent


def documented():
    """Kernels and arguments of the table in the package's docstring."""
    table = kernels.__doc__.split("=\n")[2].split("\n=")[0]
    rows = re.split(r"^``(\w+)``", table, flags=re.MULTILINE)[1:]
    written = dict(zip(rows[::2], rows[1::2], strict=True))
    same = {name: re.search(r"as ``(\w+)``", arguments) for name, arguments in written.items()}
    return {
        name: re.findall(r"\w+", written[other[1]] if other else written[name])
        for name, other in same.items()
    }


def in_cuda(file):
    """Kernels and arguments of a ``.cu`` file."""
    text = re.sub(r"//.*", "", (FOLDER / f"{file}.cu").read_text())
    found = re.findall(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\)\s*)?(\w+)\(([^)]*)\)', text)
    return {name: [one.split()[-1].lstrip("*") for one in arguments.split(",")] for name, arguments in found}


def in_numba(file):
    """Kernels and arguments of a ``.py`` file: the functions under a plain ``@cuda.jit``."""
    functions = [node for node in ast.parse((FOLDER / f"{file}.py").read_text()).body if _is_kernel(node)]
    return {node.name: [argument.arg for argument in node.args.args] for node in functions}


def _is_kernel(node):
    return isinstance(node, ast.FunctionDef) and [ast.unparse(one) for one in node.decorator_list] == [
        "cuda.jit"
    ]
