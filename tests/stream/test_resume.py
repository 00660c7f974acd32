"""A job that is killed at any moment goes on from its checkpoint, and ends with the same bits."""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.stream.jobs import SMALL, Kill, begin, die, finish, kept
from vecprod_gpu import _replace
from vecprod_gpu.linreg._streaming import npz, streamed
from vecprod_gpu.stream import _memory, _prediction
from vecprod_gpu.stream._checkpoint import Checkpoint

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")

ROWS = 20_000


@pytest.fixture
def table(tmp_path):
    """A folder with 20,000 rows of four features, and their target."""
    return fill(tmp_path)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Such a folder, with the checkpoint of a fit in it."""
    folder = fill(tmp_path_factory.mktemp("interrupted"))
    running = begin(folder, *JOBS["fit"], pause=0.02)
    wait_for(folder / "half.ckpt", running)
    running.kill()
    finish(running)
    return folder


def fill(tmp_path):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(ROWS, 4)) + 10
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", X @ [1.0, 2, 3, 4] + rng.normal(size=ROWS))
    (tmp_path / "given.json").write_text(MODEL)
    return tmp_path


MODEL = """
{"format": "vecprod-linear-model", "version": 1, "features": null, "targets": ["y"], "dtype": "float64",
 "coef": [[0.1, 0.2, 0.3, 0.4]], "intercept": [0.5]}
