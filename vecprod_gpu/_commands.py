"""The commands of ``vecprod``, as typer reads them."""

import json
from pathlib import Path
from typing import Annotated

import typer

import vecprod_gpu

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Batched vector products and linear regression by gradient steps, on CUDA GPUs and CPUs.",
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
    backend: Annotated[
        str | None,
        typer.Option("--backend", "-b", metavar="NAME", help="Run on this backend, not the usual one."),
    ] = None,
) -> None:
    """Terrain normals, the principal colours of a photograph and a regression, on real data."""
    from vecprod_gpu.demo import run

    run(output, backend)


@app.command()
def info(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON rather than tables.")] = False,
) -> None:
    """Show the machine, and for each backend whether it can run here and why."""
    from vecprod_gpu._machine import describe, print_tables

    description = describe()
    if as_json:
        print(json.dumps(description, indent=2))
    else:
        print_tables(description)
