"""``vecprod fit`` and ``vecprod predict`` against least squares, from every kind of file."""

import json
import platform
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import zarr

import vecprod_gpu as vp
from tests.jobs.tables import FORMATS, header, load, save
from vecprod_gpu import _progress as progress
from vecprod_gpu.jobs import run
from vecprod_gpu.stream import _results

TIGHT = ["--tol", "1e-12", "--max-iter", "20000"]
CLOSE = {"rtol": 1e-8, "atol": 1e-8}
NAMES = ["rooms", "age", "price", "weight"]


@pytest.fixture
def houses(folder, rng):
    """A table of four columns, in every format."""
    X = rng.normal([3, -1], size=(60, 2))
    price = X @ [2.0, -0.5] + 7 + 0.1 * rng.normal(size=60)
    table = np.column_stack([X, price, rng.integers(1, 4, size=60)])
    for suffix in FORMATS:
        save(folder / f"houses{suffix}", table, NAMES)
    return table


def model(path: str = "model.json") -> dict:
    return json.loads(Path(path).read_text())


def least_squares(X, y, weights=None, l2=0.0, intercept=True):
    """Coefficients and intercept of weighted ridge regression from centred normal equations."""
    weights = np.ones(len(X)) if weights is None else weights
    total = weights.sum()
    x_mean, y_mean = (weights @ X / total, weights @ y / total) if intercept else (np.zeros(X.shape[1]), 0.0)
    centred = X - x_mean
    hessian = (centred.T * weights) @ centred / total + l2 * np.eye(X.shape[1])
    coef = np.linalg.solve(hessian, (centred.T * weights) @ (y - y_mean) / total)
    return coef, y_mean - x_mean @ coef


def holds(fitted: dict, coef: np.ndarray, intercept: object) -> None:
    np.testing.assert_allclose(np.squeeze(fitted["coef"]), coef, **CLOSE)
    np.testing.assert_allclose(np.squeeze(fitted["intercept"]), intercept, **CLOSE)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("target", ["name", "index", "negative index", "file"])
def test_a_fit_is_least_squares(suffix, target, houses, folder, job):
    X, price, weights = houses[:, :2], houses[:, 2], houses[:, 3]
    np.save("price.npy", price)
    np.save("w.npy", weights)
    has_names = suffix in (".csv", ".parquet")
    words = {
        "name": ["price" if has_names else "2", "weight" if has_names else "3"],
        "index": ["2", "3"],
        "negative index": ["-2", "-1"],
        "file": ["price.npy", "w.npy"],
    }[target]
    columns = ["--columns", "0,1"] if target == "file" else []
    job(
        *("fit", f"houses{suffix}", "--target", words[0], "--sample-weight", words[1]),
        *("--l2", 0.1, *columns, *TIGHT, "-o", "model.json"),
    )
    fitted = model()
    holds(fitted, *least_squares(X, price, weights, l2=0.1))
    assert fitted["features"] == (["rooms", "age"] if has_names else None)
    from_file = {"name": "price", "file": "price"}
    assert fitted["targets"] == [
        "price" if has_names else from_file.get(target if target == "file" else "", "x2")
    ]


@pytest.mark.parametrize("source", ["parts", "parts/*.parquet", "store.zarr"])
def test_folders_patterns_and_stores(source, houses, folder, job):
    (folder / "parts").mkdir()
    for number, rows in enumerate((houses[:20], houses[20:])):
        save(folder / "parts" / f"{number}.parquet", rows, NAMES)
    zarr.save_array(folder / "store.zarr", houses)
    job("fit", source, "--target", "2", "--columns", "0,1", *TIGHT, "-o", "model.json")
    holds(model(), *least_squares(houses[:, :2], houses[:, 2]))
    job("predict", "model.json", source, "--columns", "0,1", "-o", "out.npy")
    np.testing.assert_allclose(
        np.load("out.npy"), houses[:, :2] @ model()["coef"][0] + model()["intercept"][0], **CLOSE
    )


