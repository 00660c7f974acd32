"""Kills, faults and signals on the way to a product, and how much memory it takes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

import vecprod_gpu as vp
from tests.stream.jobs import Kill, die
from vecprod_gpu import _replace
from vecprod_gpu.stream import _outputs, _products
from vecprod_gpu.stream._checkpoint import Checkpoint

EARLIER = b"what an earlier job wrote"


@pytest.fixture
def folder(tmp_path, monkeypatch, rng):
    """A folder with two inputs, whose product is written in some twenty blocks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_products, "BLOCK_BYTES", 2**16)
    monkeypatch.setattr(_outputs, "BLOCK_BYTES", 2**16)
    for name in ("a.npy", "b.npy"):
        np.save(name, rng.normal(size=(2000, 9)))
    return tmp_path


@pytest.fixture
def expected(folder):
    a, b = np.load("a.npy"), np.load("b.npy")
    return a[:, :, None] * b[:, None, :]


def left(folder):
    return sorted(path.name for path in folder.iterdir() if path.name not in ("a.npy", "b.npy"))


def load(out):
    return np.load(out) if out.endswith(".npy") else zarr.open_array(out, mode="r")[...]


def files_of(out):
    """Names and contents of all files of an output."""
    path = Path(out)
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(one): one.read_bytes() for one in found if one.is_file()}


# For each line, a child that counts the calls of Python functions, and kills itself at one of them.
KILLED = """
import os, signal, sys
import numpy, zarr
import vecprod_gpu as vp
from vecprod_gpu.stream import _outputs, _products
_products.BLOCK_BYTES = _outputs.BLOCK_BYTES = 2**16
read, rows, seen = _products.Vectors.read, 0, 0
def counted(self, start, stop):
    global rows
    rows += (stop - start) * (self.name == "a.npy")
    return read(self, start, stop)
_products.Vectors.read = counted
def run(out, at):
    def count(frame, event, argument):
        global seen
        seen += event == "call"
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(count)
    vp.stream.batched_outer("a.npy", "b.npy", out, checkpoint="state", every=0.0)
    sys.setprofile(None)
    print(seen, rows, flush=True)
for line in sys.stdin:
    folder, out, at = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if not child:
        os.chdir(folder)
        run(out, int(at))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        print("killed" if os.WTERMSIG(status) == signal.SIGKILL else f"status {status}", flush=True)
"""


