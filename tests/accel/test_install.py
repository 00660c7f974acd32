"""Swapping functions and putting them back; what they are to whoever looks at them."""

import copy
import inspect
import logging
import os
import pickle
import subprocess
import sys
import sysconfig
import types
import venv
from pathlib import Path

import numpy as np
import pytest

from tests.accel.conftest import ROOT
from vecprod_gpu import accel, errors
from vecprod_gpu.accel import _heard, _wheel
from vecprod_gpu.accel._children import STARTUP

NAMES = ["outer", "cross", "einsum", "cov", "corrcoef", "linalg.outer", "linalg.cross"]
ORIGINALS = {name: eval(f"np.{name}", {"np": np}) for name in NAMES}


def now(name):
    return eval(f"np.{name}", {"np": np})


def test_originals_come_back_however_often():
    environment = dict(os.environ)
    for _ in range(2):
        accel.install()
        accel.install()
        assert accel.is_installed()
        assert all(now(name) is not ORIGINALS[name] for name in NAMES)
        accel.uninstall()
        accel.uninstall()
        assert not accel.is_installed()
        assert all(now(name) is ORIGINALS[name] for name in NAMES)
    assert dict(os.environ) == environment


def test_what_somebody_else_put_there_stays(monkeypatch):
    accel.install()
    ours = np.cross
    monkeypatch.setattr(np, "cross", lambda *args: ours(*args))
    theirs = np.cross
    accel.uninstall()
    assert np.cross is theirs
    monkeypatch.undo()
    np.cross = ORIGINALS["cross"]


@pytest.mark.parametrize("name", NAMES)
def test_a_function_looks_like_the_original(name, installed):
    ours, original = now(name), ORIGINALS[name]
    assert ours == original
    assert original == ours
    assert hash(ours) == hash(original)
    assert {original: 1}[ours] == {ours: 1}[original] == 1
    assert inspect.signature(ours) == inspect.signature(original)
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__", "_implementation"):
        assert getattr(ours, attribute) == getattr(original, attribute)
    assert repr(ours) == repr(original)
    assert inspect.isroutine(ours) == inspect.isroutine(original)
    assert pickle.loads(pickle.dumps(ours)) is ours
    assert copy.deepcopy(ours) is ours
    assert not hasattr(ours, "colour")


def test_pickles_are_read_without_us(installed):
    pickled = pickle.dumps(np.cross)
    accel.uninstall()
    assert pickle.loads(pickled) is np.cross is ORIGINALS["cross"]


def test_a_method_binds_as_with_the_original(installed):
    class Vector(np.ndarray):
        times = np.cross

    vector = np.array([1.0, 2, 3]).view(Vector)
    np.testing.assert_array_equal(vector.times([4, 5, 6]), [-3, 6, -3])
    assert isinstance(vector.times, types.MethodType)


@pytest.mark.parametrize("is_registered_first", [True, False])
def test_libraries_that_override_numpy_find_their_function(is_registered_first):
    """Some hold tables by function, filled before or after the swap; others compare."""
    table = {np.cross: "mine"} if is_registered_first else {}

    class Theirs:
        def __array_function__(self, function, types, args, kwargs):
            return table[function], function == np.cross

    accel.install()
    try:
        if not is_registered_first:
            table[np.cross] = "mine"
        assert np.cross(Theirs(), [1, 2, 3]) == ("mine", True)
        assert np.cross(np.ones(3), Theirs()) == ("mine", True)
    finally:
        accel.uninstall()


def test_warnings_point_at_the_callers_line(installed):
    with (
        pytest.warns(DeprecationWarning, match="2-dimensional")
        if np.__version__ < "2.5"
        else pytest.raises(ValueError) as given
    ):
        np.cross(np.ones(2), np.ones(2))
    if np.__version__ < "2.5":
        assert given[0].filename == __file__


def test_the_log():
    told = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    logging.getLogger("vecprod_gpu.accel").addHandler(handler)
    bad = np.array([1, 2, 3], np.longdouble)
    words = f"`np.cross` falling back to NumPy: {bad.dtype} dtype is not supported"
    try:
        for level, count in (("warning", 0), ("info", 1), ("info", 0), ("debug", 2)):
            accel.install(level)
            np.cross(bad, bad), np.cross(bad, bad)
            assert told == [words] * count
            told.clear()
    finally:
        logging.getLogger("vecprod_gpu.accel").removeHandler(handler)
        accel.install("warning")
        accel.uninstall()


def test_levels_that_are_none(monkeypatch):
    with pytest.raises(errors.ArgumentError, match="log_level is 'loud'"):
        accel.install("loud")
    assert not accel.is_installed()
    monkeypatch.setenv("VECPROD_ACCEL_LOG_LEVEL", "quiet")
    with pytest.raises(errors.ArgumentError, match="VECPROD_ACCEL_LOG_LEVEL is 'quiet'"):
        accel.install()
    assert not accel.is_installed()


def test_importing_and_installing_bring_in_nothing(run):
    ended = run(
        "-c",
        "import sys; from vecprod_gpu import accel; accel.install();"
        "names = {name.partition('.')[0] for name in sys.modules};"
        "print(names & {'numba', 'cupy', 'sklearn', 'scipy', 'rich', 'IPython'})",
    )
    assert ended.stdout.strip() == "set()"


NAME_IT = "import numpy as np; print(type(np.cross).__name__)"