def test_the_model_file_has_the_documented_fields(houses, job):
    job(
        *("fit", "houses.csv", "--target", "price", "--sample-weight", "weight"),
        *("--l1", 0.01, "--l2", 0.5, "--learning-rate", 0.05, "--max-iter", 5000, "--tol", 1e-9),
        *("--solver", "comoments"),
        *("--backend", "reference", "-o", "model.json"),
    )
    fitted = model()
    expected = vp.linreg_fit(
        houses[:, :2], houses[:, 2], sample_weight=houses[:, 3],
        l1=0.01, l2=0.5, learning_rate=0.05, max_iter=5000, tol=1e-9, solver="comoments",
    )  # fmt: skip
    assert abs(datetime.now(UTC) - datetime.fromisoformat(fitted.pop("created"))) < timedelta(minutes=5)
    np.testing.assert_allclose(fitted.pop("coef"), [expected.coef], **CLOSE)
    np.testing.assert_allclose(fitted.pop("intercept"), [expected.intercept], **CLOSE)
    np.testing.assert_allclose(fitted["fit"].pop("loss"), [expected.loss_history[-1]], **CLOSE)
    assert fitted == {
        "format": "vecprod-linear-model",
        "version": 1,
        "features": ["rooms", "age"],
        "targets": ["price"],
        "dtype": "float64",
        "penalties": {"l1": 0.01, "l2": 0.5},
        "fit": {
            "solver": "comoments",
            "reason": "it was asked for",
            "learning_rate": 0.05,
            "max_iter": 5000,
            "tol": 1e-9,
            "fit_intercept": True,
            "iterations": expected.n_iter,
            "converged": True,
            "rank": None,
            "backend": "reference",
        },
        "data": {
            "file": "houses.csv",
            "target": "price",
            "sample_weight": "weight",
            "rows": 60,
            "columns": 2,
        },
        "versions": {
            "vecprod-gpu": vp.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


@pytest.mark.parametrize("solver", ["auto", "gd", "comoments", "sgd", "cd", "cholesky", "eigh", "svd"])
def test_every_solver_finds_least_squares(solver, houses, job):
    # Of 60 rows each epoch of sgd is one batch, so that it converges as descent does.
    job(
        *("fit", "houses.csv", "--target", "price", "--columns", "rooms,age", "--l2", 0.1, *TIGHT),
        *("--solver", solver, "-o", "model.json"),
    )
    fitted = model()
    holds(fitted, *least_squares(houses[:, :2], houses[:, 2], l2=0.1))
    how = fitted["fit"]
    assert how["solver"] == ("cholesky" if solver == "auto" else solver)
    assert ("condition" if solver == "auto" else "asked for") in how["reason"]
    assert (how["learning_rate"] is None) == (how["solver"] in ("cd", "cholesky", "eigh", "svd"))
    assert (how["iterations"] == 0) == (how["solver"] in ("cholesky", "eigh", "svd"))
    assert how["rank"] == (2 if solver in ("eigh", "svd") else None)
    assert how["converged"] is True
    predictions = houses[:, :2] @ fitted["coef"][0] + fitted["intercept"][0]
    loss = np.mean((predictions - houses[:, 2]) ** 2) / 2 + 0.05 * np.sum(np.square(fitted["coef"]))
    np.testing.assert_allclose(how["loss"], [loss], **CLOSE)


def test_dependent_columns_are_told_of(houses, command):
    np.save("twice.npy", houses[:, [0, 1, 0]])
    np.save("price.npy", houses[:, 2])
    status, _, err = command("fit", "twice.npy", "--target", "price.npy", "-o", "model.json")
    assert status == 0
    assert err.startswith("vecprod: warning: X has 3 columns, but only 2 are independent")
    assert err.count("\n") == 1
    fitted = model()
    assert fitted["fit"]["rank"] == 2
    coef, intercept = least_squares(houses[:, :2], houses[:, 2])
    holds(fitted, np.array([coef[0] / 2, coef[1], coef[0] / 2]), intercept)  # of least norm


def test_a_seed_repeats_sgd(folder, job, rng):
    np.save("t.npy", rng.normal(size=(700, 3)))  # of several batches
    fits = []
    for seed in (1, 1, 2):
        job(
            *("fit", "t.npy", "--target", "2", "--solver", "sgd", "--seed", seed, "--max-iter", 3),
            *("--tol", 0.9, "--force", "-o", "model.json"),
        )
        fits.append(model()["coef"])
    assert fits[0] == fits[1] != fits[2]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--solver", "gd"], ("fitting", 20000)),
        (["--solver", "sgd"], ("fitting", 20000)),
        (["--solver", "cholesky"], ("fitting", None)),
        (["--solver", "auto"], ("fitting", None)),
        (["--l2", "0,1", "--cv", "4"], ("trying 2 points in 4 folds", None)),
    ],
)
def test_the_bar_counts_the_steps_of_descents(arguments, expected, houses, job, monkeypatch):
    stages: list[list] = []

    class Recorder(progress.Bar):
        def stage(self, description, total=None, *, in_bytes=False):
            stages.append([description, total, 0])

        def advance(self, units):
            stages[-1][2] += units

    monkeypatch.setattr(run, "progress_bar", lambda: nullcontext(Recorder()))
    job("fit", "houses.csv", "--target", "price", *TIGHT, *arguments, "-o", "model.json")
    description, total, steps = stages[-1]
    assert (description, total) == expected
    how = model()["fit"]
    # Whoever only watches has no say in what fits.
    assert how["solver"] == (arguments[1] if arguments[1] in ("gd", "sgd") else how["solver"])
    assert steps == (how["iterations"] if total else 0)