@pytest.fixture(scope="module")
def children():
    """A process that has imported all it needs, and forks a child for each line that it reads."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"VECPROD_BACKEND": "reference"},
    ) as parent:
        yield parent
        parent.stdin.close()


@pytest.fixture
def killed(children, folder):
    """Run until that call; how many calls and rows there were, where it ended before."""

    def run(out, at):
        print(folder, out, at, sep="\t", file=children.stdin, flush=True)
        told = children.stdout.readline()
        return None if told == "killed\n" else tuple(map(int, told.split()))

    return run


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("out", ["out.npy", "out.zarr"])
def test_a_kill_at_any_moment_costs_nothing_that_was_kept(out, folder, expected, killed):
    calls, rows = killed(out, 0)
    assert rows == 2000
    whole = files_of(out)
    assert left(folder) == [out]
    _replace.remove(Path(out))
    anywhere = np.random.default_rng().integers(calls // 20, calls // 2, 5).tolist()
    ended, is_in_place = None, False
    for moment in (calls // 2, *anywhere):  # by the first some blocks are kept, wherever the others fall
        ended = ended or killed(out, moment)
        # After the first one, a kill may come in the last moment, with nothing left to go on with.
        is_in_place = not ended and moment != calls // 2 and Path(out).exists()
        if is_in_place:
            assert files_of(out) == whole
            break
        assert ended or not Path(out).exists()
    _, again = ended or killed(out, 0)
    assert again < 2000 or is_in_place
    assert files_of(out) == whole
    assert left(folder) == [out]
    assert load(out).tobytes() == expected.tobytes()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_kill_near_the_end(folder, expected, killed):
    """Where the draft is renamed, and the checkpoint is removed."""
    calls, _ = killed("out.npy", 0)
    for before in (3, 20, 50):
        _replace.remove(Path("out.npy"))
        killed("out.npy", calls - before)
        if left(folder) != ["out.npy"]:
            killed("out.npy", 0)
        assert left(folder) == ["out.npy"]
        assert np.load("out.npy").tobytes() == expected.tobytes()


@pytest.fixture
def killed_at_the_end(monkeypatch):
    """Run a function up to where the output is in its place, and the checkpoint is about to be removed."""

    def run(function, *arguments, **how):
        with monkeypatch.context() as patches:
            patches.setattr(Checkpoint, "remove", die)
            with pytest.raises(Kill):
                function(*arguments, **how)
        assert Path("state").exists()

    return run


@pytest.mark.parametrize("out", ["out.npy", "out.zarr"])
class TestACheckpointThatOutlivedItsJob:
    """A kill came between the output's last rename and the removal of the checkpoint."""

    def run(self, out, **how):
        vp.stream.batched_outer("a.npy", "b.npy", out, checkpoint="state", **how)

    def test_knows_the_result(self, out, folder, expected, killed_at_the_end, monkeypatch):
        killed_at_the_end(self.run, out)
        monkeypatch.setattr(_products.Product, "blocks", die)
        self.run(out)
        assert load(out).tobytes() == expected.tobytes()
        assert left(folder) == [out]

    def test_takes_no_other_file_for_it(self, out, folder, killed_at_the_end):
        killed_at_the_end(self.run, out)
        vp.stream.batched_outer(np.ones((5, 2)), np.ones(2), out)
        told = f"state goes on with is no longer beside {out}; remove state to begin anew"
        with pytest.raises(vp.errors.BadInputError, match=told):
            self.run(out)
        assert load(out).shape == (5, 2, 2)
        Path("state").unlink()
        self.run(out)
        assert load(out).shape == (2000, 9, 9)

    def test_takes_no_earlier_file_for_a_draft_that_is_gone(self, out, folder, monkeypatch):
        vp.stream.batched_outer(np.ones((2000, 9)), np.ones(9), out)
        before = files_of(out)
        with monkeypatch.context() as patches:
            rename = _replace._rename
            patches.setattr(
                _replace, "_rename", lambda draft, final: (die if final.name == out else rename)(draft, final)
            )
            with pytest.raises(Kill):
                self.run(out)
        for draft in folder.glob(".vecprod-*.part"):
            _replace.remove(draft)
        with pytest.raises(vp.errors.BadInputError, match="no longer beside"):
            self.run(out)
        assert files_of(out) == before

    def test_leaves_nothing_of_what_was_replaced(self, out, folder, killed_at_the_end):
        vp.stream.batched_outer(np.ones((5, 2)), np.ones(2), out)
        remove = _replace.remove
        with pytest.MonkeyPatch.context() as patches:
            patches.setattr(_replace, "remove", lambda path: None if "earlier" in path.name else remove(path))
            killed_at_the_end(self.run, out)
        self.run(out)
        assert left(folder) == [out]


class Stop(Exception):
    pass


def interrupt(monkeypatch, block, error=Stop):
    """Let the product fail at that block; undone by the function that is returned."""
    calls, compute = [], vp.products.batched_outer

    def fail(*arrays, out):
        calls.append(1)
        if len(calls) == block:
            raise error
        return compute(*arrays, out=out)

    fail.__name__ = "batched_outer"
    monkeypatch.setattr(vp._dispatch, "explain", lambda *_: vp._dispatch.Choice("reference", ""))
    monkeypatch.setattr(vp.products, "batched_outer", fail)
    return calls


