"""The gain of accelerated scripts and the price of small calls are measured on what they are said to be."""

import json

import numpy as np
import pytest
from vecprod_gpu.bench import accel as bench

from vecprod_gpu import accel
from vecprod_gpu.accel._heard import is_heard

PLAIN, VARIABLE, MODULE = (
    "python script.py",
    "VECPROD_ACCEL_ENABLED=1 python script.py",
    "python -m vecprod_gpu.accel script.py",
)
WAYS = [PLAIN, *([VARIABLE] if is_heard() else []), MODULE]
SMALL = [
    "np.cross of two arrays, ours not loaded",
    "np.cross of two lists, ours not loaded",
    "np.cross of two arrays, ours loaded",
    "np.cross of two lists, ours loaded",
    *(f"np.outer, {length} x {length}" for length in (8, 20, 24, 28, 32, 36)),
]
OWN = {name: getattr(np, name) for name in ("cross", "outer")}


@pytest.fixture
def handed_on(monkeypatch):
    """Acceleration in this process, which its children inherit, of any size; what is measured must not."""
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "0")
    monkeypatch.setenv("VECPROD_ACCEL_SIZES", "any")
    accel.install()
    yield
    accel.uninstall()


def test_all_is_measured_and_printed(handed_on, capsys):
    bench.main(["--json", "--calls=2", "--vectors=1000", "--turns=1", "--rounds=2"])
    found = json.loads(capsys.readouterr().out)
    assert [found[name] for name in ("calls", "vectors", "turns", "rounds")] == [2, 1000, 1, 2]
    assert list(found["scripts"]) == WAYS
    assert all(its["seconds"] > 0 < its["ratio"] for its in found["scripts"].values())
    assert list(found["small"]) == SMALL
    assert all(its["plain"] > 0 < its["ours"] for its in found["small"].values())
    table = bench.table(found)
    assert [table.count(f"\n  {row}  ") for row in (*WAYS, *SMALL)] == [1] * (len(WAYS) + len(SMALL))


def test_only_the_accelerated_ways_are_accelerated(handed_on, monkeypatch):
    kinds = []
    run = bench.run
    monkeypatch.setattr(bench, "SCRIPT", "import numpy as np; print(type(np.cross).__name__)")
    monkeypatch.setattr(bench, "run", lambda *words, **variables: kinds.append(run(*words, **variables)))
    bench.scripts(1, 1, turns=1)
    plain, *ours = f"{type(OWN['cross']).__name__}\n", *["Swapped\n"] * (len(WAYS) - 1)
    assert kinds == [plain, *ours, *ours, plain]  # the second turn begins with the second way


def test_ways_that_print_otherwise_are_told(handed_on, monkeypatch):
    monkeypatch.setattr(bench, "SCRIPT", "import os; print(os.environ.get('VECPROD_ACCEL_ENABLED'))")
    with pytest.raises(RuntimeError, match=r"do not print the same: \['1\\n', 'None\\n'\]"):
        bench.scripts(1, 1, turns=1)


def test_where_the_variable_is_not_heard_that_is_said_in_place_of_a_number(monkeypatch):
    ignored = "VECPROD_ACCEL_ENABLED is ignored by the programs of this Python"
    monkeypatch.setattr(bench, "is_heard", lambda: False)
    monkeypatch.setattr(bench, "in_words", lambda: ignored)
    monkeypatch.setattr(bench, "run", lambda *words, **variables: "")
    found = {"calls": 1, "vectors": 1, "scripts": bench.scripts(1, 1, turns=1), "small": {}}
    assert list(found["scripts"]) == [PLAIN, MODULE]
    assert f"  {ignored}" in bench.table(found).splitlines()


def test_the_script_makes_the_calls(monkeypatch, capsys):
    shapes = []

    def cross(a, b):
        shapes.append((a.shape, b.shape))
        return OWN["cross"](a, b)

    monkeypatch.setattr(np, "cross", cross)
    monkeypatch.setattr("sys.argv", ["script.py", "3", "5"])
    exec(bench.SCRIPT, {})
    assert shapes == [((5, 3), (5, 3))] * 3
    assert float(capsys.readouterr().out)


def test_ours_are_compared_with_numpys_own():
    both = bench.functions()
    accel.uninstall()
    assert list(both) == ["cross", "outer"]
    for name, functions in both.items():
        assert functions["plain"] is OWN[name]
        assert functions["ours"] is not OWN[name]
        assert functions["ours"].original is OWN[name]


def test_both_are_timed_as_often_in_alternating_order():
    log = []
    both = {name: lambda a, b, name=name: log.append(name) for name in ("plain", "ours")}
    its = bench.compare(both, 1, 2, calls=2, rounds=3)
    turn = ["plain"] * 2 + ["ours"] * 2
    assert log == ["plain", "ours", *turn, *turn[::-1], *turn]
    assert list(its) == ["plain", "ours", "difference"]


def test_the_difference_is_that_of_neighbours(monkeypatch):
    taken = {"plain": [1.0, 5.0, 9.0], "ours": [2.0, 7.0, 9.0]}
    monkeypatch.setattr(bench, "take_turns", lambda timed, rounds: taken)
    its = bench.compare({"plain": min, "ours": min}, 1, 2, calls=1, rounds=3)
    assert its == {"plain": 5e6, "ours": 7e6, "difference": 1e6}


def test_another_result_is_told():
    with pytest.raises(RuntimeError, match="is not NumPy's"):
        bench.compare({"plain": min, "ours": max}, 1, 2, calls=1, rounds=1)
