"""The report, as tables of rich and without it."""

import io
import sys

import numpy as np
import pytest

from vecprod_gpu import _dispatch, accel
from vecprod_gpu.accel._ledger import Entry, Spent
from vecprod_gpu.accel._report import Report

REPORT = Report(
    counts={
        Entry("np.cross", True, "cpu"): Spent(30, 0.06),
        Entry("np.cross", False, "object dtype is not supported"): Spent(10, 0.02),
        Entry("np.cov", False, "too small to gain"): Spent(60, 12e-6),
    },
    processes=2,
)


def printed(report):
    file = io.StringIO()
    report.print(file)
    return [" ".join(line.split()) for line in file.getvalue().splitlines() if line.strip()]


@pytest.mark.parametrize("is_there", [True, False])
def test_what_it_says(is_there, monkeypatch):
    if not is_there:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setenv("COLUMNS", "120")
    rows = printed(REPORT)
    assert "np.cross cpu 30 75 % 60 ms 75 %" in rows
    assert "np.cross fell back 10 25 % 20 ms 25 %" in rows
    assert "np.cov fell back 60 100 % 12 µs 100 %" in rows
    assert "np.cross object dtype is not supported 10 20 ms" in rows
    assert "np.cov too small to gain 60 12 µs" in rows
    assert rows[-1] == (
        "vecprod_gpu.accel: 30 of 100 calls accelerated (30 %), 75 % of 80 ms in these functions; "
        "processes: 2"
    )


def test_nothing_to_say():
    assert printed(Report()) == ["vecprod_gpu.accel: no call of a function that could be accelerated"]


def test_asking_it():
    assert REPORT.calls() == REPORT.calls("np.cross") == 30
    assert REPORT.calls(accelerated=False) == 70
    assert REPORT.reasons("np.cov") == {"too small to gain": 60}
    assert len(REPORT.reasons()) == 2


def test_profile_prints_at_its_end(installed, capsys):
    with accel.profile() as report:
        np.cross([1, 2, 3], [4, 5, 6])
    assert report.calls(accelerated=False) == 1
    assert "0 of 1 calls accelerated" in capsys.readouterr().err


def test_profile_prints_after_an_error(installed, capsys):
    with pytest.raises(ValueError, match="incompatible dimensions"), accel.profile():
        np.cross([1], [4])
    assert "0 of 1 calls accelerated" in capsys.readouterr().err


NAMED = """
import numpy as np, sklearn.linear_model as models
import vecprod_gpu as vp
from vecprod_gpu import _costs, accel
_costs.device_pays = lambda *its: True
X = np.random.default_rng(0).normal(size=(500, 3))
accel.install()
with accel._profile.counting() as report:
    for name in ("ElasticNet", "Lasso", "LinearRegression", "Ridge"):
        getattr(models, name)().fit(X, X @ [1.0, -2.0, 0.5])
    np.cov(X, rowvar=False), np.cross(X, X[::-1])
assert report.calls() == 6, report
able = {name for name, state in vp.backends().items() if state.available}
assert {entry.detail for entry in report.counts} <= able, report
"""


def test_only_backends_that_can_run_are_named(run):
    """In a process of its own: among these tests a stand-in for CuPy takes what a GPU would be faster at."""
    run("-c", NAMED, VECPROD_ACCEL_SIZES="any")


def test_a_call_that_chooses_nothing_is_not_named_after_the_one_before(any_size):
    a = np.ones((4, 3))
    np.cross(a, a)  # the first small call of a dtype chooses; those after it take a short way
    _dispatch.latest.backend = "cupy"
    with accel._profile.counting() as report:
        np.cross(a, a)
    assert [entry.detail for entry in report.counts] == ["cpu"]


def test_our_own_calls_are_not_the_programs(any_size, rng):
    from sklearn.linear_model import Ridge

    with accel._profile.counting() as report:
        Ridge().fit(rng.normal(size=(50, 3)), rng.normal(size=50))
    assert {entry.function for entry in report.counts} == {"Ridge.fit"}
