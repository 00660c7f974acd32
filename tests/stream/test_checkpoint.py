"""The file that a job goes on from: what it holds, when it is refused, and what a kill leaves of it."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.test_archives import damaged as damaged_at_random
from vecprod_gpu import _replace
from vecprod_gpu._replace import replaced
from vecprod_gpu.errors import ArgumentError, BadInputError
from vecprod_gpu.stream._checkpoint import Checkpoint, State, wrote

INPUTS = {"inputs": {"X": {"path": "a.npy", "size": 128, "shape": (4, 3)}}, "cv": None}


def checkpoint(file, fingerprint=INPUTS, kind="a fit", every=0.0):
    return Checkpoint(file, every, fingerprint, kind)


@pytest.fixture
def saved(tmp_path):
    """A file with a state in it, and the state."""
    file = tmp_path / "half way"
    state = State(
        {"a": np.random.default_rng(5).normal(size=(3, 2)), "b": np.arange(4, dtype=np.int16)},
        {"rows": 7, "x": [None]},
    )
    checkpoint(file).save(state)
    return file, state


def test_a_state_comes_back_as_it_was(saved):
    file, state = saved
    found = checkpoint(file).resume()
    assert found.values == state.values
    assert found.arrays.keys() == state.arrays.keys()
    for name, array in state.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array, strict=True)


def test_there_is_none_before_it_is_saved_and_after_it_is_removed(tmp_path, saved):
    assert checkpoint(tmp_path / "new").resume() is None
    file, _ = saved
    checkpoint(file).remove()
    assert checkpoint(file).resume() is None
    assert not list(tmp_path.iterdir())
    checkpoint(file).remove()


@pytest.mark.skipif(sys.platform == "win32", reason="links take a privilege")
def test_a_link_stays_one_and_what_it_leads_to_is_removed(tmp_path):
    (tmp_path / "link").symlink_to("state")
    linked = checkpoint(tmp_path / "link")
    linked.save(State())
    assert (tmp_path / "state").exists()
    linked.remove()
    assert (tmp_path / "link").is_symlink()
    assert not (tmp_path / "state").exists()


def test_without_a_file_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nowhere = checkpoint(None)
    assert not nowhere.due()
    nowhere.save(State())
    nowhere.remove()
    assert nowhere.resume() is None
    assert not list(tmp_path.iterdir())


def test_it_is_due_every_so_many_seconds(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    kept = checkpoint(tmp_path / "file", every=30)
    assert not kept.due()
    now[0] += 30
    assert kept.due()
    kept.save(State())
    assert not kept.due()
    with pytest.raises(ArgumentError, match="every"):
        checkpoint(tmp_path / "file", every=-1)


@pytest.mark.parametrize(
    ("fingerprint", "kind", "words"),
    [
        (INPUTS, "a search", "it is of a fit, not of a search"),
        (INPUTS | {"cv": 5}, "a fit", "cv was null and is 5"),
        (INPUTS | {"more": 5}, "a fit", "more is new"),
        ({"inputs": INPUTS["inputs"]}, "a fit", "cv is missing"),
        (
            {"inputs": {"X": {"path": "a.npy", "size": 256, "shape": (8, 3)}}, "cv": None},
            "a fit",
            "a.npy: size was 128 and is 256",
        ),
    ],
)
def test_that_of_another_job_is_refused_and_left(saved, fingerprint, kind, words):
    file, _ = saved
    before = file.read_bytes()
    with pytest.raises(BadInputError, match="checkpoint of another job") as refusal:
        checkpoint(file, fingerprint, kind).resume()
    assert words in str(refusal.value)
    assert str(file) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert file.read_bytes() == before


def damaged(contents: bytes) -> list[bytes]:
    flipped = bytearray(contents)
    flipped[len(contents) // 3] ^= 255
    return [b"", contents[:-30], contents[:100], bytes(flipped), b"no archive at all", b"\x93NUMPY"]


def test_a_damaged_one_is_refused_and_left(saved):
    file, _ = saved
    for contents in damaged(file.read_bytes()):
        file.write_bytes(contents)
        with pytest.raises(BadInputError, match="half way is no whole checkpoint"):
            checkpoint(file).resume()
        assert file.read_bytes() == contents


@pytest.mark.parametrize("look", [lambda file: checkpoint(file).resume(), lambda file: wrote(file, file)])
def test_random_damage_is_told_or_changes_nothing(look, saved, rng):
    file, state = saved
    whole = file.read_bytes()
    harmless = 0
    for _ in range(600):
        file.write_bytes(damaged_at_random(whole, whole.index(b"PK\x01\x02"), rng))
        with suppress(BadInputError):
            found = look(file)
            harmless += 1
            assert not found or found.arrays.keys() == state.arrays.keys()
            assert not found or all((found.arrays[name] == of).all() for name, of in state.arrays.items())
    assert harmless < 300


def test_one_that_may_not_be_read_is_told(saved, monkeypatch):
    file, _ = saved
    opened = Path.open

    def denied(path, mode="r", *how):
        if path == file:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, mode, *how)

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(BadInputError, match=r"cannot read the checkpoint .*half way: Permission denied"):
        checkpoint(file).resume()


def test_another_archive_is_none(tmp_path):
    file = tmp_path / "data.npz"
    np.savez(file, a=np.ones(3))
    with pytest.raises(BadInputError, match="no whole checkpoint: it is an archive without a header"):
        checkpoint(file).resume()
    np.save(tmp_path / "data.npy", np.ones(3))
    with pytest.raises(BadInputError, match="no whole checkpoint"):
        checkpoint(tmp_path / "data.npy").resume()


@pytest.mark.parametrize("save", [np.save, np.savez, lambda path, _: path.write_text("a,b\n1,2\n")])
def test_of_another_file_nobody_is_told_to_load_pickles_or_only_to_remove_it(save, tmp_path):
    file = tmp_path / "data.npz"
    save(file, np.array([1, None]))
    with pytest.raises(BadInputError, match="no whole checkpoint") as refusal:
        checkpoint(file if file.exists() else tmp_path / "data.npz.npy").resume()
    assert "pickle" not in str(refusal.value)
    assert "name another file" in str(refusal.value)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("", "folder"),
        ("missing/file", "no such folder"),
        ("plain/file", "no such folder"),
        ("x" * 300, "File name too long"),
    ],
)
def test_where_none_can_be_written_is_told_before_any_work(tmp_path, place, why):
    (tmp_path / "plain").touch()
    with pytest.raises(BadInputError, match=rf"cannot write the checkpoint .*: .*{why}"):
        checkpoint(tmp_path / place)


def test_a_folder_that_may_not_be_written_is_told_before_any_work(tmp_path, monkeypatch):
    def denied(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "touch", denied)
    with pytest.raises(BadInputError, match=r"cannot write the checkpoint .*file: Permission denied"):
        checkpoint(tmp_path / "file")


def test_what_a_killed_writer_of_it_left_is_removed_with_it(saved):
    file, _ = saved
    left = _replace._name(file, None)
    left.touch()
    resumed = checkpoint(file)
    resumed.resume()
    resumed.remove()
    assert not list(file.parent.iterdir())


WRITER = """
import sys, time
from pathlib import Path
from vecprod_gpu._replace import replaced
with replaced(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_what_a_killed_writer_left_is_removed_and_what_a_live_one_writes_is_not(tmp_path):
    file = tmp_path / "result.npy"
    file.write_bytes(b"earlier")

    def begin(path: Path) -> subprocess.Popen[str]:
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        return writer

    killed, alive, of_another = begin(file), begin(file), begin(tmp_path / "other.npy")
    for writer in (killed, of_another):
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
    assert len(list(tmp_path.glob(".vecprod-*.tmp"))) == 3
    assert file.read_bytes() == b"earlier"
    with replaced(file) as stream:
        stream.write(b"whole")
    assert file.read_bytes() == b"whole"
    assert len(list(tmp_path.glob(".vecprod-*.tmp"))) == 2
    alive.terminate()
    alive.communicate()
    for path in (file, tmp_path / "other.npy"):
        with replaced(path) as stream:
            stream.write(b"again")
    assert not list(tmp_path.glob(".vecprod-*.tmp"))


def test_many_writers_of_one_file_leave_one_whole_file(tmp_path):
    file = tmp_path / "result"

    def write(number: int) -> None:
        for _ in range(20):
            with replaced(file) as stream:
                stream.write(bytes([number]) * 1000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(file.read_bytes())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
