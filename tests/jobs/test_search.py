"""``vecprod fit`` over several values: scores against loops over folds, the report and the picture."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import KFold

from tests.jobs.tables import save
from tests.test_cli import run_without
from vecprod_gpu.errors import BadInputError
from vecprod_gpu.jobs.grids import MOST_POINTS, Grid

CLOSE = {"rtol": 1e-8, "atol": 1e-8}
EARLIER = b"what an earlier job wrote"
BEGINNINGS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF", ".PNG": b"\x89PNG"}
FIT = ["fit", "t.csv", "--target", "y"]


@pytest.fixture
def table(folder, rng):
    """Few rows for its columns, which depend on each other nearly, so that a penalty helps."""
    X = rng.normal(size=(40, 12))
    X[:, 6:] = X[:, :6] + 0.1 * rng.normal(size=(40, 6))
    y = X @ rng.normal(size=12) + 2 * rng.normal(size=40)
    save(folder / "t.csv", np.column_stack([X, y]), [*(f"x{i}" for i in range(12)), "y"])
    return X, y


def model() -> dict:
    return json.loads(Path("model.json").read_text())


def ridge(X, y, l2, weights=None):
    """Coefficients and intercept from the normal equations of a matrix with a column of ones."""
    s = np.ones(len(X)) if weights is None else weights
    A = np.column_stack([X, np.ones(len(X))])
    penalty = np.diag([l2] * X.shape[1] + [0.0])
    solution = np.linalg.solve((A.T * s) @ A / s.sum() + penalty, (A.T * s) @ y / s.sum())
    return solution[:-1], solution[-1]


def descend(X, y, rate, steps):
    """Coefficients and intercept of gradient descent on the centred rows."""
    A, b, w = X - X.mean(0), y - y.mean(), np.zeros(X.shape[1])
    for _ in range(steps):
        w = w - rate * A.T @ (A @ w - b) / len(X)
    return w, y.mean() - X.mean(0) @ w


def scores(fit, X, y, folds, metric):
    """The score of each fold."""
    held_out = []
    for train, test in folds.split(X):
        coef, intercept = fit(X[train], y[train])
        residual = y[test] - X[test] @ coef - intercept
        mse = np.mean(residual**2)
        held_out.append({"r2": 1 - mse / np.var(y[test]), "mse": mse, "rmse": np.sqrt(mse)}[metric])
    return held_out


@pytest.mark.parametrize(
    ("options", "folds", "metric"),
    [
        ([], KFold(5), "r2"),
        (["--cv", 3, "--scoring", "mse"], KFold(3), "mse"),
        (["--scoring", "rmse", "--seed", 7], KFold(5, shuffle=True, random_state=7), "rmse"),
    ],
)
def test_the_best_of_a_grid(options, folds, metric, table, job):
    X, y = table
    job(*FIT, "--l2", "1e-3:1e1:9", *options, "-o", "model.json")
    fitted = model()
    grid = [10 ** (-3 + i / 2) for i in range(9)]
    wanted = np.array([scores(lambda X, y, l2=l2: ridge(X, y, l2), X, y, folds, metric) for l2 in grid])
    means = wanted.mean(axis=1)
    best = int(means.argmax() if metric == "r2" else means.argmin())
    assert 0 < best < 8  # else the table would tell too little
    search = fitted["search"]
    np.testing.assert_allclose(search["mean_test_score"], means, **CLOSE)
    np.testing.assert_allclose(search["std_test_score"], wanted.std(axis=1), **CLOSE)
    np.testing.assert_allclose(search["best_score"], means[best], **CLOSE)
    np.testing.assert_allclose(search["param_l2"], grid)
    coef, intercept = ridge(X, y, grid[best])
    np.testing.assert_allclose(fitted["coef"], [coef], **CLOSE)
    np.testing.assert_allclose(fitted["intercept"], [intercept], **CLOSE)
    np.testing.assert_allclose(fitted["penalties"]["l2"], grid[best])
    job("predict", "model.json", "t.csv", "-o", "predictions.npy")
    np.testing.assert_allclose(np.load("predictions.npy"), X @ coef + intercept, **CLOSE)


def test_learning_rates_and_steps(table, command):
    X, y = table
    status, _, err = command(
        *(*FIT, "--learning-rate", "0.05,0.2,50", "--max-iter", "2:200:3", "-o", "model.json")
    )
    assert status == 0
    assert "warning: the descent diverges at 3 of 9 points" in err
    fitted = model()
    search = fitted["search"]
    points = list(zip(search["param_learning_rate"], search["param_max_iter"], strict=True))
    assert points == [(rate, steps) for rate in (0.05, 0.2, 50.0) for steps in (2, 20, 200)]
    means = [
        np.mean(scores(lambda X, y, at=at: descend(X, y, *at), X, y, KFold(5), "r2")) for at in points[:6]
    ]
    np.testing.assert_allclose(search["mean_test_score"][:6], means, **CLOSE)
    assert search["mean_test_score"][6:] == search["std_test_score"][6:] == [None] * 3
    rate, steps = points[int(np.argmax(means))]
    assert search["best_params"] == {"l1": 0.0, "l2": 0.0, "learning_rate": rate, "max_iter": steps}
    np.testing.assert_allclose(fitted["coef"], [descend(X, y, rate, steps)[0]], **CLOSE)
    how = fitted["fit"]
    assert (how["solver"], how["learning_rate"], how["iterations"]) == ("comoments", rate, steps)
    assert (how["tol"], how["converged"]) == (None, None)
    assert how["reason"] == "learning_rate or max_iter asks for steps"


def test_folds_alone_give_a_score(table, job):
    X, y = table
    weights = np.arange(1.0, 41.0)
    np.save("w.npy", weights)
    line = job(*FIT, "--sample-weight", "w.npy", "--l2", 0.5, "--cv", 4, "-o", "model.json")
    fitted = model()
    assert fitted["search"]["param_l2"] == [0.5]
    np.testing.assert_allclose(fitted["coef"], [ridge(X, y, 0.5, weights)[0]], **CLOSE)
    assert f"model.json r2 {fitted['search']['best_score']:.6g} in 4 folds, by cholesky, loss " in line


def test_one_fit_tells_of_no_search(table, job):
    job(*FIT, "--l2", 0.5, "-o", "model.json")
    assert "search" not in model()


def test_the_report_and_the_fields(table, job):
    arguments = [*FIT, "--l1", "0,0.1", "--l2", "1", "-b", "reference", "--force", "-o", "model.json"]
    report = json.loads(job(*arguments, "--json"))
    search = model()["search"]
    assert report["search"] == search
    assert report["fit"] == model()["fit"]
    means, best = search.pop("mean_test_score"), search.pop("best_score")
    assert len(search.pop("std_test_score")) == 2
    index = int(np.argmax(means))
    assert best == means[index]
    assert search == {
        "cv": 5,
        "scoring": "r2",
        "seed": None,
        "solver": "auto",
        "best_params": {"l1": [0.0, 0.1][index], "l2": 1.0, "learning_rate": "auto", "max_iter": 1000},
        "param_l1": [0.0, 0.1],
        "param_l2": [1.0, 1.0],
        "param_learning_rate": ["auto", "auto"],
        "param_max_iter": [1000, 1000],
    }
    line = job(*arguments)
    assert line.count("\n") == 1
    assert f" r2 {best:.6g} in 5 folds with l1 {[0, 0.1][index]}, best of 2, by " in line


def test_coordinate_descent_that_does_not_converge_says_so(table, command):
    arguments = ["--solver", "cd", "--l1", "1e-4,1e-3", "--max-iter", "2"]
    status, _, err = command(*FIT, *arguments, "-o", "model.json")
    assert status == 0
    assert "no convergence within 2 sweeps; give --solver cd and more --max-iter" in err
    assert model()["fit"]["converged"] is False


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_dtypes_stay(dtype, folder, job, rng):
    np.save("t.npy", rng.normal(size=(30, 3)).astype(dtype))
    job("fit", "t.npy", "--target", "2", "--l2", "0.1,1", "-o", "model.json")
    assert model()["dtype"] == np.dtype(dtype).name


class TestPicture:
    @pytest.mark.parametrize("suffix", BEGINNINGS)
    def test_in_each_format(self, suffix, table, folder, job):
        job(*FIT, "--l2", "0.1:10:5", "--plot", f"scores{suffix}", "-o", "model.json")
        assert Path(f"scores{suffix}").read_bytes().startswith(BEGINNINGS[suffix])
        assert {path.name for path in folder.iterdir()} == {"t.csv", "model.json", f"scores{suffix}"}

    def test_in_place_of_an_earlier_one(self, table, command):
        Path("scores.svg").write_bytes(EARLIER)
        arguments = [*FIT, "--l2", "1,2", "--l1", "0,1", "--plot", "scores.svg", "-o", "model.json"]
        status, out, err = command(*arguments)
        assert (status, out, err) == (2, "", "vecprod: scores.svg exists; --force replaces it\n")
        assert Path("scores.svg").read_bytes() == EARLIER
        assert not Path("model.json").exists()
        assert command(*arguments, "--force")[0] == 0
        assert "svg" in Path("scores.svg").read_text()

    @pytest.mark.parametrize(
        ("call", "number"), [("os.fsync", 1), ("os.fsync", 2), ("pathlib.Path.replace", 1)]
    )
    def test_a_fault_leaves_both_files_as_they_were(self, call, number, table, folder, command, monkeypatch):
        calls = []

        def full(*_):
            calls.append(1)
            if len(calls) == number:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(call, full)
        for name in ("scores.pdf", "model.json"):
            Path(name).write_bytes(EARLIER)
        status, out, _ = command(*FIT, "--l2", "1,2", "--plot", "scores.pdf", "--force", "-o", "model.json")
        assert (status, out) == (1, "")
        assert {path.name for path in folder.iterdir()} == {"t.csv", "model.json", "scores.pdf"}
        assert Path("scores.pdf").read_bytes() == Path("model.json").read_bytes() == EARLIER

    def test_needs_matplotlib_and_says_so_before_any_work(self, table, folder):
        finished = run_without("matplotlib", *FIT, "--l2", "1,2", "--plot", "s.png", "-o", "model.json")
        needed = 'vecprod: matplotlib is not installed; run: pip install "vecprod-gpu[demo]"\n'
        assert (finished.returncode, finished.stdout, finished.stderr) == (2, "", needed)
        assert [path.name for path in folder.iterdir()] == ["t.csv"]
        finished = run_without("matplotlib", *FIT, "--l2", "1,2", "-o", "model.json")
        assert (finished.returncode, finished.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--l2", "1:2"], ["--l2 is '1:2'", "START:STOP:COUNT", "0 or more"]),
        (["--l2", "1:2:3:4"], ["--l2 is '1:2:3:4'", "three parts"]),
        (["--l2", "0:1:5"], ["--l2 is '0:1:5'", "neither starts nor stops at 0"]),
        (["--l1", "1:0:5"], ["--l1 is '1:0:5'", "neither starts nor stops at 0"]),
        (["--l1", "1e-3:1e3:0"], ["--l1 is '1e-3:1e3:0'", "COUNT '0'"]),
        (["--l2", "1e-3:1e3:1"], ["--l2 is '1e-3:1e3:1'", "COUNT '1'", "from 2"]),
        (["--l2", "1e-3:1e3:2.5"], ["COUNT '2.5'"]),
        (["--l2", "1e-3:1e3:-4"], ["COUNT '-4'"]),
        (["--l2", "1e-3:1e3:100001"], ["COUNT '100001'", "100000"]),
        (["--l2", "1:x:3"], ["--l2 is '1:x:3'", "'x' is no number"]),
        (["--l2", "a,b"], ["--l2 is 'a,b'", "'a' is no number"]),
        (["--l2", ""], ["--l2 is ''", "no number"]),
        (["--l2", "1,"], ["--l2 is '1,'", "no number"]),
        (["--l2", "1,-2"], ["--l2 is '1,-2'", "-2 is out of range"]),
        (["--l2", "-1:2:3"], ["--l2 is '-1:2:3'", "-1 is out of range"]),
        (["--l1", "nan"], ["--l1 is 'nan'"]),
        (["--l1", "1:inf:3"], ["--l1 is '1:inf:3'"]),
        (["--l1", "auto"], ["--l1 is 'auto'"]),
        (["--learning-rate", "0,1"], ["--learning-rate is '0,1'", "above 0, or auto"]),
        (["--learning-rate", "auto:1:3"], ["--learning-rate is 'auto:1:3'"]),
        (["--max-iter", "1.5,2"], ["--max-iter is '1.5,2'", "1.5 is no whole number"]),
        (["--max-iter", "1:2.5:3"], ["2.5 is no whole number"]),
        (["--max-iter", "1e300"], ["1e300 is too large"]),
        (["--l1", "1:2:1000", "--l2", "1:2:1000"], ["1000 x 1000 x 1 x 1", "100000"]),
        (["--cv", "1"], ["--cv is 1", "2 folds"]),
        (["--cv", "41"], ["--cv is 41", "40"]),
        (["--cv", "few"], ["--cv"]),
        (["--cv", "40"], ["at least two rows"]),
        (["--cv", "2", "--seed", "-1"], ["--seed is -1", "4294967295"]),
        (["--cv", "2", "--seed", "4294967296"], ["--seed is 4294967296"]),
        (["--cv", "2", "--scoring", "mae"], ["--scoring is 'mae'", "r2, mse or rmse"]),
        (["--cv", "2", "--solver", "gd"], ["--solver is 'gd'", "comoments, cd, cholesky or eigh"]),
        (["--l2", "1,2", "--solver", "svd"], ["--solver is 'svd'"]),
        (["--l1", "1,2", "--solver", "cholesky"], ["l1 must be 0", "cholesky"]),
        (["--learning-rate", "50,60"], ["diverges at every learning_rate", "largest stable"]),
        (["--cv", "2", "--plot", "scores.jpg"], ["--plot is 'scores.jpg'", ".png, .svg or .pdf"]),
        (["--cv", "2", "--plot", "scores"], ["--plot is 'scores'"]),
        (["--cv", "2", "--plot", "missing/scores.png"], ["cannot write missing/scores.png"]),
        (["--cv", "2", "--plot", "link.png"], ["--plot and --output lead to one file"]),
        (["--cv", "2", "--plot", "data.png"], ["both an input and the output"]),
        (["--plot", "scores.png"], ["--plot is 'scores.png'", "no search", "--cv"]),
        (["--scoring", "mse"], ["--scoring is 'mse'", "no search"]),
    ],
)
def test_refusals(arguments, fragments, table, folder, command):
    Path("model.json").write_bytes(EARLIER)
    Path("link.png").symlink_to("model.json")
    Path("data.png").symlink_to("t.csv")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    status, out, err = command(*FIT, *arguments, "--force", "-o", "model.json")
    assert (status, out) == (2, "")
    assert err.startswith("vecprod: ")
    assert err.count("\n") == 1
    for fragment in fragments:
        assert fragment in err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def parsed(l1="0", l2="0", learning_rate="auto", max_iter="1000") -> Grid:
    return Grid.parse(l1, l2, learning_rate, max_iter)


class TestGrids:
    def test_one_value_each(self):
        assert parsed() == Grid((0.0,), (0.0,), ("auto",), (1000,))
        assert parsed().first == {"l1": 0.0, "l2": 0.0, "learning_rate": "auto", "max_iter": 1000}

    def test_lists(self):
        grid = parsed("0.1,1, 10", "0", "auto,0.5", "10,1e3")
        assert grid == Grid((0.1, 1.0, 10.0), (0.0,), ("auto", 0.5), (10, 1000))
        assert grid.size == 12

    @pytest.mark.parametrize(
        ("start", "stop", "count"), [(1e-3, 1e3, 100), (7.0, 0.2, 2), (1e-300, 1e300, 9)]
    )
    def test_geometric_grids_have_both_ends(self, start, stop, count):
        values = parsed(l2=f"{start}:{stop}:{count}").l2
        assert (values[0], values[-1], len(values)) == (start, stop, count)
        # Logarithms of some hundreds are rounded to 1e-13, and so are, relatively, their powers.
        step = (np.log(stop) - np.log(start)) / (count - 1)
        np.testing.assert_allclose(np.diff(np.log(values)), step, rtol=1e-10)

    def test_grids_within_lists(self):
        first, *others = parsed(learning_rate="auto,1:100:3,5").learning_rate
        assert first == "auto"
        assert others == pytest.approx([1, 10, 100, 5])
        assert parsed(l1="0,0.5:2:3").l1 == pytest.approx((0, 0.5, 1, 2))

    def test_steps_are_whole_and_each_of_them_once(self):
        steps = parsed(max_iter="1:10:30").max_iter
        assert steps == tuple(range(1, 11))
        assert all(type(step) is int for step in steps)
        assert parsed(max_iter="0,0").max_iter == (0,)

    def test_no_more_points_than_can_be_tried(self):
        assert parsed(l1=f"1:2:{MOST_POINTS // 2}", l2="1,2").size == MOST_POINTS
        with pytest.raises(BadInputError, match="points"):
            parsed(l1=f"1:2:{MOST_POINTS // 2}", l2="1,2,3")
