"""What several commands of ``vecprod`` share: their arguments and options, and how jobs take them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vecprod_gpu.errors import BadInputError

if TYPE_CHECKING:
    from vecprod_gpu.jobs.files import Source
    from vecprod_gpu.jobs.run import Order


def file(metavar: str, what: str) -> Any:
    """An argument that is a file."""
    return typer.Argument(metavar=metavar, help=what, show_default=False)


Backend = Annotated[
    str | None,
    typer.Option("--backend", "-b", metavar="NAME", help="Run on this backend, not the usual one."),
]
Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where the result goes: .npy, .npz, .csv or .parquet. FILE.npz:KEY names the array, which is "
        "called result otherwise.",
    ),
]
ArrayOutput = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where the result goes: .npy, .npz, .zarr, .csv or .parquet. FILE.npz:KEY names the array, "
        "which is called result otherwise.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="A,B,...",
        help="Take these columns, by name or by index from 0. Once for all inputs, or once for each.",
    ),
]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header",
        help="Whether the first line of a CSV file names its columns. By default it does, and must not be "
        "all numbers.",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="Hold no more than this, as 1GB; pages of mapped files count. By default batches of 64 MiB.",
    ),
]
CheckpointFile = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        help="Keep what is known half way in this file, and go on from it after a kill.",
    ),
]
Every = Annotated[
    float, typer.Option("--every", metavar="SECONDS", help="How long it is from one checkpoint to the next.")
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Have workers of Dask read the files: a cluster's address, processes or threads.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Report what was done as one JSON object.")]


def order_of(
    job: str,
    output: str,
    force: bool,
    backend: str | None,
    as_json: bool,
    suffixes: tuple[str, ...] | None = None,
    memory: str | None = None,
    checkpoint: str | None = None,
    every: float = 30.0,
) -> "Order":
    """What the job is told beside its inputs."""
    from vecprod_gpu.jobs.run import Order
    from vecprod_gpu.stream._memory import parse_memory
    from vecprod_gpu.stream._output_file import Output

    where = Output.parse(output, force, suffixes) if suffixes else Output.parse(output, force)
    most = None if memory is None else parse_memory(memory)
    return Order(job, where, backend, as_json, most, checkpoint, every)


def sources_of(files: dict[str, str], columns: list[str] | None, header: bool | None) -> dict[str, "Source"]:
    """The inputs by their arguments, each with the columns to take of it."""
    from vecprod_gpu.jobs.files import Source

    chosen: list[str | None] = [*columns] if columns else [None]
    if len(chosen) == 1:
        chosen *= len(files)
    if len(chosen) != len(files):
        raise BadInputError(f"--columns is given {len(chosen)} times for {len(files)} inputs")
    return {
        argument: Source(file, words, header)
        for (argument, file), words in zip(files.items(), chosen, strict=True)
    }
