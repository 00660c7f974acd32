"""The README's table of errors is what `bench.accuracy` measures."""

import re
from pathlib import Path

import pytest
from vecprod_gpu.bench import accuracy

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def stated(operation):
    """The README's row of an operation, by dtype."""
    row = re.search(rf"^\| {operation} ((?:\| \de-\d\d )+)\|$", README, flags=re.MULTILINE)
    assert row, f"the README says nothing of {operation}"
    return dict(zip(accuracy.DTYPES, map(float, row[1].split("|")[1:]), strict=True))


@pytest.mark.parametrize("operation", accuracy.OPERATIONS)
def test_errors_are_as_small_as_stated(operation, monkeypatch):
    monkeypatch.delenv("VECPROD_BACKEND", raising=False)
    for dtype, limit in stated(operation).items():
        measured = accuracy.error(operation, dtype)
        assert limit / 3 < measured < 2 * limit, (dtype, measured)