@pytest.mark.parametrize("out", ["out.npy", "out.zarr", "a map", "a Zarr array"])
def test_what_was_interrupted_goes_on(out, folder, expected, monkeypatch):
    is_given = out == "a Zarr array"  # whose chunks have 100 rows
    if out == "a map":
        out = np.lib.format.open_memmap("map.npy", "w+", float, expected.shape)
    elif out == "a Zarr array":
        out = zarr.create_array("array.zarr", shape=expected.shape, dtype=float, chunks=(100, 9, 9))
    calls = interrupt(monkeypatch, 8)
    with pytest.raises(Stop):
        vp.stream.batched_outer("a.npy", "b.npy", out, checkpoint="state", every=1e9)
    assert "state" in left(folder)
    vp.stream.batched_outer("a.npy", "b.npy", out, checkpoint="state", memory="3GB")
    assert len(calls) == 1 + -(-2000 // (2**16 // (81 * 8) // 100 * 100 if is_given else 2**16 // (81 * 8)))
    result = load(out) if isinstance(out, str) else np.asarray(out[...])
    assert result.tobytes() == expected.tobytes()
    assert "state" not in left(folder)
    assert not [name for name in left(folder) if name.startswith(".")]


def test_another_block_size_does_not_matter(folder, expected, monkeypatch):
    interrupt(monkeypatch, 8)
    with pytest.raises(Stop):
        vp.stream.batched_outer("a.npy", "b.npy", "out.npy", checkpoint="state")
    monkeypatch.setattr(_products, "BLOCK_BYTES", 1000)
    vp.stream.batched_outer("a.npy", "b.npy", "out.npy", checkpoint="state")
    assert np.load("out.npy").tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: np.save("a.npy", np.ones((2000, 9))), "another job: a.npy: "),
        (lambda: np.save("b.npy", np.ones((1, 9))), "another job: b.npy: "),
        (lambda: [path.unlink() for path in Path().glob(".vecprod-*.part")], "no longer beside out.npy"),
        (lambda: Path("state").write_bytes(b"PK nonsense"), "state is no whole checkpoint"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(change, words, folder, monkeypatch):
    interrupt(monkeypatch, 8)
    with pytest.raises(Stop):
        vp.stream.batched_outer("a.npy", "b.npy", "out.npy", checkpoint="state")
    change()
    state = Path("state").read_bytes()
    with pytest.raises(vp.errors.BadInputError, match=words):
        vp.stream.batched_outer("a.npy", "b.npy", "out.npy", checkpoint="state")
    assert Path("state").read_bytes() == state
    assert not Path("out.npy").exists()


def test_another_output_is_another_job(folder, monkeypatch):
    interrupt(monkeypatch, 8)
    with pytest.raises(Stop):
        vp.stream.batched_outer("a.npy", "b.npy", "out.npy", checkpoint="state")
    with pytest.raises(vp.errors.BadInputError, match="another job: output was"):
        vp.stream.batched_outer("a.npy", "b.npy", "other.npy", checkpoint="state")
    with pytest.raises(vp.errors.BadInputError, match="of batched_outer, not of cross"):
        vp.stream.cross(np.ones((5, 3)), np.ones(3), "out.npy", checkpoint="state")


def test_an_array_in_memory_has_no_checkpoint(folder):
    for out in (
        np.empty((2000, 9, 9)),
        zarr.create_array({}, shape=(2000, 9, 9), dtype=float, chunks=(9, 9, 9)),
    ):
        with pytest.raises(vp.errors.ArgumentError, match="outlives the process"):
            vp.stream.batched_outer("a.npy", "b.npy", out, checkpoint="state")


def test_a_checkpoint_is_saved_after_what_it_speaks_of(folder, monkeypatch):
    """Of each block that it counts the bytes are on the disk."""
    order = []
    fsync, save, write = os.fsync, Checkpoint.save, _outputs.NpyFile.write
    monkeypatch.setattr(os, "fsync", lambda handle: order.append("sync") or fsync(handle))
    monkeypatch.setattr(_outputs.NpyFile, "write", lambda *its: order.append("write") or write(*its))

    def saved(self, state):
        assert order[-1] == "sync"
        assert state.values["done"] == order.count("write")
        save(self, state)

    monkeypatch.setattr(Checkpoint, "save", saved)
    vp.stream.batched_outer("a.npy", "b.npy", "out.npy", checkpoint="state", every=0.0)
    assert order.count("write") > 15


@pytest.mark.parametrize("out", ["out.npy", "out.zarr"])
@pytest.mark.parametrize(
    "error", [Stop, OSError(28, "No space left on device"), KeyboardInterrupt, SystemExit]
)
def test_without_a_checkpoint_a_fault_leaves_what_was_there(error, out, folder, monkeypatch):
    vp.stream.batched_outer("a.npy", np.ones((1, 2)), out)
    before = files_of(out)
    interrupt(monkeypatch, 8, error)
    with pytest.raises(error if isinstance(error, type) else OSError):
        vp.stream.batched_outer("a.npy", "b.npy", out)
    assert left(folder) == [out]
    assert files_of(out) == before


def test_a_store_replaces_an_earlier_one(folder, expected):
    zarr.create_array("out.zarr", data=np.ones((5, 5)), chunks=(1, 1))
    vp.stream.batched_outer("a.npy", "b.npy", "out.zarr")
    assert load("out.zarr").tobytes() == expected.tobytes()
    assert left(folder) == ["out.zarr"]


def test_a_folder_that_is_no_store_is_not_replaced(folder):
    Path("out.zarr").mkdir()
    (Path("out.zarr") / "thesis.tex").write_text("years of work")
    with pytest.raises(vp.errors.BadInputError, match=r"it is a folder without a Zarr store"):
        vp.stream.batched_outer("a.npy", "b.npy", "out.zarr")
    Path("out.npy").mkdir()
    with pytest.raises(vp.errors.BadInputError, match="it is a folder"):
        vp.stream.batched_outer("a.npy", "b.npy", "out.npy")


def test_a_store_whose_place_is_not_given_up_stays(folder, monkeypatch):
    zarr.create_array("out.zarr", data=np.ones((5, 5)), chunks=(5, 5))
    before, rename = files_of("out.zarr"), Path.rename

    def fail(self, target):
        if self.suffix == ".tmp":
            raise OSError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="Permission denied"):
        vp.stream.batched_outer("a.npy", "b.npy", "out.zarr")
    assert files_of("out.zarr") == before
    assert left(folder) == ["out.zarr"]


