"""The commands ``vecprod fit`` and ``vecprod predict``, as typer reads them."""

from typing import Annotated

import typer

from vecprod_gpu._command_options import (
    ArrayOutput,
    AsJson,
    Backend,
    CheckpointFile,
    Every,
    Force,
    Header,
    Memory,
    Scheduler,
    file,
    order_of,
    sources_of,
)

_SOLVING = "How to solve"
_SEARCH = "Search"


def fit(
    data: Annotated[str, file("DATA", "Observations in rows: a table, or an array of two axes.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The model: a .json file.")],
    target: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="What to predict: a column of DATA, by name or index, or a file of its own.",
        ),
    ],
    sample_weight: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="How much each row counts: a column of DATA, or a file of its own."
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns", metavar="A,B,...", help="The features; by default all columns that are nothing else."
        ),
    ] = None,
    header: Header = None,
    intercept: Annotated[
        bool, typer.Option("--intercept/--no-intercept", help="Fit a constant term.")
    ] = True,
    solver: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=_SOLVING,
            help="auto, gd, comoments, sgd, cd, cholesky, eigh or svd; auto says in the model why it took "
            "which.",
        ),
    ] = "auto",
    l1: Annotated[str, typer.Option(metavar="VALUES", rich_help_panel=_SOLVING, help="Lasso penalty.")] = "0",
    l2: Annotated[str, typer.Option(metavar="VALUES", rich_help_panel=_SOLVING, help="Ridge penalty.")] = "0",
    learning_rate: Annotated[
        str,
        typer.Option(
            metavar="VALUES",
            rich_help_panel=_SOLVING,
            help="Step length; auto measures one that converges.",
        ),
    ] = "auto",
    max_iter: Annotated[
        str,
        typer.Option(
            metavar="VALUES",
            rich_help_panel=_SOLVING,
            help="Most steps, sweeps or epochs; a descent in a search takes all of them.",
        ),
    ] = "1000",
    tol: Annotated[
        float,
        typer.Option(
            metavar="RATIO",
            rich_help_panel=_SOLVING,
            help="Stop when the gradient has fallen to so much of the first. Not in a search.",
        ),
    ] = 1e-6,
    cv: Annotated[
        int | None,
        typer.Option(
            metavar="FOLDS",
            rich_help_panel=_SEARCH,
            help="Compare the values in so many folds; 5 unless given.",
        ),
    ] = None,
    scoring: Annotated[
        str | None,
        typer.Option(metavar="NAME", rich_help_panel=_SEARCH, help="r2, mse or rmse; r2 unless given."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            rich_help_panel=_SEARCH,
            help="Shuffle the rows before they are cut into folds; also the seed of sgd.",
        ),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", rich_help_panel=_SEARCH, help="Draw the scores: a .png, .svg or .pdf file."
        ),
    ] = None,
    force: Force = False,
    memory: Memory = None,
    checkpoint: CheckpointFile = None,
    every: Every = 30.0,
    scheduler: Scheduler = None,
    backend: Backend = None,
    as_json: AsJson = False,
) -> None:
    """Fit a linear model, and write it as JSON.

    It minimises the mean of (x·w + b - y)² / 2, plus L1 times the sum of |w|, plus L2 / 2 times that of w².

    VALUES are a number, a list such as 0.1,1,10, or a geometric grid START:STOP:COUNT. Of several, those are
    taken that score best in cross-validation.

    Example: vecprod fit houses.csv --target price --l2 0.1 -o model.json

    Example: vecprod fit houses.csv --target price --l2 1e-3:1e3:100 --cv 10 --plot scores.svg -o model.json

    Example: vecprod fit houses.csv --target price --learning-rate 0.01,auto --max-iter 10:1000:5 -o m.json

    Example: vecprod fit sales.parquet --target price --scheduler processes -o model.json
    """
    from vecprod_gpu.jobs import regression
    from vecprod_gpu.jobs.fitting import Fitting
    from vecprod_gpu.jobs.grids import Grid

    fitting = Fitting.asked(
        Grid.parse(l1, l2, learning_rate, max_iter),
        solver=solver,
        tol=tol,
        fit_intercept=intercept,
        seed=seed,
        cv=cv,
        scoring=scoring,
        plot=plot,
        force=force,
    )
    order = order_of("fit", output, force, backend, as_json, (".json",), memory, checkpoint, every)
    source = sources_of({"X": data}, columns, header)["X"]
    regression.fit(order, source, target, sample_weight, fitting, scheduler)


def predict(
    model: Annotated[str, file("MODEL", "What vecprod fit wrote.")],
    data: Annotated[str, file("DATA", "Rows to predict from; further columns of a table are passed over.")],
    output: ArrayOutput,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            metavar="A,B,...",
            help="The model's features, in its order; by default the columns of the same names or, without "
            "names, all.",
        ),
    ] = None,
    header: Header = None,
    force: Force = False,
    memory: Memory = None,
    checkpoint: CheckpointFile = None,
    every: Every = 30.0,
    as_json: AsJson = False,
) -> None:
    """Predict from a model that vecprod fit wrote, for each row of a table.

    Example: vecprod predict model.json new-houses.csv -o prices.csv
    """
    from vecprod_gpu.jobs import regression
    from vecprod_gpu.stream._paths import SUFFIXES

    order = order_of("predict", output, force, None, as_json, SUFFIXES, memory, checkpoint, every)
    regression.predict(order, model, sources_of({"X": data}, columns, header)["X"])