@pytest.fixture(params=["of children", "of the installed package", "both"])
def program(request, run, tmp_path):
    """Run code behind a start-up hook: on the path, in a file of the environment, or both."""
    folder = tmp_path / "environment"
    folder.mkdir()
    if request.param != "of children":
        (folder / _wheel.NAME).write_text(_wheel.LINE, encoding="ascii")
    opening = f"import site; site.addsitedir({str(folder)!r})\n"
    hooks = [] if request.param == "of the installed package" else [STARTUP]

    def program(code, *path, **environment):
        path = os.pathsep.join([*hooks, *map(str, path or [ROOT])])
        return run("-c", opening + code, PYTHONPATH=path, **environment)

    return program


class TestTheVariable:
    """``VECPROD_ACCEL_ENABLED``, where a start-up hook hears it."""

    @pytest.mark.parametrize(("value", "is_on"), [("1", True), ("true", True), ("0", False), ("", False)])
    def test_switches(self, value, is_on, program):
        ended = program(NAME_IT, VECPROD_ACCEL_ENABLED=value)
        assert (ended.stdout.strip() == "Swapped") == is_on
        assert not ended.stderr

    def test_is_not_ignored_in_silence(self, program):
        ended = program("print(1)", VECPROD_ACCEL_ENABLED="perhaps")
        words = "nothing is accelerated: VECPROD_ACCEL_ENABLED is 'perhaps'; it can be 1 or 0"
        assert ended.stderr == f"vecprod_gpu.accel: {words}\n"

    def test_tells_of_a_broken_installation(self, run, tmp_path):
        (tmp_path / "vecprod_gpu.py").write_text("raise ImportError('half of it is missing')")
        path = os.pathsep.join([STARTUP, str(tmp_path)])
        ended = run("-c", "import numpy; print(7)", PYTHONPATH=path, VECPROD_ACCEL_ENABLED="1")
        assert ended.stdout == "7\n"
        assert "nothing is accelerated: ImportError after the import of numpy: half of it" in ended.stderr

    def test_tells_once_of_a_level_that_is_none(self, program):
        ended = program(NAME_IT, VECPROD_ACCEL_ENABLED="1", VECPROD_ACCEL_LOG_LEVEL="loud")
        assert ended.stdout.strip() != "Swapped"
        assert ended.stderr.count("nothing is accelerated") == 1

    def test_costs_nothing_without_numpy(self, program):
        code = "import sys; print({'numpy', 'vecprod_gpu'} & set(sys.modules))"
        assert program(code, VECPROD_ACCEL_ENABLED="1").stdout == "set()\n"

    @pytest.mark.parametrize("name", ["vecprod_gpu", "vecprod_gpu.errors", "vecprod_gpu.accel"])
    def test_serves_programs_that_import_ours_first(self, name, program):
        ended = program(f"import {name}\n{NAME_IT}", VECPROD_ACCEL_ENABLED="1")
        assert (ended.stdout, ended.stderr) == ("Swapped\n", "")

    def test_waits_on_where_somebody_only_asks_for_numpy(self, program):
        asking = (
            "from importlib.util import find_spec as find; assert find('numpy') and find('vecprod_gpu')\n"
        )
        ended = program(asking + NAME_IT, VECPROD_ACCEL_ENABLED="1")
        assert (ended.stdout, ended.stderr) == ("Swapped\n", "")

    def test_goes_with_the_command(self, run, tmp_path):
        (tmp_path / "sitecustomize.py").write_text(f"import site; site.addsitedir({str(tmp_path)!r})")
        (tmp_path / _wheel.NAME).write_text(_wheel.LINE, encoding="ascii")
        path = os.pathsep.join([str(tmp_path), str(ROOT)])
        code = "import numpy as np; np.cross(np.ones(3, object), np.ones(3)); print(type(np.cross).__name__)"
        command = ("-m", "vecprod_gpu.accel", "--profile", "-v", "-c", code)
        ended = run(*command, PYTHONPATH=path, VECPROD_ACCEL_ENABLED="1")
        assert ended.stdout == "Swapped\n"
        assert ended.stderr.count("falling back to NumPy: object dtype is not supported") == 1
        assert "0 of 1 calls accelerated" in ended.stderr

    def test_is_heard_where_the_package_is_installed(self, monkeypatch, tmp_path):
        builder = venv.EnvBuilder(symlinks=sys.platform != "win32")
        builder.create(tmp_path)
        monkeypatch.setattr(sys, "executable", builder.ensure_directories(tmp_path).env_exe)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([STARTUP, str(ROOT)]))
        assert not _heard.is_heard()
        assert _heard.in_words().startswith("VECPROD_ACCEL_ENABLED is ignored by the programs of")
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path)}))
        (packages / _wheel.NAME).write_text(_wheel.LINE, encoding="ascii")
        assert _heard.is_heard()
        assert _heard.in_words().startswith("VECPROD_ACCEL_ENABLED=1 accelerates the programs of")

    def test_chains_to_the_users_own_hook(self, run, tmp_path):
        (tmp_path / "sitecustomize.py").write_text("import sys; sys.mine = __name__, __file__")
        path = os.pathsep.join([STARTUP, str(tmp_path), str(ROOT)])
        code = (
            "import sys, numpy as np, sitecustomize;"
            "print(type(np.cross).__name__, sys.mine, sitecustomize.__file__)"
        )
        mine = str(tmp_path / "sitecustomize.py")
        ended = run("-c", code, PYTHONPATH=path, VECPROD_ACCEL_ENABLED="1")
        assert ended.stdout.strip() == f"Swapped {('sitecustomize', mine)} {mine}"


def test_children_do_not_inherit_what_is_gone(installed):
    accel.uninstall()
    code = "import numpy as np; print(type(np.cross).__name__)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() != "Swapped"