def test_no_intercept(houses, job):
    job(
        "fit",
        "houses.csv",
        "--target",
        "price",
        "--columns",
        "age,rooms",
        "--no-intercept",
        *TIGHT,
        "-o",
        "model.json",
    )
    fitted = model()
    holds(fitted, *least_squares(houses[:, [1, 0]], houses[:, 2], intercept=False))
    assert fitted["features"] == ["age", "rooms"]
    assert fitted["intercept"] == [0.0]
    assert fitted["fit"]["fit_intercept"] is False


@pytest.mark.parametrize("suffix", FORMATS)
def test_several_targets(suffix, houses, folder, job, rng):
    Y = rng.normal(size=(60, 2))
    save(folder / f"many{suffix}", Y, ["up", "down"])
    job("fit", "houses.npy", "--columns", "0,1", "--target", f"many{suffix}", *TIGHT, "-o", "model.json")
    fitted = model()
    wanted = [least_squares(houses[:, :2], y) for y in Y.T]
    holds(fitted, np.array([coef for coef, _ in wanted]), [intercept for _, intercept in wanted])
    names = {".npz": ["many0", "many1"], ".npy": ["many0", "many1"]}.get(suffix, ["up", "down"])
    assert fitted["targets"] == names
    assert len(fitted["fit"]["loss"]) == 2
    job("predict", "model.json", "houses.csv", "--columns", "rooms,age", "-o", "out.csv")
    assert header(folder / "out.csv") == [f"predicted_{name}" for name in names]
    predictions = houses[:, :2] @ np.array(fitted["coef"]).T + fitted["intercept"]
    np.testing.assert_allclose(load(folder / "out.csv"), predictions, **CLOSE)


def test_targets_of_one_name_are_told_apart(houses, folder, job):
    save(folder / "twice.csv", houses[:, [2, 2]], ["price", "price"])
    job("fit", "houses.npy", "--columns", "0,1", "--target", "twice.csv", *TIGHT, "-o", "model.json")
    assert model()["targets"] == ["twice0", "twice1"]


def test_an_array_of_an_archive_names_the_target(houses, job):
    np.savez("both.npz", X=houses[:, :2], y=houses[:, [2]])
    job("fit", "both.npz:X", "--target", "both.npz:y", *TIGHT, "-o", "model.json")
    holds(model(), *least_squares(houses[:, :2], houses[:, 2]))
    assert model()["targets"] == ["y"]


def test_lasso_leaves_out_what_does_not_help(folder, job, rng):
    X = rng.normal(size=(200, 3))
    save(folder / "t.csv", np.column_stack([X, X @ [3.0, 0.0, -2.0]]))
    job("fit", "t.csv", "--target", "d", "--l1", "0.5", *TIGHT, "-o", "model.json")
    coef = np.array(model()["coef"][0])
    assert coef[1] == 0
    assert 0 < coef[0] < 3
    assert -2 < coef[2] < 0


