"""Children inherit ours, however they are started, and what they call is in the report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vecprod_gpu import accel
from vecprod_gpu.accel._ledger import Entry, Ledger

SCRIPT = """
import json, multiprocessing, os, subprocess, sys
from concurrent.futures import ProcessPoolExecutor
import numpy as np

def work(count):
    three = np.array([1, 2, 3], object)
    for _ in range(count):
        np.cross(three, three)
    return type(np.cross).__name__

def killed(count):
    work(count)
    os._exit(0)

CHILD = "import numpy as np; a = np.array([1, 2, 3], object); np.cross(a, a); print(type(np.cross).__name__)"

if __name__ == "__main__":
    how, = sys.argv[1:]
    seen = [work(1)]
    if how == "subprocess":
        seen += [subprocess.check_output([sys.executable, "-c", CHILD], text=True).strip() for _ in range(2)]
    elif how == "executor":
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            seen += pool.map(work, [1, 1])
    else:
        context = multiprocessing.get_context(how)
        with context.Pool(1) as pool:  # whose end kills its worker
            seen += pool.map(work, [1])
        process = context.Process(target=killed, args=(1,))
        process.start()
        process.join()
    assert set(seen) == {"Swapped"}, seen
"""


@pytest.mark.parametrize(
    "how", ["subprocess", "executor", *(["fork", "forkserver"] if hasattr(os, "fork") else []), "spawn"]
)
def test_children_are_accelerated_and_counted(how, run, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    ended = run("-m", "vecprod_gpu.accel", "--profile", "script.py", how)
    assert "0 of 3 calls accelerated" in ended.stderr
    assert f"processes: {2 if how == 'executor' else 3}" in ended.stderr


def test_what_a_child_does_under_a_profile(installed):
    code = "import numpy as np; a = np.array([1, 2, 3], object); np.cross(a, a); np.cross(a, a)"
    with accel._profile.counting() as report:
        subprocess.run([sys.executable, "-c", code], check=True)
        np.cross([1, 2, 3], [4, 5, 6])
    assert report.reasons("np.cross") == {"object dtype is not supported": 2, "list is no NumPy array": 1}
    assert report.processes == 2


def test_profiles_nest_and_clear_up(installed):
    with accel._profile.counting() as outer:
        np.cross([1, 2, 3], [4, 5, 6])
        folder = os.environ["VECPROD_ACCEL_COUNTS"]
        with accel._profile.counting() as inner:
            np.cross([1, 2, 3], [4, 5, 6])
        np.cross([1, 2, 3], [4, 5, 6])
    assert (inner.calls(accelerated=False), outer.calls(accelerated=False)) == (1, 3)
    assert "VECPROD_ACCEL_COUNTS" not in os.environ
    assert not Path(folder).exists()


class TestTheLedger:
    def test_sums_what_processes_count(self, tmp_path):
        first, second = Ledger(str(tmp_path)), Ledger(str(tmp_path))
        for ledger, calls in ((first, 3), (second, 4)):
            for _ in range(calls):
                ledger.add(Entry("np.cross", True, "cpu"), 0.5)
        second.add(Entry("np.cross", False, "reason"), 2.0)
        total = first.total()
        assert (
            total[Entry("np.cross", True, "cpu")].calls,
            total[Entry("np.cross", True, "cpu")].seconds,
        ) == (7, 3.5)
        assert total[Entry("np.cross", False, "reason")].calls == 1
        assert second.processes() == 2

    def test_reads_what_a_killed_process_left(self, tmp_path):
        ledger = Ledger(str(tmp_path))
        ledger.add(Entry("np.cross", True, "cpu"), 0.5)
        (names,) = tmp_path.glob("*.names")
        with names.open("a") as file:
            file.write(json.dumps(["np.out"])[:-3])  # cut off
        assert [spent.calls for spent in ledger.total().values()] == [1]

    def test_has_room_for_the_last(self, tmp_path, monkeypatch):
        monkeypatch.setattr("vecprod_gpu.accel._ledger.ENTRIES", 3)
        ledger = Ledger(str(tmp_path))
        for line in range(9):
            ledger.add(Entry("np.cross", True, "cpu", line), 1.0)
        assert sum(spent.calls for spent in ledger.total().values()) == 9
