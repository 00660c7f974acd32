"""Predictions for rows in batches: the same bits in every output, and after an interruption."""

from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
import zarr
from pyarrow import parquet

import vecprod_gpu as vp
from tests.stream.stores import write_csv
from vecprod_gpu.stream import _outputs, _prediction

ROWS = 3000


class Stop(Exception):
    pass


@pytest.fixture(params=[(), (2,)], ids=["one target", "two targets"])
def model(request, rng):
    """Coefficients and intercepts."""
    return rng.normal(size=(4, *request.param)), rng.normal(size=request.param)


@pytest.fixture
def X(rng, tmp_path, monkeypatch):
    """Rows in the current folder, whose predictions are written in some twenty blocks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_prediction, "BLOCK_BYTES", 2**11)
    monkeypatch.setattr(_outputs, "BLOCK_BYTES", 2**11)
    X = rng.normal(size=(ROWS, 4)) + 3
    np.save("X.npy", X)
    return X


def expected(X, model):
    """Each prediction as a sum of products by itself."""
    coef, intercept = model
    return (X[:, :, None] * coef.reshape(4, -1)).sum(axis=1).reshape(-1, *coef.shape[1:]) + intercept


def load(out):
    """What an output holds; of a table the columns beside each other."""
    if not isinstance(out, str):
        return np.asarray(out[...])
    path = Path(out)
    if path.suffix == ".zarr":
        return zarr.open_array(out, mode="r")[...]
    if path.suffix in (".npy", ".npz"):
        found = np.load(out)
        return found if path.suffix == ".npy" else found["result"]
    table = pyarrow.csv.read_csv(out) if path.suffix == ".csv" else parquet.read_table(out)
    columns = np.column_stack([column.to_numpy() for column in table.columns])
    return columns[:, 0] if table.column_names == ["predicted"] else columns


def output(kind, shape):
    """What `out` is, of each kind."""
    match kind:
        case "array":
            return np.full(shape, np.nan)
        case "map":
            return np.lib.format.open_memmap("map.npy", "w+", float, shape)
        case "Zarr array":  # whose chunks are cut across the targets too
            return zarr.create_array("made.zarr", shape=shape, dtype=float, chunks=(70, 1)[: len(shape)])
        case _:
            return f"out{kind}"


KEPT = (".npy", ".zarr", "map", "Zarr array")


@pytest.mark.parametrize("kind", [*KEPT, "array", ".npz", ".csv", ".parquet"])
def test_every_output_holds_the_same(kind, X, model):
    wanted = expected(X, model)
    out = output(kind, wanted.shape)
    vp.stream.predict(model, "X.npy", out)
    np.testing.assert_allclose(load(out), wanted, rtol=1e-13, atol=1e-13)
    vp.stream.predict(model, [X[:7], X[7:2000], X[2000:]], "again.npy")
    assert load(out).tobytes() == np.load("again.npy").tobytes()


@pytest.mark.parametrize("kind", KEPT)
def test_what_was_interrupted_goes_on(kind, X, model, monkeypatch):
    wanted = expected(X, model)
    vp.stream.predict(model, "X.npy", "whole.npy")
    out = output(kind, wanted.shape)
    batches, read = _prediction.Passes.batches, []

    def some(self, description, row):
        for batch in batches(self, description, row):
            for start in range(0, len(batch.X), 100):  # so that it ends in the middle of a file
                if not read and start == 1600:
                    raise Stop
                yield batch.__class__(batch.X[start : start + 100], None, None, row + start, 0)
        read.append((row, row + len(batch.X)))

    monkeypatch.setattr(_prediction.Passes, "batches", some)
    with pytest.raises(Stop):
        vp.stream.predict(model, "X.npy", out, checkpoint="state", every=0.0)
    assert Path("state").exists()
    read.append("no more")
    vp.stream.predict(model, "X.npy", out, checkpoint="state", memory="8GB")
    (_, (first, last)) = read
    assert 1000 < first < 1600
    assert last == ROWS
    assert load(out).tobytes() == np.load("whole.npy").tobytes()
    assert not Path("state").exists()
    assert not list(Path().glob(".vecprod*"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: np.save("X.npy", np.ones((ROWS, 4))), "another job: X.npy: "),
        (lambda: None, "another job: coef: hash was"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(change, words, X, model, monkeypatch):
    def fail(self, first_row=0):
        yield np.zeros((1000, *model[0].shape[1:]))
        raise Stop

    monkeypatch.setattr(_prediction.Prediction, "rows", fail)
    with pytest.raises(Stop):
        vp.stream.predict(model, "X.npy", "out.npy", checkpoint="state")
    change()
    with pytest.raises(vp.errors.BadInputError, match=words):
        vp.stream.predict((model[0] + 1, model[1]), "X.npy", "out.npy", checkpoint="state")
    assert Path("state").exists()
    assert not Path("out.npy").exists()


def test_rows_that_only_reading_counts(X, model):
    write_csv(Path("t.csv"), X)
    vp.stream.predict(model, "t.csv", "out.zarr")
    np.testing.assert_allclose(load("out.zarr"), expected(X, model), rtol=1e-13, atol=1e-13)


def test_the_dtype_is_promoted(X):
    coef, intercept = np.ones(4, np.float32), np.float32(0.5)
    for given, dtype in (("f4", "f4"), ("f8", "f8"), ("i2", "f4"), ("i4", "f8"), ("?", "f4")):
        vp.stream.predict((coef, intercept), X.astype(given), "out.npy")
        assert np.load("out.npy").dtype == dtype
        np.testing.assert_allclose(
            np.load("out.npy"), X.astype(given).sum(axis=1, dtype=float) + 0.5, rtol=1e-5
        )


@pytest.mark.parametrize("out", ["out.npy", "out.zarr", "out.csv"])
def test_a_nan_is_named_and_nothing_is_left(out, X):
    X[2345, 1] = np.nan
    np.save("X.npy", X)
    with pytest.raises(vp.errors.BadInputError, match=r"X\.npy: \[2345, 1\] is nan"):
        vp.stream.predict((np.ones(4), 0.0), "X.npy", out)
    assert [path.name for path in Path().iterdir()] == ["X.npy"]


def test_a_file_that_grows_is_noticed(X, monkeypatch):
    write_csv(Path("t.csv"), X)
    count = _prediction.Passes.count

    def counted(self):
        rows = count(self)
        with Path("t.csv").open("a") as stream:
            stream.write("1,2,3,4\n" * 9)
        return rows

    monkeypatch.setattr(_prediction.Passes, "count", counted)
    with pytest.raises(vp.errors.BadInputError, match=r"t\.csv goes on; it had 3000 before"):
        vp.stream.predict((np.ones(4), 0.0), "t.csv", "out.npy")
    assert not Path("out.npy").exists()


def test_what_it_does_not_take(X):
    model = np.ones(4), 0.0
    for out, how, error, words in (
        (np.empty(7), {}, vp.errors.ShapeError, "out has shape"),
        (np.empty(ROWS), {"checkpoint": "state"}, vp.errors.ArgumentError, "outlives the process"),
        ("out.csv", {"checkpoint": "state"}, vp.errors.ArgumentError, r"an array or \.npy or \.zarr"),
        ("X.npy", {}, vp.errors.BadInputError, "both an input and the output"),
        ("out.txt", {}, vp.errors.BadInputError, r"must end in \.npy, \.npz, \.csv, \.parquet or \.zarr"),
        ("out.zarr:k", {}, vp.errors.BadInputError, "a single array, without a key"),
    ):
        with pytest.raises(error, match=words):
            vp.stream.predict(model, "X.npy", out, **how)
    with pytest.raises(vp.errors.ArgumentError, match="out overlaps X"):
        vp.stream.predict(model, X, X[:, 0])
    with pytest.raises(vp.errors.ArgumentError, match="their number must be known"):
        vp.stream.predict(model, iter([X]), "out.npy")
    with pytest.raises(vp.errors.ShapeError, match="X has 4 columns; needed are 3"):
        vp.stream.predict((np.ones(3), 0.0), "X.npy", "out.npy")
