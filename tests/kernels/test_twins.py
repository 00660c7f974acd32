"""Both dialects of a kernel have the names and the argument order that ``kernels/__init__.py`` fixes."""

import ast
import re

import pytest

from tests.kernels.listing import FOLDER, documented, in_cuda, in_numba
from vecprod_gpu._compile import FILES

WITHOUT_TWIN = {"linreg_lanes", "linreg_steps"}  # compiled for a shape, which lets arrays be registers


@pytest.mark.parametrize("file", sorted(set(FILES) - WITHOUT_TWIN))
def test_dialects_agree(file):
    assert in_cuda(file)
    assert in_cuda(file) == in_numba(file)


@pytest.mark.parametrize("dialect", [in_cuda, in_numba])
def test_kernels_are_as_documented(dialect):
    absent = WITHOUT_TWIN if dialect is in_numba else set()
    written = {name: arguments for file in set(FILES) - absent for name, arguments in dialect(file).items()}
    without = {name for file in absent for name in in_cuda(file)}
    assert written == {name: arguments for name, arguments in documented().items() if name not in without}


@pytest.mark.parametrize("name", ["LANES_PER_TILE", "COLUMN_SLOTS"])
def test_constants_agree(name):
    pattern = rf"{name} = (\d+)"
    places = [
        FOLDER / "linreg.cu",
        FOLDER / "linreg.py",
        FOLDER.parent / "vecprod_gpu/backends/_device/linreg.py",
    ]
    values = {re.search(pattern, place.read_text())[1] for place in places}
    assert len(values) == 1


def test_decorators_are_lazy_and_leave_inlining_to_nvvm():
    """A signature makes ``@cuda.jit`` compile at import, and that starts a driver.

    What Numba itself inlines (``inline="always"``) it copies anew for each call, which took it ten times as
    long as all else.
    """
    for file in FOLDER.glob("*.py"):
        decorators = [
            one
            for node in ast.walk(ast.parse(file.read_text()))
            for one in getattr(node, "decorator_list", [])
        ]
        written = {ast.unparse(one) for one in decorators}
        assert written <= {"cuda.jit", "inlined", "intrinsic"}
