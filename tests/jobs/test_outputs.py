"""An output is whole or not there: through faults and signals, in every format; and it looks as any file."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.jobs.tables import FORMATS
from vecprod_gpu.stream import _products

EARLIER = b"what an earlier job wrote"


@pytest.fixture
def two_inputs(folder, rng, monkeypatch):
    """Inputs whose product is written in some twenty parts."""
    monkeypatch.setattr(_products, "BLOCK_BYTES", 2**16)
    for name in ("a.npy", "b.npy"):
        np.save(name, rng.normal(size=(2000, 9)))
    return folder


def left(folder: Path) -> dict[str, bytes]:
    """What stands in a folder beside the inputs."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ("a.npy", "b.npy")}


@pytest.mark.parametrize("earlier", [None, EARLIER])
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (OSError(28, "No space left on device"), 1),
        (MemoryError("Unable to allocate"), 1),
        (vp.errors.ShapeError("something else"), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_a_fault_after_some_parts_leaves_nothing(
    fault, status, suffix, earlier, two_inputs, command, monkeypatch
):
    parts = []

    def product(*arrays, out):
        parts.append(len(list(two_inputs.glob(".*.tmp"))))
        if len(parts) == 5:
            raise fault
        return vp.batched_outer(*arrays, out=out)

    monkeypatch.setattr(vp._dispatch, "explain", lambda *_: vp._dispatch.Choice("reference", ""))
    monkeypatch.setattr(vp.products, "batched_outer", product)
    if earlier is not None:
        Path(f"out{suffix}").write_bytes(earlier)
    before = left(two_inputs)
    ended, out, err = command("outer", "a.npy", "b.npy", "-o", f"out{suffix}", "--force")
    assert (ended, out) == (status, "")
    assert err.count("\n") <= 1  # some versions of typer end an interrupted command without a word
    assert str(fault) in err
    assert parts == [1] * 5  # there was something to clear away
    assert left(two_inputs) == before


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace"])
def test_a_fault_at_the_very_end_leaves_nothing(call, suffix, two_inputs, command, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(call, full)
    Path(f"out{suffix}").write_bytes(EARLIER)
    status, out, err = command("outer", "a.npy", "b.npy", "-o", f"out{suffix}", "--force")
    assert (status, out) == (1, "")
    assert err == f"vecprod: [Errno 28] No space left on device: 'out{suffix}'\n"
    assert left(two_inputs) == {f"out{suffix}": EARLIER}


# The system itself refuses to let a file grow, as a full disk does.
LIMITED = """
import resource, sys
from vecprod_gpu.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_disk_that_takes_no_more(suffix, two_inputs):
    Path(f"out{suffix}").write_bytes(EARLIER)
    finished = subprocess.run(
        [sys.executable, "-c", LIMITED, "outer", "a.npy", "b.npy", "-o", f"out{suffix}", "--force"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (1, "")
    assert "File too large" in finished.stderr
    assert finished.stderr.count("\n") == 1
    assert left(two_inputs) == {f"out{suffix}": EARLIER}


# Says when some parts are written, and then waits for a signal; one that comes just before a sleep does not
# end that, but is noticed after it.
WAITING = """
import sys, time
import vecprod_gpu as vp
from vecprod_gpu import cli
from vecprod_gpu.stream import _products
_products.BLOCK_BYTES = 2**16
parts = []
def product(*arrays, out):
    parts.append(1)
    if len(parts) == 5:
        print("begun", flush=True)
        for _ in range(6000):
            time.sleep(0.01)
    return vp.batched_outer(*arrays, out=out)
vp._dispatch.explain = lambda *_: vp._dispatch.Choice("reference", "")
vp.products.batched_outer = product
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing(number, status, suffix, two_inputs):
    Path(f"out{suffix}").write_bytes(EARLIER)
    running = subprocess.Popen(
        [sys.executable, "-c", WAITING, "outer", "a.npy", "b.npy", "-o", f"out{suffix}", "--force"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "begun\n"
    assert len(list(two_inputs.glob(".*.tmp"))) == 1
    running.send_signal(number)
    _, err = running.communicate(timeout=30)
    assert running.returncode == status
    assert "Traceback" not in err
    assert left(two_inputs) == {f"out{suffix}": EARLIER}


def test_what_came_into_being_meanwhile_stays(two_inputs, command, monkeypatch):
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (Path("out.npy").write_bytes(EARLIER), fsync(number)))
    status, _, err = command("outer", "a.npy", "b.npy", "-o", "out.npy")
    assert status == 2
    assert "out.npy has come into being meanwhile" in err
    assert left(two_inputs) == {"out.npy": EARLIER}


def test_an_output_has_the_permissions_of_any_new_file(two_inputs, job):
    before = os.umask(0o027)
    try:
        job("outer", "a.npy", "b.npy", "-o", "out.npy")
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path("out.npy").stat().st_mode) == 0o640


def test_an_output_keeps_the_permissions_of_the_earlier(two_inputs, job):
    Path("out.npy").write_bytes(EARLIER)
    Path("out.npy").chmod(0o604)
    job("outer", "a.npy", "b.npy", "-o", "out.npy", "--force")
    assert stat.S_IMODE(Path("out.npy").stat().st_mode) == 0o604
    assert np.load("out.npy").shape == (2000, 9, 9)


def test_an_output_through_a_link(two_inputs, job):
    Path("elsewhere").mkdir()
    Path("out.npy").symlink_to("elsewhere/there.npy")
    job("outer", "a.npy", "b.npy", "-o", "out.npy")
    assert Path("out.npy").is_symlink()
    assert [path.name for path in Path("elsewhere").iterdir()] == ["there.npy"]
    assert np.load("out.npy").shape == (2000, 9, 9)


# How much more memory a large product takes than a small one, in MiB.
GROWTH = """
import resource, sys
from vecprod_gpu.cli import main
def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
main(["outer", "small.npy", "small.npy", "-o", "small-out.npy"])
before = most()
main(["outer", "large.npy", "large.npy", "-o", "large-out.npy"])
print(most() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in another unit elsewhere")
def test_memory_does_not_grow_with_the_output(folder, rng):
    np.save("small.npy", rng.normal(size=(8000, 10)))
    np.save("large.npy", rng.normal(size=(150_000, 10)))
    finished = subprocess.run(
        [sys.executable, "-c", GROWTH],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"VECPROD_BACKEND": ""},
    )
    assert Path("large-out.npy").stat().st_size > 120_000_000
    assert float(finished.stdout.splitlines()[-1]) < 12 + 30  # the mapped input, and some parts


def run_on_a_terminal(*command: str) -> str:
    """What a command writes to a standard error that is a terminal."""
    import pty  # not everywhere

    ours, theirs = pty.openpty()
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # Linux's way to say that the other side is closed
        pass
    os.close(ours)
    assert running.wait() == 0
    return shown.decode()


def test_the_bar_is_for_terminals(two_inputs):
    command = [sys.executable, "-m", "vecprod_gpu", "outer", "a.npy", "b.npy", "--force", "-o", "out.csv"]
    assert "writing out.csv" in run_on_a_terminal(*command)
    piped = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"FORCE_COLOR": "1"}
    )
    assert piped.stderr == ""
    assert piped.stdout.count("\n") == 1
