"""The rates that ``vecprod bench --calibrate`` measures: kept in a file, and believed where they belong."""

import json
import math

import numpy as np
import pytest

import vecprod_gpu as vp
from vecprod_gpu import _calibrate, _machine, _rates, _user_cache, cli
from vecprod_gpu.backends import _driver

HOST = {"host_bytes": 2e10, "host_flops": 3e10}
ALL = HOST | {"device_bytes": 2e12, "device_flops": 1e13, "transfer_bytes": 2e10, "latency": 5e-5}


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch):
    """A place of the test's own, where nothing was measured yet; compiled kernels stay where they are."""
    monkeypatch.setattr(_rates, "file", lambda: tmp_path / "new" / "rates.json")


def changed(**entries):
    """Write the file anew with other entries."""
    document = json.loads(_rates.file().read_text())
    _rates.file().write_text(json.dumps(document | entries))


class TestTheFile:
    def test_lies_in_the_users_cache(self, tmp_path, monkeypatch):
        monkeypatch.undo()
        for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
            monkeypatch.setenv(name, str(tmp_path))
        assert _rates.file().parent == _user_cache.folder()
        assert _rates.file().is_relative_to(tmp_path)

    def test_holds_what_was_saved_and_nothing_else_is_left(self):
        _rates.save({"float32": ALL, "float64": HOST})
        loaded = _rates.load()
        assert {name: getattr(loaded["float32"], name) for name in ALL} == ALL
        assert loaded["float32"].origin.startswith("measured 2")
        assert loaded["float64"].host_bytes == 2e10
        assert loaded["float64"].device_flops == _rates.ASSUMED.device_flops
        assert loaded["float64"].origin.endswith(" without a GPU, whose rates are assumed")
        assert list(_rates.file().parent.iterdir()) == [_rates.file()]

    def test_may_be_missing(self):
        assert _rates.load() == {}

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "7", "null", '{"version": 1}', "\x00\xff", '{"version": 1, "machine": {}}']
    )
    def test_that_cannot_be_read_is_ignored(self, text):
        _rates.save({"float32": ALL, "float64": ALL})
        _rates.file().write_text(text)
        assert _rates.load() == {}

    @pytest.mark.parametrize(
        "entry",
        [
            {"version": _rates.VERSION + 1},
            {"machine": {"cpu": "another", "processors": 2, "gpus": []}},
            {"rates": {"float32": ALL}},
            {"rates": {"float32": ALL, "float64": {}}},
            {"rates": {"float32": ALL, "float64": [1.0]}},
            {"rates": {"float32": ALL, "float64": ALL | {"host_flops": 0}}},
            {"rates": {"float32": ALL, "float64": ALL | {"latency": -1.0}}},
            {"rates": {"float32": ALL, "float64": ALL | {"device_bytes": math.inf}}},
            {"rates": {"float32": ALL, "float64": ALL | {"device_bytes": "fast"}}},
        ],
    )
    def test_of_another_version_or_machine_or_without_sense_is_ignored(self, entry):
        _rates.save({"float32": ALL, "float64": ALL})
        assert len(_rates.load()) == 2
        changed(**entry)
        assert _rates.load() == {}

    @pytest.mark.parametrize(
        ("place", "name", "other"),
        [(_machine, "cpu_name", "another CPU"), (_driver, "device_names", ["another GPU"])],
    )
    def test_is_of_this_hardware(self, place, name, other, monkeypatch):
        _rates.save({"float32": ALL, "float64": ALL})
        monkeypatch.setattr(place, name, lambda: other)
        assert _rates.load() == {}

    def test_does_not_depend_on_the_number_of_threads(self, monkeypatch):
        _rates.save({"float32": ALL, "float64": ALL})
        monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
        assert len(_rates.load()) == 2


class Nvml:
    """A management library that knows two GPUs, and cannot name the second."""

    NAMES = (b"NVIDIA A", None)

    def __init__(self):
        self.calls = []

    def nvmlInit_v2(self):
        return 0

    def nvmlDeviceGetCount_v2(self, count):
        count._obj.value = len(self.NAMES)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        handle._obj.value = index + 1
        return 0 if self.NAMES[index] else 3

    def nvmlDeviceGetName(self, handle, name, length):
        name.value = self.NAMES[handle.value - 1]
        return 0

    def nvmlShutdown(self):
        self.calls.append("shutdown")


def test_gpus_are_named_by_the_management_library(monkeypatch):
    library = Nvml()
    monkeypatch.setattr(_driver, "_load", lambda name: library)
    assert _driver.device_names() == ["NVIDIA A", ""]
    assert library.calls == ["shutdown"]
    monkeypatch.setattr(_driver, "_load", lambda name: None)
    assert _driver.device_names() == []


class TestCalibrating:
    def test_measures_every_rate_of_both_dtypes(self, monkeypatch):
        for name in ("COLUMNS", "MODELS", "TIMES_ON_A_GPU", "CALLS_AT_ONCE", "TURNS", "SMALL_TURNS"):
            monkeypatch.setattr(_calibrate, name, 2)
        measured = _calibrate.calibrate(rows=64)
        assert list(measured) == list(_rates.DTYPES)
        assert all(set(rates) == set(ALL) for rates in measured.values())
        for dtype, rates in _rates.load().items():
            assert {name: getattr(rates, name) for name in ALL} == measured[dtype]
            assert "assumed" not in rates.origin

    def test_without_a_gpu_measures_the_host(self, monkeypatch):
        monkeypatch.setattr(_calibrate._dispatch, "ON_DEVICE", ())
        measured = _calibrate.calibrate(rows=64)
        assert list(measured) == list(_rates.DTYPES)
        assert all(set(rates) == set(HOST) for rates in measured.values())

    def test_reckons_with_what_the_operations_count(self, monkeypatch):
        """The flops of a call are those that the dispatcher is told of."""
        works = []
        choose = _calibrate._dispatch.choose
        monkeypatch.setattr(
            _calibrate._dispatch,
            "choose",
            lambda operation, kind, dtype, work: works.append(work) or choose(operation, kind, dtype, work),
        )
        problem = _calibrate._Problem(64, np.dtype(np.float32))
        with vp.use_backend("cpu"):  # as calibration does
            _calibrate._compute(problem.X, problem.y, problem.w, problem.models)
        assert sum(work.flops for work in works) == problem.flops

    def test_as_a_command_prints_the_rates_and_the_file(self, monkeypatch, capsys):
        monkeypatch.setattr(_calibrate, "calibrate", lambda: _rates.save({"float32": ALL, "float64": ALL}))
        assert cli.main(["bench", "--calibrate"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("float32: host 20 GB/s and 30 Gflop/s, GPU 2e+03 GB/s")
        assert lines[1].startswith("float64: ")
        assert lines[2] == f"kept in {_rates.file()}"

    @pytest.mark.parametrize(
        "option", [["--quick"], ["--rows", "cross"], ["--device", "cpu"], ["--json", "x"]]
    )
    def test_goes_with_no_other_option(self, option, capsys):
        assert cli.main(["bench", "--calibrate", *option]) == 2
        assert "--calibrate goes with no other option" in capsys.readouterr().err
        assert not _rates.file().exists()