def test_float32_stays_float32(houses, folder, job):
    np.save("narrow.npy", houses.astype(np.float32))
    job("fit", "narrow.npy", "--target", "2", "--columns", "0,1", "-o", "model.json")
    fitted = model()
    assert fitted["dtype"] == "float32"
    assert np.float32(fitted["coef"][0][0]) == fitted["coef"][0][0]
    job("predict", "model.json", "narrow.npy", "--columns", "0,1", "-o", "out.npy")
    predictions = np.load("out.npy")
    assert predictions.dtype == np.float32
    coef, intercept = np.float32(fitted["coef"][0]), np.float32(fitted["intercept"][0])
    np.testing.assert_allclose(predictions, houses[:, :2].astype(np.float32) @ coef + intercept, rtol=1e-6)


class TestPredict:
    @pytest.fixture(autouse=True)
    def model(self, houses, job):
        job("fit", "houses.csv", "--target", "price", "--columns", "rooms,age", *TIGHT, "-o", "model.json")
        fitted = model()
        self.wanted = houses[:, :2] @ fitted["coef"][0] + fitted["intercept"][0]

    @pytest.mark.parametrize("read", [".csv", ".parquet"])
    @pytest.mark.parametrize("written", FORMATS)
    def test_from_a_table_by_name(self, read, written, houses, folder, job):
        shuffled = save(folder / f"new{read}", houses[:, [2, 1, 3, 0]], ["price", "age", "weight", "rooms"])
        job("predict", "model.json", shuffled, "-o", f"out{written}")
        predictions = load(folder / f"out{written}")
        assert predictions.shape == ((60, 1) if written in (".csv", ".parquet") else (60,))
        np.testing.assert_allclose(predictions.ravel(), self.wanted, **CLOSE)
        if written in (".csv", ".parquet"):
            assert header(folder / f"out{written}") == ["predicted_price"]

    def test_from_a_table_without_the_target_and_with_text(self, folder, job):
        (folder / "new.csv").write_text("name,age,rooms\nours,10,2\n")
        job("predict", "model.json", "new.csv", "-o", "out.npy")
        coef, intercept = model()["coef"][0], model()["intercept"][0]
        np.testing.assert_allclose(np.load("out.npy"), [2 * coef[0] + 10 * coef[1] + intercept], **CLOSE)

    @pytest.mark.parametrize("suffix", [".npy", ".npz"])
    def test_from_an_array_by_position(self, suffix, houses, folder, job):
        save(folder / f"new{suffix}", houses[:, :2])
        job("predict", "model.json", f"new{suffix}", "-o", "out.npy")
        np.testing.assert_allclose(np.load("out.npy"), self.wanted, **CLOSE)

    def test_from_chosen_columns(self, houses, folder, job):
        save(folder / "new.csv", houses[:, [1, 3, 0]], ["years", "w", "r"])
        job("predict", "model.json", "new.csv", "--columns", "r,years", "-o", "out.npy")
        np.testing.assert_allclose(np.load("out.npy"), self.wanted, **CLOSE)

    def test_in_parts(self, houses, folder, job, monkeypatch):
        monkeypatch.setattr(_results, "_BLOCK_BYTES", 100)
        save(folder / "new.npy", houses[:, :2])
        job("predict", "model.json", "new.npy", "-o", "out.npy")
        np.testing.assert_allclose(np.load("out.npy"), self.wanted, **CLOSE)

    def test_from_no_rows(self, folder, job):
        (folder / "new.csv").write_text("rooms,age\n")
        job("predict", "model.json", "new.csv", "-o", "out.npy")
        assert np.load("out.npy").shape == (0,)

    def test_the_report(self, houses, job):
        report = json.loads(job("predict", "model.json", "houses.csv", "-o", "out.npy", "--json"))
        assert report.pop("seconds") > 0
        assert report["read"].pop("rows_per_second") > 0
        assert report == {
            "job": "predict",
            "read": {"rows": 60, "rows_resumed": 0},
            "inputs": [{"argument": "X", "file": "houses.csv", "shape": [60, 2], "dtype": "float64"}],
            "output": {"file": "out.npy", "shape": [60], "dtype": "float64"},
            "backend": "reference",
            "model": "model.json",
        }


