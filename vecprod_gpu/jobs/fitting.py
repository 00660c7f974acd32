"""How a model is to be fitted, as the options of ``vecprod fit`` say, checked against each other."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import BadInputError
from ..linreg._search.plan import FROM_DATA
from ..linreg._search.plan import SOLVERS as SEARCHING
from ..linreg._settings import SOLVERS, Settings
from ..linreg.search import SCORES
from ..stream._output_file import Output
from ..stream._regression import SOLVERS as STREAMING
from .files import list_of
from .grids import Grid

DEFAULT_FOLDS = 5
MOST_SEED = 2**32 - 1  # that NumPy's RandomState takes, which shuffles folds as scikit-learn does
PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Fitting:
    """How a model is fitted.

    Attributes
    ----------
    grid : Grid
        Penalties, learning rates and numbers of steps.
    solver, tol, fit_intercept
        As `vecprod_gpu.linreg_fit` has them.
    seed : int or None
        What shuffles the folds, or the batches of ``sgd``.
    cv : int or None
        Folds in which the points of the grid are compared; None where there is a single point, not searched.
    scoring : str
        What is compared.
    plot : Output or None
        Where the picture of the search goes.
    """

    grid: Grid
    solver: str
    tol: float
    fit_intercept: bool
    seed: int | None
    cv: int | None
    scoring: str
    plot: Output | None

    @property
    def why_whole(self) -> str | None:
        """What it is that needs all rows in memory; None where they can be read in batches."""
        if self.cv is not None and self.seed is not None:
            return "--seed, which shuffles the folds,"
        return None if self.solver in STREAMING else f"--solver {self.solver}"

    @property
    def streams(self) -> bool:
        """Whether the rows can be read in batches."""
        return self.why_whole is None

    @property
    def settings(self) -> Settings:
        """The first point of the grid as a fit is asked for it."""
        return Settings.check(
            solver=self.solver, tol=self.tol, fit_intercept=self.fit_intercept, **self.grid.first
        )

    @classmethod
    def asked(
        cls,
        grid: Grid,
        *,
        solver: str,
        tol: float,
        fit_intercept: bool,
        seed: int | None,
        cv: int | None,
        scoring: str | None,
        plot: str | None,
        force: bool,
    ) -> "Fitting":
        """What the options ask for: a search where there are folds or several points."""
        if solver not in SOLVERS:
            raise BadInputError(f"--solver is {solver!r}; needed is {list_of(SOLVERS)}")
        if cv is not None and cv < 2:
            raise BadInputError(f"--cv is {cv}; needed are 2 folds or more")
        if seed is not None and not 0 <= seed <= MOST_SEED:
            raise BadInputError(f"--seed is {seed}; needed is a number from 0 to {MOST_SEED}")
        if cv is None and grid.size > 1:
            cv = DEFAULT_FOLDS
        if cv is None:
            _refuse_without_search(solver, seed, scoring, plot)
        elif solver in FROM_DATA:
            raise BadInputError(
                f"--solver is {solver!r}, which would read the data anew for each fit of a search; needed is "
                f"{list_of(SEARCHING)}"
            )
        scoring = scoring or SCORES[0]
        if scoring not in SCORES:
            raise BadInputError(f"--scoring is {scoring!r}; needed is {list_of(SCORES)}")
        return cls(grid, solver, tol, fit_intercept, seed, cv, scoring, _picture_file(plot, force))


def _refuse_without_search(solver: str, seed: int | None, scoring: str | None, plot: str | None) -> None:
    """Raise for options that would do nothing."""
    for option, word in (("--scoring", scoring), ("--plot", plot)):
        if word is not None:
            raise BadInputError(
                f"{option} is {word!r}, but there is no search: that takes --cv, or several values of --l1, "
                "--l2, --learning-rate or --max-iter"
            )
    if seed is not None and solver != "sgd":
        raise BadInputError(
            f"--seed is {seed}, but nothing is shuffled: that takes --cv, several values or --solver sgd"
        )


def _picture_file(plot: str | None, force: bool) -> Output | None:
    """Where the picture goes."""
    if plot is None:
        return None
    path = Path(plot)
    if path.suffix.lower() not in PICTURES:
        raise BadInputError(f"--plot is {plot!r}; the picture must end in {list_of(PICTURES)}")
    return Output(path, force)