def test_a_kill_between_two_renames_is_made_good(folder, expected):
    zarr.create_array("out.zarr", data=np.ones((5, 5)), chunks=(5, 5))
    final = Path("out.zarr").resolve()
    final.rename(_replace._aside(final))
    with pytest.raises(vp.errors.BadInputError, match=r"none.npy"):
        vp.stream.batched_outer("none.npy", "b.npy", "out.zarr")
    drafts = _replace.drafted(final, Path.mkdir)
    drafts.__enter__()
    assert load("out.zarr").shape == (5, 5)
    assert not drafts.__exit__(Stop, Stop(), None)
    assert left(folder) == ["out.zarr"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no locks")
def test_two_at_once_do_not_share_a_draft(folder):
    with _replace.drafted(Path("out.npy"), Path.touch, checkpoint=Path("state")) as draft:
        Path("state").touch()
        with (
            pytest.raises(vp.errors.BadInputError, match=r"another process is writing out\.npy"),
            _replace.drafted(Path("out.npy"), Path.touch, checkpoint=Path("state")),
        ):
            pass
        assert draft.exists()
    other = Path("other.zarr")
    with _replace.drafted(other, Path.mkdir) as first, _replace.drafted(other, Path.mkdir) as second:
        assert first.exists()
        assert second.exists()


def test_what_a_kill_left_is_removed(folder):
    name = _replace._name(Path("out.zarr").resolve(), None)
    name.mkdir()
    (name / "c").write_bytes(b"1")
    vp.stream.batched_outer("a.npy", "b.npy", "out.zarr")
    assert left(folder) == ["out.zarr"]


def run(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


# The system itself refuses to let a file grow, as a full disk does.
LIMITED = """
import resource, sys
from vecprod_gpu import cli
from vecprod_gpu.stream import _outputs, _products
_products.BLOCK_BYTES = _outputs.BLOCK_BYTES = 2**16
if sys.argv[1] == "limited":
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_a_disk_that_is_full_and_then_is_not(folder, expected):
    Path("out.npy").write_bytes(EARLIER)
    job = ["outer", "a.npy", "b.npy", "-o", "out.npy", "--force", "--json", "-b", "reference"]
    status, out, err = run("limited", *job, "--checkpoint", "state", "--every", "0")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "File too large: 'out.npy'" in err
    assert Path("out.npy").read_bytes() == EARLIER
    status, out, err = run("free", *job, "--checkpoint", "state", "--every", "0")
    assert (status, err) == (0, "")
    assert 0 < json.loads(out)["rows_resumed"] < 2000
    assert np.load("out.npy").tobytes() == expected.tobytes()
    assert left(folder) == ["out.npy"]


# Says when some blocks are written, and then waits for a signal; one that comes just before a sleep does not
# end that, but is noticed after it.
WAITING = """
import sys, time
from vecprod_gpu import cli
from vecprod_gpu.stream import _outputs, _products
_products.BLOCK_BYTES = _outputs.BLOCK_BYTES = 2**16
blocks = _products.Product.blocks
def slow(self, *arguments):
    for number, block in enumerate(blocks(self, *arguments)):
        if number == 5:
            print("begun", flush=True)
            for _ in range(6000):
                time.sleep(0.01)
        yield block
_products.Product.blocks = slow
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
@pytest.mark.parametrize("out", ["out.npy", "out.zarr"])
def test_a_signal_keeps_what_is_written_where_a_checkpoint_was_asked_for(out, folder, expected):
    job = ["outer", "a.npy", "b.npy", "-o", out, "--json", "-b", "reference"]
    running = subprocess.Popen(
        [sys.executable, "-c", WAITING, *job, "--checkpoint", "state"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout.readline() == "begun\n"
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=30)
    assert (running.returncode, "Traceback" in err) == (143, False)
    assert not Path(out).exists()
    status, report, err = run("free", *job, "--checkpoint", "state")
    assert (status, err) == (0, "")
    assert json.loads(report)["rows_resumed"] > 0
    assert load(out).tobytes() == expected.tobytes()
    assert left(folder) == [out]


def test_a_checkpoint_of_an_archive_is_refused(folder, command):
    status, _, err = command("outer", "a.npy", "b.npy", "-o", "out.npz", "--checkpoint", "state")
    assert (status, err) == (2, "vecprod: --checkpoint goes with an output in .npy or .zarr\n")


# How much more memory a large product takes than a small one, in MiB.
GROWTH = """
import resource, sys
import numpy as np, vecprod_gpu as vp, vecprod_gpu.stream
def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def product(name, rows):
    a, out = f"{name}.npy", f"{name}-out{sys.argv[1]}"
    if sys.argv[1] == ".map":
        out = np.lib.format.open_memmap(out, "w+", float, (rows, 10, 10))
    vp.stream.batched_outer(a, a, out)
product("small", 8000)
before = most()
product("large", 150_000)
print(most() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in another unit elsewhere")
@pytest.mark.parametrize("suffix", [".npy", ".zarr", ".map"])
def test_memory_does_not_grow_with_the_output(suffix, folder):
    rng = np.random.default_rng(0)
    np.save("small.npy", rng.integers(0, 9, (8000, 10)).astype(float))
    np.save("large.npy", rng.integers(0, 9, (150_000, 10)).astype(float))  # whose products have 120 MB
    finished = subprocess.run(
        [sys.executable, "-c", GROWTH, suffix],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"VECPROD_BACKEND": ""},
    )
    assert float(finished.stdout) < 40
