"""Files of CoMoments and TSQR: whatever happened to one, what is loaded is what was saved, or nothing is."""

import json
import os
import re

import numpy as np
import pytest

import vecprod_gpu as vp
from vecprod_gpu.linreg import tsqr
from vecprod_gpu.linreg._streaming import streamed

DAMAGES = 600


@pytest.fixture(params=[vp.CoMoments, vp.TSQR], ids=lambda kind: kind.__name__)
def saved(request, rng, tmp_path, monkeypatch):
    """An object with levels, rows that wait and weights, and its file."""
    monkeypatch.setattr(streamed, "SEGMENT_BYTES", 16 * 8 * 5)
    monkeypatch.setattr(tsqr, "BLOCK_ELEMENTS", 16)
    data = request.param.from_arrays(rng.random((60, 3)), rng.random((60, 2)), rng.random(60))
    assert sum(level is not None for level in data._tree.levels) >= 2
    assert data._waiting
    file = tmp_path / "data.npz"
    data.save(file)
    return data, file


def assert_same(loaded, data):
    assert (loaded.n_samples, loaded.dtype, loaded.layout) == (data.n_samples, data.dtype, data.layout)
    ours, theirs = loaded.packed(), data.packed()
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert ours[name].dtype == array.dtype
        assert ours[name].tobytes() == array.tobytes()


def damaged(whole, directory, rng):
    """The bytes with some changed, cut off, taken out or repeated; half the time where no checksum tells."""
    raw = bytearray(whole)
    place = int(rng.integers(directory if rng.random() < 0.5 else 0, len(raw)))
    length = int(rng.integers(1, 100))
    match rng.integers(6):
        case 0 | 1:
            for at in {place, *rng.integers(len(raw), size=rng.integers(3)).tolist()}:
                raw[at] ^= int(rng.integers(1, 256))
        case 2:
            raw[place] ^= 1 << int(rng.integers(8))
        case 3:
            del raw[place:]
        case 4:
            del raw[place : place + length]
        case 5:
            raw[place:place] = raw[place : place + length]
    return bytes(raw)


def rewrite(file, **changes):
    """Change fields of the header, or with a dot in the name arrays; those that are None are left out."""
    with np.load(file) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays["header"]))
    for name, value in changes.items():
        if name in header:
            header[name] = value
        else:
            arrays[name] = value
    arrays = {name: array for name, array in arrays.items() if array is not None}
    np.savez(file, **{**arrays, "header": np.array(json.dumps(header))})


def test_random_damage_is_told_or_changes_nothing(saved, rng):
    data, file = saved
    whole = file.read_bytes()
    directory = whole.index(b"PK\x01\x02")
    refused = harmless = 0
    for _ in range(DAMAGES):
        file.write_bytes(damaged(whole, directory, rng))
        try:
            loaded = type(data).load(file)
        except vp.errors.ArchiveError as error:
            refused += str(file) in str(error)
        else:
            assert_same(loaded, data)
            harmless += 1
    assert refused + harmless == DAMAGES
    assert refused > DAMAGES / 2


def test_each_byte_of_the_directory_is_minded(saved):
    data, file = saved
    whole = file.read_bytes()
    for place in range(whole.index(b"PK\x01\x02"), len(whole)):
        for flip in (0x01, 0x47):
            raw = bytearray(whole)
            raw[place] ^= flip
            file.write_bytes(raw)
            try:
                loaded = type(data).load(file)
            except vp.errors.ArchiveError:
                continue
            assert_same(loaded, data)


def test_a_member_that_hides_behind_a_comment_is_missed(saved):
    data, file = saved
    raw = bytearray(file.read_bytes())
    entries = [found.start() for found in re.finditer(b"PK\x01\x02", raw)]
    before = max(entry for entry in entries if entry < raw.rindex(b"waiting.y.npy"))
    raw[before + 32] = 46 + len(b"waiting.sample_weight.npy")  # how long the comment is of the one before
    file.write_bytes(raw)
    with pytest.raises(vp.errors.ArchiveError, match=r"waiting\."):
        type(data).load(file)