def test_a_model_without_names_takes_any_table(houses, folder, job):
    job("fit", "houses.npy", "--target", "2", "--columns", "0,1", *TIGHT, "-o", "model.json")
    save(folder / "new.csv", houses[:, :2], ["r", "a"])
    job("predict", "model.json", "new.csv", "-o", "out.csv")
    coef, intercept = least_squares(houses[:, :2], houses[:, 2])
    np.testing.assert_allclose(load(folder / "out.csv")[:, 0], houses[:, :2] @ coef + intercept, **CLOSE)
    assert header(folder / "out.csv") == ["predicted_x2"]


def test_the_report_of_a_fit(houses, job):
    arguments = ["fit", "houses.csv", "--target", "price", "-b", "reference", "--force", "-o", "model.json"]
    report = json.loads(job(*arguments, "--json"))
    assert report.pop("seconds") > 0
    assert report["read"].pop("rows_per_second") > 0
    assert report == {
        "job": "fit",
        "read": {"rows": 60, "rows_resumed": 0},
        "inputs": [
            {"argument": "X", "file": "houses.csv", "shape": [60, 3], "dtype": "float64"},
            {"argument": "y", "file": "houses.csv", "shape": [60], "dtype": "float64"},
        ],
        "output": {"file": "model.json"},
        "backend": "reference",
        "fit": model()["fit"],
    }
    line = job(*arguments)
    assert line.count("\n") == 1
    assert "model.json by cholesky, loss " in line
    line = job(*arguments, "--solver", "gd", "--tol", 0.1)
    assert f"model.json by gd in {model()['fit']['iterations']} steps, loss " in line


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["2", "gd"], "no convergence within 2 steps; give more --max-iter or a larger --tol"),
        (["2", "comoments"], "no convergence within 2 steps; give more --max-iter or a larger --tol"),
        (["1", "cd"], "no convergence within 1 sweeps; give more --max-iter or a larger --tol"),
        (["2", "sgd"], "no convergence within 2 epochs; give a smaller --learning-rate, more --max-iter or"),
    ],
)
def test_a_fit_that_does_not_converge_says_so(arguments, advice, houses, command):
    steps, solver = arguments
    status, _, err = command(
        *("fit", "houses.csv", "--target", "price", "--max-iter", steps, "--solver", solver),
        *("--l1", "0.01" if solver == "cd" else "0", "-o", "model.json"),
    )
    assert status == 0
    assert err.count("\n") == 1
    assert err.startswith("vecprod: warning: ")
    assert advice in err
    assert model()["fit"]["converged"] is False
    assert model()["fit"]["iterations"] == int(steps)


