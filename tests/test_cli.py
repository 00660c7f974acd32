"""The command ``vecprod``: its exit statuses, its one-line errors, its JSON and its pictures."""

import json
import os
import signal
import subprocess
import sys

import pytest

import vecprod_gpu as vp
from vecprod_gpu import cli

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Runs the command in a fresh interpreter where the modules named first cannot be imported.
WITHOUT = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
from vecprod_gpu.cli import main
sys.exit(main(sys.argv[2:]))
"""


def run_without(modules: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, modules, *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def restore_sigterm():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def command(capsys, restore_sigterm):
    """Run the command here: its exit status, its standard output and its standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(arguments)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_version(command):
    assert command("--version") == (0, f"vecprod {vp.__version__}\n", "")


def test_help_lists_the_commands(command):
    status, out, _ = command("--help")
    assert status == 0
    assert "demo" in out
    assert "info" in out


def test_info_tells_of_every_backend(command):
    status, out, err = command("info")
    assert (status, err) == (0, "")
    for name in vp.backends():
        assert name in out


def test_info_as_json(command, monkeypatch):
    monkeypatch.setenv("VECPROD_BACKEND", "reference")
    monkeypatch.setenv("VECPROD_ACCEL_ENABLED", "0")
    status, out, _ = command("info", "--json")
    described = json.loads(out)
    assert status == 0
    assert described["vecprod_gpu"] == vp.__version__
    assert described["forced_backend"] == "reference"
    assert described["accelerates_scripts"]["asked"] == "0"
    assert described["machine"]["cores"] >= 1
    assert {name: entry["available"] for name, entry in described["backends"].items()} == {
        name: state.available for name, state in vp.backends().items()
    }
    for entry in described["backends"].values():
        assert entry["reason"]
        assert entry["available"] or entry["remedy"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "Missing command"),
        (["demmo"], "demmo"),
        (["--nonsense"], "--nonsense"),
        (["demo", "--nonsense"], "--nonsense"),
        (["demo", "--output"], "--output"),
        (["info", "extra"], "extra"),
        (["demo", "--backend", "abacus"], "abacus"),
    ],
)
def test_bad_input_ends_with_one_line_and_status_2(command, arguments, named):
    status, out, err = command(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("vecprod: ")
    assert err.count("\n") == 1
    assert named in err


def test_an_unknown_backend_is_answered_with_those_there_are(command):
    _, _, err = command("demo", "--backend", "abacus")
    assert "reference" in err


def test_a_backend_that_cannot_run_is_bad_input(command):
    missing = [name for name, state in vp.backends().items() if not state.available]
    for name in missing:
        status, out, err = command("demo", "--backend", name)
        assert (status, out) == (2, "")
        assert err.count("\n") == 1


@pytest.mark.parametrize("below", ["", "folder"])
def test_a_folder_that_cannot_be_one_is_bad_input(command, tmp_path, below):
    file = tmp_path / "file"
    file.write_text("not a folder")
    status, out, err = command("demo", "--output", str(file / below))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert str(file) in err
    assert file.read_text() == "not a folder"


@pytest.mark.parametrize(
    ("modules", "package", "arguments"),
    [
        ("typer", "typer", ["--version"]),
        ("rich", "rich", ["info"]),
        ("matplotlib", "matplotlib", ["demo"]),
        ("sklearn", "scikit-learn", ["demo"]),
    ],
)
def test_a_missing_package_ends_with_the_command_that_installs_it(modules, package, arguments, tmp_path):
    if arguments == ["demo"]:
        arguments = ["demo", "--output", str(tmp_path)]
    finished = run_without(modules, *arguments)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == (f'vecprod: {package} is not installed; run: pip install "vecprod-gpu[demo]"\n')


def test_a_fault_of_the_machine_is_status_1(command, monkeypatch, tmp_path):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vecprod_gpu.demo.run", full_disk)
    status, _, err = command("demo", "--output", str(tmp_path))
    assert status == 1
    assert "No space left on device" in err
    assert err.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_the_command_with_their_status(number, status):
    # The signal comes while a command runs: this one says that it has begun, and then waits.
    program = """
import sys, time
from vecprod_gpu import _machine, cli
def wait():
    print("begun", flush=True)
    for _ in range(6000):  # a signal that comes just before a sleep does not end that
        time.sleep(0.01)
_machine.describe = wait
sys.exit(cli.main(["info"]))
"""
    running = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "begun\n"
    running.send_signal(number)
    _, err = running.communicate(timeout=30)
    assert running.returncode == status
    assert "Traceback" not in err


def test_demo_draws_its_pictures_and_agrees_with_numpy(tmp_path, monkeypatch):
    """The one slow test of this file: the whole demo in a process of its own, cold."""
    monkeypatch.delenv("VECPROD_BACKEND", raising=False)
    folder = tmp_path / "new" / "folder"
    finished = subprocess.run(
        [sys.executable, "-m", "vecprod_gpu", "demo", "--output", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        # Matplotlib's own cache may name fonts that are gone, of which it complains.
        env=os.environ | {"COLUMNS": "140", "MPLCONFIGDIR": str(tmp_path / "matplotlib")},
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""  # the progress bar is for terminals
    assert str(folder) in finished.stdout
    names = [f"vecprod-{part}.png" for part in ("colours", "mesh", "regression", "terrain")]
    assert sorted(path.name for path in folder.iterdir()) == names
    for name in names:
        assert name in finished.stdout
        assert (folder / name).read_bytes().startswith(PNG_SIGNATURE)


def test_demo_agrees_with_numpy_on_the_reference_backend(tmp_path, capsys):
    """Bounds: 2.4e-07 is two roundings of a float32 unit vector; the others sum float64 in another order."""
    from vecprod_gpu.demo import run

    outcomes = terrain, mesh, colours, regression = run(tmp_path, "reference")
    assert {outcome.backend for outcome in outcomes} == {"reference"}
    assert terrain.largest_difference < 2.4e-7
    assert mesh.largest_difference < 2.4e-7
    assert colours.largest_difference < 1e-13
    assert regression.largest_difference < 1e-10
