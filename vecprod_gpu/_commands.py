"""The commands of ``vecprod``, as typer reads them."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import vecprod_gpu
from vecprod_gpu import _bench_command, _precompile_command, _regression_commands
from vecprod_gpu._command_options import (
    ArrayOutput,
    AsJson,
    Backend,
    CheckpointFile,
    Columns,
    Every,
    Force,
    Header,
    Memory,
    Output,
    Scheduler,
    file,
    order_of,
    sources_of,
)
from vecprod_gpu.errors import BadInputError

_JOBS = "Jobs on files"

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Batched vector products and linear regression, on CUDA GPUs and CPUs.\n\n"
    "Files are .npy, .npz, .csv or .parquet, by their suffix; FILE.npz:KEY is one array of an archive. "
    "Inputs may also be .zarr stores, and folders or quoted patterns of .csv or .parquet files.\n\n"
    "Example: vecprod cov measurements.csv -o cov.csv",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"vecprod {vecprod_gpu.__version__}")
        raise typer.Exit


@app.callback()
def _vecprod(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the pictures go; made if missing.")
    ] = Path(),
    backend: Backend = None,
) -> None:
    """Terrain normals, the principal colours of a photograph and a regression, on real data.

    Example: vecprod demo -o pictures
    """
    from vecprod_gpu.demo import run

    run(output, backend)


@app.command()
def info(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON rather than tables.")] = False,
) -> None:
    """Show the machine, and for each backend whether it can run here and why.

    Example: vecprod info --json
    """
    from vecprod_gpu._machine import describe, print_tables

    description = describe()
    if as_json:
        print(json.dumps(description, indent=2))
    else:
        print_tables(description)


@app.command(rich_help_panel=_JOBS)
def outer(
    a: Annotated[str, file("A", "First vectors, one in each row.")],
    b: Annotated[str, file("B", "Second vectors; the rows broadcast with those of A.")],
    output: ArrayOutput,
    columns: Columns = None,
    header: Header = None,
    force: Force = False,
    memory: Memory = None,
    checkpoint: CheckpointFile = None,
    every: Every = 30.0,
    backend: Backend = None,
    as_json: AsJson = False,
) -> None:
    """The outer product of each row of A with that row of B: (..., m) and (..., n) give (..., m, n).

    In a table, each row holds its m * n products, in columns that are called after both factors.

    Example: vecprod outer a.npy b.npy -o products.npy
    """
    from vecprod_gpu.jobs import vectors
    from vecprod_gpu.stream._paths import SUFFIXES

    order = order_of("outer", output, force, backend, as_json, SUFFIXES, memory, checkpoint, every)
    vectors.outer(order, sources_of({"a": a, "b": b}, columns, header))


@app.command(rich_help_panel=_JOBS)
def cross(
    a: Annotated[str, file("A", "First vectors, 3 components in each row.")],
    b: Annotated[str, file("B", "Second vectors; the rows broadcast with those of A.")],
    output: ArrayOutput,
    columns: Columns = None,
    header: Header = None,
    force: Force = False,
    memory: Memory = None,
    checkpoint: CheckpointFile = None,
    every: Every = 30.0,
    backend: Backend = None,
    as_json: AsJson = False,
) -> None:
    """The cross product of each row of A with that row of B.

    Example: vecprod cross velocity.csv field.csv --columns x,y,z -o force.csv
    """
    from vecprod_gpu.jobs import vectors
    from vecprod_gpu.stream._paths import SUFFIXES

    order = order_of("cross", output, force, backend, as_json, SUFFIXES, memory, checkpoint, every)
    vectors.cross(order, sources_of({"a": a, "b": b}, columns, header))


@app.command(rich_help_panel=_JOBS)
def cov(
    m: Annotated[str, file("IN", "Observations in rows, variables in columns, as tables are.")],
    output: Output,
    columns: Columns = None,
    header: Header = None,
    force: Force = False,
    memory: Memory = None,
    checkpoint: CheckpointFile = None,
    every: Every = 30.0,
    scheduler: Scheduler = None,
    backend: Backend = None,
    as_json: AsJson = False,
) -> None:
    """Covariances of the columns, as numpy.cov of the transpose: divided by the rows less one.

    Example: vecprod cov measurements.csv --columns height,weight -o cov.csv
    """
    from vecprod_gpu.jobs import moments

    order = order_of("cov", output, force, backend, as_json, None, memory, checkpoint, every)
    moments.run(order, sources_of({"m": m}, columns, header)["m"], "cov", scheduler)


@app.command(rich_help_panel=_JOBS)
def corr(
    m: Annotated[str, file("IN", "Observations in rows, variables in columns, as tables are.")],
    output: Output,
    columns: Columns = None,
    header: Header = None,
    force: Force = False,
    memory: Memory = None,
    checkpoint: CheckpointFile = None,
    every: Every = 30.0,
    scheduler: Scheduler = None,
    backend: Backend = None,
    as_json: AsJson = False,
) -> None:
    """Correlations of the columns, as numpy.corrcoef of the transpose.

    Example: vecprod corr measurements.parquet -o corr.csv
    """
    from vecprod_gpu.jobs import moments

    order = order_of("corr", output, force, backend, as_json, None, memory, checkpoint, every)
    moments.run(order, sources_of({"m": m}, columns, header)["m"], "corr", scheduler)


@app.command(rich_help_panel=_JOBS)
def gram(
    x: Annotated[str, file("X", "Rows of numbers.")],
    output: Output,
    y: Annotated[str | None, file("Y", "As many rows; X itself unless given.")] = None,
    columns: Columns = None,
    header: Header = None,
    force: Force = False,
    backend: Backend = None,
    as_json: AsJson = False,
) -> None:
    """The Gram matrix: the sum over the rows of the outer products of X, conjugated, with Y.

    Example: vecprod gram features.npy -o gram.npy
    """
    from vecprod_gpu.jobs import products, run

    order = order_of("gram", output, force, backend, as_json)
    run.run(order, sources_of({"X": x} | ({"Y": y} if y else {}), columns, header), products.gram)


@app.command(rich_help_panel=_JOBS)
def normals(
    surface: Annotated[str, file("SURFACE", "Heights on a grid or, with FACES, vertices in space.")],
    output: Output,
    faces: Annotated[
        str | None, file("FACES", "The vertices at each triangle's corners, as rows counted from 0.")
    ] = None,
    dx: Annotated[
        str | None,
        typer.Option(
            metavar="STEP",
            help="Step between columns of a grid, 1 by default; or a file with one for each row.",
        ),
    ] = None,
    dy: Annotated[
        float | None, typer.Option(metavar="STEP", help="Step between rows of a grid, 1 by default.")
    ] = None,
    vertices: Annotated[
        bool, typer.Option("--vertices", help="Normals at the vertices rather than of the faces.")
    ] = False,
    columns: Columns = None,
    header: Header = None,
    force: Force = False,
    backend: Backend = None,
    as_json: AsJson = False,
) -> None:
    """Unit normals of a height field, or of the triangles of a mesh.

    Example: vecprod normals heights.npy --dx 30 --dy 30 -o normals.npy

    Example: vecprod normals points.csv triangles.csv --vertices -o normals.csv
    """
    from vecprod_gpu.jobs import products, run
    from vecprod_gpu.jobs.files import Source

    order = order_of("normals", output, force, backend, as_json)
    if faces is not None:
        if dx is not None or dy is not None:
            raise BadInputError("--dx and --dy go with heights on a grid, not with FACES")
        compute = products.vertex_normals if vertices else products.face_normals
        run.run(order, sources_of({"vertices": surface, "faces": faces}, columns, header), compute)
        return
    if vertices:
        raise BadInputError("--vertices needs FACES after the vertices")
    sources = sources_of({"z": surface}, columns, header)
    steps: dict[str, Any] = {"dy": 1.0 if dy is None else dy}
    if (number := _number(dx or "1")) is None:
        sources["dx"] = Source(str(dx), header=header)
    else:
        steps["dx"] = number
    run.run(order, sources, partial(products.grid_normals, **steps))


app.command()(_bench_command.bench)
app.command()(_precompile_command.precompile)
app.command(rich_help_panel=_JOBS)(_regression_commands.fit)
app.command(rich_help_panel=_JOBS)(_regression_commands.predict)


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