@pytest.mark.parametrize("part", ["waiting.X", "waiting.y", "waiting.sample_weight", ".total"])
def test_members_that_are_missing_renamed_or_added(saved, part):
    data, file = saved
    whole = file.read_bytes()
    with np.load(file) as archive:
        name = next(name for name in archive if name.endswith(part))
        array = archive[name]
    for change in ({name: None}, {name: None, "waiting.Z": array}, {"more": array}):
        file.write_bytes(whole)
        rewrite(file, **change)
        with pytest.raises(vp.errors.ArchiveError, match=re.escape(next(iter(change)))):
            type(data).load(file)


@pytest.mark.parametrize(
    "change",
    [
        {"n_samples": -1},
        {"n_samples": 0},
        {"n_samples": 12},
        {"n_samples": 1e3},
        {"dtype": "object"},
        {"dtype": "<i8"},
        {"dtype": "<c16"},
        {"layout": None},
        {"layout": None, "levels": [], "waiting": [], "n_samples": 0},
        {"levels": []},
        {"waiting": []},
        {"waiting.sample_weight": -np.ones(12)},
        {"waiting.sample_weight": np.full(12, np.nan)},
        {"waiting.X": np.full((12, 3), np.inf)},
        {"waiting.X": np.ones((11, 3)), "waiting.y": np.ones((11, 2))},
        {"waiting.X": None, "waiting": ["y", "sample_weight"]},
    ],
    ids=lambda change: ", ".join(change),
)
def test_what_does_not_fit_together(saved, change):
    data, file = saved
    rewrite(file, **change)
    with pytest.raises(vp.errors.ArchiveError, match=re.escape(str(file))):
        type(data).load(file)


def test_levels_that_no_rows_give(saved):
    data, file = saved
    whole = file.read_bytes()
    with np.load(file) as archive:
        arrays = dict(archive)
    squares = "matrix" if type(data) is vp.CoMoments else "triangle"
    for part, value in (("total", -1.0), ("total", np.nan), (squares, np.nan), (squares, np.inf)):
        file.write_bytes(whole)
        wrong = {name: np.full_like(of, value) for name, of in arrays.items() if name.endswith(f".{part}")}
        rewrite(file, **wrong)
        with pytest.raises(vp.errors.ArchiveError, match="a level holds what no rows give"):
            type(data).load(file)


@pytest.mark.parametrize("rows", [0, 7, 16])
def test_without_levels_the_rows_are_those_that_wait(saved, rng, rows):
    kind, file = type(saved[0]), saved[1]
    data = kind() if not rows else kind.from_arrays(rng.random((rows, 3)))
    data.save(file)
    if rows:
        assert_same(kind.load(file), data)
    else:
        assert repr(kind.load(file)) == repr(data)
    rewrite(file, n_samples=rows + 1 if rows != 16 else 0)
    with pytest.raises(vp.errors.ArchiveError, match="rows"):
        kind.load(file)


def test_the_format_that_is_needed_is_named(saved):
    data, file = saved
    other = vp.TSQR if type(data) is vp.CoMoments else vp.CoMoments
    with pytest.raises(vp.errors.ArchiveError) as raised:
        other.load(file)
    assert f"it is of format {data._format!r}, version 1; needed is {other._format!r}" in str(raised.value)


def test_what_the_system_says_stays_what_it_is(saved, tmp_path):
    data, file = saved
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        type(data).load(tmp_path / "none.npz")
    with pytest.raises(OSError) as raised:  # of which class is the system's choice
        type(data).load(tmp_path)
    assert not isinstance(raised.value, vp.errors.ArchiveError)
    if os.name == "posix" and os.geteuid():
        file.chmod(0)
        with pytest.raises(PermissionError):
            type(data).load(file)