"""
KEEPING = ("--force", "--json", "--every", "0", "--checkpoint", "half.ckpt")


FIT = ("fit", "X.npy", "--target", "y.npy", *KEEPING)
JOBS = {
    "fit": (*FIT, "-o", "model.json"),
    "svd": (*FIT, "--solver", "svd", "-o", "model.json"),
    "search": (*FIT, "--l2", "0,1,10", "--cv", "4", "-o", "model.json"),
    "cov": ("cov", "X.npy", *KEEPING, "-o", "out.npy"),
    "predict": ("predict", "given.json", "X.npy", *KEEPING, "-o", "out.npy"),
}


def result(folder, job):
    """What the job found, to the last bit."""
    if job in ("cov", "predict"):
        return np.load(folder / "out.npy").tolist()
    model = json.loads((folder / "model.json").read_text())
    return [model[name] for name in ("coef", "intercept", "fit")] + [model.get("search")]


def wait_for(path, process, since=0):
    """Wait until there is a file that was written after that time, as long as the process runs."""
    while process.poll() is None and not (path.exists() and path.stat().st_mtime_ns > since):
        time.sleep(0.001)


@pytest.fixture
def small_batches(monkeypatch):
    """What jobs here and those that are slowed down have to agree in."""
    for module, name in (
        (streamed, "SEGMENT_BYTES"),
        (_memory, "MOST_BATCH_BYTES"),
        (_prediction, "BLOCK_BYTES"),
    ):
        monkeypatch.setattr(module, name, SMALL)
    with vp.use_backend("reference"):
        yield


@pytest.mark.parametrize(
    ("job", "kills"), [("fit", 2), ("svd", 1), ("search", 1), ("cov", 1), ("predict", 2)]
)
def test_a_kill_changes_nothing(job, kills, table, command, small_batches, monkeypatch):
    monkeypatch.chdir(table)
    status, out, err = command(*JOBS[job])
    assert (status, err) == (0, "")
    wanted, whole = result(table, job), json.loads(out)["read"]["rows"]
    draw = random.Random(job)
    checkpoint, killed = table / "half.ckpt", 0
    for _ in range(kills):
        running = begin(table, *JOBS[job], pause=0.02, backend="reference")
        wait_for(checkpoint, running, since=killed)
        time.sleep(draw.uniform(0, 0.2))
        running.kill()
        assert finish(running)[0] == -signal.SIGKILL
        killed = checkpoint.stat().st_mtime_ns
    assert result(table, job) == wanted  # the earlier output is whole
    status, out, err = command(*JOBS[job])
    assert (status, err) == (0, "")
    assert result(table, job) == wanted
    read = json.loads(out)["read"]
    assert 0 < read["rows_resumed"] < whole
    assert read["rows"] + read["rows_resumed"] == whole
    assert not checkpoint.exists()
    assert not kept(table)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_job_and_keeps_the_checkpoint(number, status, table):
    (table / "model.json").write_text("earlier")
    running = begin(table, *JOBS["fit"], pause=0.02, backend="reference")
    wait_for(table / "half.ckpt", running)
    running.send_signal(number)
    found, out, err = finish(running)
    assert (found, out) == (status, "")
    assert "Traceback" not in err
    assert (table / "model.json").read_text() == "earlier"
    assert (table / "half.ckpt").exists()
    assert not kept(table)


@pytest.fixture
def again(interrupted, command, monkeypatch):
    """What goes on with the fit that was interrupted; afterwards all files are as they were."""
    monkeypatch.chdir(interrupted)
    files = {path: (path.read_bytes(), path.stat()) for path in map(Path, ("X.npy", "y.npy", "half.ckpt"))}
    yield command
    for path, (contents, found) in files.items():
        path.write_bytes(contents)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_the_line_says_how_many_rows_were_not_read_again(again):
    status, out, _ = again(*(word for word in JOBS["fit"] if word != "--json"))
    assert status == 0
    assert " rows not read again, " in out


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ("rows", [], "X.npy: size was "),
        ("content", [], "X.npy: mtime_ns was "),
        ("nothing", ["--columns", "0,1"], "columns was "),
        ("nothing", ["--cv", "3"], "it is of a fit by co-moments, not of a search"),
        ("nothing", ["--solver", "svd"], "not of a fit by triangular factors"),
        ("nothing", ["-b", "reference"], "backend was "),
        ("damage", [], "half.ckpt is no whole checkpoint"),
    ],
)
def test_a_checkpoint_of_another_job_is_refused(change, options, words, again):
    Path("model.json").write_text("earlier")
    checkpoint, X = Path("half.ckpt"), np.load("X.npy")
    if change == "rows":
        np.save("X.npy", np.concatenate([X, X]))
        np.save("y.npy", np.ones(2 * ROWS))
    elif change == "content":
        X[0] += 1
        np.save("X.npy", X)
    elif change == "damage":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-50])
    before = checkpoint.read_bytes()
    status, out, err = again(*JOBS["fit"], *options)
    assert checkpoint.read_bytes() == before
    assert (status, out) == (2, "")
    assert err.startswith("vecprod: half.ckpt is ")
    assert err.count("\n") == 1
    assert words in err
    assert Path("model.json").read_text() == "earlier"


@pytest.mark.parametrize(
    "change",
    [
        {"moments:waiting.X": np.ones((7, 3))},
        {"moments:header": np.array("{}")},
        {"moments:level0.total": np.ones(1, np.float32)},
    ],
    ids=lambda change: ", ".join(change),
)
def test_a_state_that_is_none_of_the_sums_is_refused(change, again):
    with np.load("half.ckpt") as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays["header"]))
    header["arrays"] = list({**dict.fromkeys(header["arrays"]), **change})
    npz.write("half.ckpt", arrays | change | {"header": np.array(json.dumps(header))})
    before = Path("half.ckpt").read_bytes()
    status, out, err = again(*JOBS["fit"])
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("vecprod: half.ckpt is no whole checkpoint: ")
    assert Path("half.ckpt").read_bytes() == before


def before_the_checkpoint_goes(patches):
    patches.setattr(Checkpoint, "remove", die)


def before_the_model_is_there(patches):
    """When the picture, which takes its place first, is."""
    rename = _replace._rename
    patches.setattr(
        _replace, "_rename", lambda draft, final: (die if final.suffix == ".json" else rename)(draft, final)
    )


PLOTTED = (*JOBS["search"], "--plot", "scores.svg")


@pytest.mark.parametrize(
    ("words", "moment", "output"),
    [
        (JOBS["fit"], before_the_checkpoint_goes, "model.json"),
        (JOBS["cov"], before_the_checkpoint_goes, "out.npy"),
        (JOBS["predict"], before_the_checkpoint_goes, "out.npy"),
        (("cross", "Z.npy", "Z.npy", *KEEPING, "-o", "out.npy"), before_the_checkpoint_goes, "out.npy"),
        (PLOTTED, before_the_checkpoint_goes, "scores.svg"),
        (PLOTTED, before_the_model_is_there, "scores.svg"),
    ],
)
class TestAKillWhenAnOutputIsInItsPlace:
    @pytest.fixture
    def again(self, words, moment, output, table, command, small_batches, monkeypatch):
        """What runs the killed command again, without --force."""
        monkeypatch.chdir(table)
        np.save("Z.npy", np.load("X.npy")[:, :3])
        words = [word for word in words if word != "--force"]
        with monkeypatch.context() as patches:
            moment(patches)
            with pytest.raises(Kill):
                command(*words)
        assert Path("half.ckpt").exists()
        assert Path(output).exists()
        return lambda: command(*words)

    def test_is_made_good_by_the_same_command(self, again, table):
        status, _, err = again()
        assert (status, err) == (0, "")
        assert not Path("half.ckpt").exists()
        assert not kept(table)

    def test_gives_no_leave_to_replace_another_file(self, again, output):
        Path(output).write_text("of another job")
        status, _, err = again()
        assert (status, err) == (2, f"vecprod: {output} exists; --force replaces it\n")
        assert Path(output).read_text() == "of another job"