class TestRefusals:
    @pytest.fixture
    def refused(self, folder, command):
        """Run a command that must be refused over an earlier model; the line that it prints."""

        def run(*arguments: str, output: str = "old.json") -> str:
            Path(output).write_bytes(b"earlier")
            before = sorted(folder.iterdir())
            status, out, err = command(*arguments, "--force", "-o", output)
            assert (status, out) == (2, "")
            assert err.startswith("vecprod: ")
            assert err.count("\n") == 1
            assert sorted(folder.iterdir()) == before
            assert Path(output).read_bytes() == b"earlier"
            return err

        return run

    @pytest.mark.parametrize(
        ("arguments", "fragments"),
        [
            (
                ["houses.csv", "--target", "prize"],
                ["houses.csv has no column 'prize'", "near to it: 'price'"],
            ),
            (["houses.csv", "--target", "7"], ["no column '7'", "'rooms', 'age', 'price', 'weight'"]),
            (["houses.csv", "--target", "y.npy"], ["cannot read y.npy", "No such file"]),
            (["houses.csv", "--target", "short.npy"], ["short.npy has 3 rows, but houses.csv has 60"]),
            (["houses.csv", "--target", "cube.npy"], ["cube.npy has shape (60, 2, 2)"]),
            (["houses.csv", "--target", "complex.npy"], ["complex.npy holds complex128", "real numbers"]),
            (
                ["houses.csv", "--target", "2", "--columns", "rooms,price"],
                ["column 'price' is a feature, and"],
            ),
            (["houses.csv", "--target", "2", "--columns", "rooms,0"], ["two features", "'rooms'"]),
            (["houses.csv", "--target", "2", "--columns", "zoo"], ["no column 'zoo'"]),
            (
                ["houses.csv", "--target", "2", "--learning-rate", "fast"],
                ["--learning-rate is 'fast'", "auto"],
            ),
            (
                ["houses.csv", "--target", "2", "--learning-rate", "-1"],
                ["--learning-rate is '-1'", "above 0"],
            ),
            (
                ["houses.csv", "--target", "2", "--learning-rate", "1e9"],
                ["diverges at learning_rate 1e+09", "largest stable one is 1.", "X is houses.csv"],
            ),
            (
                ["houses.csv", "--target", "2", "--learning-rate", "9", "--solver", "gd"],
                ["diverges at learning_rate 9", "largest stable one is 1.", "X is houses.csv"],
            ),
            (
                ["twice.npy", "--target", "price.npy", "--solver", "cholesky"],
                ["depend on each other", "X is twice.npy"],
            ),
            (["huge.npy", "--target", "2"], ["sums of squares", "overflow", "X is huge.npy"]),
            (["small.npy", "--target", "2"], ["the coefficients are too large for float16"]),
            (["houses.csv", "--target", "2", "--solver", "magic"], ["--solver is 'magic'", "auto, gd, "]),
            (["houses.csv", "--target", "2", "--solver", "svd", "--l1", "1"], ["l1 must be 0", "svd"]),
            (["houses.csv", "--target", "2", "--seed", "1"], ["--seed is 1", "--cv", "--solver sgd"]),
            (["houses.csv", "--target", "2", "--solver", "sgd", "--seed", "-1"], ["--seed is -1", "0 to 42"]),
            (["houses.csv", "--target", "2", "--l1", "-1"], ["--l1 is '-1'", "0 or more"]),
            (["houses.csv", "--target", "2", "--tol", "nan"], ["tol", "nan"]),
            (["houses.csv", "--target", "2", "--max-iter", "-1"], ["--max-iter is '-1'"]),
            (["houses.csv", "--target", "2", "--max-iter", "many"], ["--max-iter is 'many'", "whole"]),
            (["houses.csv", "--target", "2", "--sample-weight", "zoo"], ["no column 'zoo'"]),
            (["houses.csv", "--target", "2", "--sample-weight", "short.npy"], ["short.npy has 3 rows"]),
            (
                ["houses.csv", "--target", "2", "--sample-weight", "pairs.npy"],
                ["pairs.npy has shape (60, 2)"],
            ),
            (["houses.csv", "--target", "2", "--sample-weight", "none.npy"], ["sample_weight is none.npy"]),
            (["houses.csv", "--target", "2", "--sample-weight", "minus.npy"], ["minus.npy: [7] is -1.0"]),
            (["one.csv", "--target", "a"], ["one.csv has no columns left"]),
            (["no-rows.csv", "--target", "a"], ["no-rows.csv has no rows"]),
            (["short.npy", "--target", "0"], ["short.npy is no table"]),
            (["gap.csv", "--target", "c"], ["gap.csv: column 'b', data row 2 ", "empty or NaN"]),
            (["gap.csv", "--target", "b", "--columns", "a"], ["gap.csv: column 'b', data row 2 "]),
            (["gap.npy", "--target", "3"], ["gap.npy: [4, 2] is inf"]),
            (["gap.npy", "--target", "0"], ["gap.npy: [4, 2] is inf"]),
            (["gap.npy", "--target", "2"], ["gap.npy: [4, 2] is inf"]),
            (["text.csv", "--target", "a"], ["column 'b' is not numeric", "data row 1 ", "'x'"]),
        ],
    )
    def test_of_a_fit(self, arguments, fragments, houses, folder, refused):
        np.save("twice.npy", houses[:, [0, 1, 0]])
        np.save("price.npy", houses[:, 2])
        np.save("huge.npy", houses * 1e200)
        np.save("small.npy", (houses * [1e-4, 1e-4, 1e3, 1]).astype(np.float16))
        np.save("short.npy", np.ones(3))
        np.save("cube.npy", np.ones((60, 2, 2)))
        np.save("complex.npy", np.ones(60, complex))
        np.save("pairs.npy", np.ones((60, 2)))
        np.save("none.npy", np.zeros(60))
        np.save("minus.npy", np.where(np.arange(60) == 7, -1.0, 1.0))
        (folder / "one.csv").write_text("a\n1\n2\n")
        (folder / "no-rows.csv").write_text("a,b\n")
        (folder / "gap.csv").write_text("a,b,c\n1,2,3\n4,,6\n7,8,9\n")
        (folder / "text.csv").write_text("a,b\n1,x\n2,3\n")
        gap = np.random.default_rng(0).normal(size=(8, 4))
        gap[4, 2] = np.inf
        np.save("gap.npy", gap)
        line = refused("fit", *arguments)
        for fragment in fragments:
            assert fragment in line

    def test_of_a_gap_far_down(self, folder, refused):
        values = np.zeros((2**21 + 9, 3), np.float32)
        values[-2, 1] = np.nan
        np.save("long.npy", values)
        assert f"long.npy: [{2**21 + 7}, 1] is nan" in refused("fit", "long.npy", "--target", "0")

    @pytest.mark.parametrize("output", ["model.npy", "model"])
    def test_of_an_output_that_is_no_json(self, output, houses, refused):
        assert f"{output}: the output must end in .json" in refused(
            "fit", "houses.csv", "--target", "price", output=output
        )

    @pytest.mark.parametrize("name", ["price.npy", "weight.npy"])
    def test_of_an_output_that_is_an_input(self, name, houses, folder, command):
        np.save("price.npy", houses[:, 2]), np.save("weight.npy", houses[:, 3])
        (folder / "link.json").symlink_to(name)
        before = (folder / name).read_bytes()
        status, _, err = command(
            *("fit", "houses.csv", "--target", "price.npy", "--sample-weight", "weight.npy"),
            *("--force", "-o", "link.json"),
        )
        assert status == 2
        assert "both an input and the output" in err
        assert (folder / name).read_bytes() == before

    @pytest.mark.parametrize(
        ("data", "fragments"),
        [
            ("missing.csv", ["cannot read missing.csv"]),
            ("other.csv", ["other.csv has no column 'age'", "near to it: 'aged'"]),
            ("gap.csv", ["gap.csv: column 'rooms', data row 3 ", "empty or NaN"]),
            ("text.csv", ["column 'age' is not numeric", "'old'"]),
            ("wide.npy", ["wide.npy gives 3 columns", "model.json needs 2: rooms, age"]),
            ("gap.npy", ["gap.npy: [5, 1] is nan"]),
            ("row.npy", ["row.npy is no table"]),
            ("complex.npy", ["complex128"]),
        ],
    )
    def test_of_a_prediction(self, data, fragments, houses, folder, job, refused, monkeypatch):
        monkeypatch.setattr(_results, "_BLOCK_BYTES", 64)  # what is bad is not in the first part
        job("fit", "houses.csv", "--target", "price", "--columns", "rooms,age", "-o", "model.json")
        (folder / "other.csv").write_text("rooms,aged\n1,2\n")
        (folder / "gap.csv").write_text("age,rooms\n1,2\n3,4\n5,\n")
        (folder / "text.csv").write_text("age,rooms\n1,2\nold,4\n")
        np.save("wide.npy", np.ones((4, 3)))
        np.save("gap.npy", np.where(np.arange(24).reshape(12, 2) == 11, np.nan, 1.0))
        np.save("row.npy", np.ones(2))
        np.save("complex.npy", np.ones((4, 2), complex))
        line = refused("predict", "model.json", data, output="out.npy")
        for fragment in fragments:
            assert fragment in line
