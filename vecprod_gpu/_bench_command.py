"""The command ``vecprod bench``: races ours against its peers, and shows, keeps and compares the results."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vecprod_gpu import _replace, backends
from vecprod_gpu.errors import BadInputError

SLOWER = 1


def bench(
    rows: Annotated[
        list[str] | None,
        typer.Option("--rows", "-r", metavar="WORD,...", help="Only rows whose topic or name holds a word."),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="cpu, cuda, or auto: a GPU if there is one.")
    ] = "auto",
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes and few turns: within a minute.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Keep the results.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Keep the results, plots (PNG and SVG) and a report (HTML) there; made if missing.",
        ),
    ] = None,
    render: Annotated[
        Path | None,
        typer.Option("--render", metavar="FILE", help="Run nothing: show these results, as kept by --json."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            "--compare",
            metavar="FILE",
            help="Tell what moved beyond the spread since these results; the status is 1 if a row is slower.",
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table instead.")] = False,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Race nothing: measure what tells whether a GPU pays for host arrays, and keep it.",
        ),
    ] = False,
) -> int:
    """Race ours against every installed peer and the machine's own limit, and check every answer.

    Rows run in one process, the runners of a row in rotating order. A missing peer is told, never a failure.

    Example: vecprod bench --quick

    Example: vecprod bench --device cuda -o results

    Example: vecprod bench --render results/results.json --compare before.json

    Example: vecprod bench --calibrate
    """
    if calibrate:
        if rows or device != "auto" or quick or json or output or render or compare or markdown:
            raise BadInputError("--calibrate goes with no other option")
        show_calibration()
        return 0
    from vecprod_gpu.bench import compare as comparison
    from vecprod_gpu.bench import report, results, session, tables

    before, found = (results.load(file) if file else None for file in (compare, render))
    _require_places(json, output)
    if found is None:
        words = [word for option in rows or [] for word in option.split(",") if word]
        found = session.measure(chosen_device(device), words, quick)
    if markdown:
        print(tables.markdown(found))
    else:
        tables.show(found)
    moves = comparison.moves(before, found) if before else []
    if before:
        tables.show_moves(before, found, moves)
    # What was measured is on the screen, should there be no room for it on the disk.
    if json is not None:
        results.save(found, json)
    if output is not None:
        report.write(found, output)
    return SLOWER if any(move.is_slower for move in moves) else 0


def _require_places(json: Path | None, output: Path | None) -> None:
    """Make the folder, and raise before the race where its results could not be kept."""
    if output is not None:
        with _naming("--output", output):
            output.mkdir(parents=True, exist_ok=True)
            _replace.require_room(output / "results.json")
    if json is not None:
        with _naming("--json", json):
            _replace.require_room(json)


@contextmanager
def _naming(option: str, path: Path) -> Iterator[None]:
    """Name the option in what the system says against a place."""
    try:
        yield
    except OSError as error:
        raise BadInputError(f"{option} is {path}, which cannot be written: {error.strerror}") from None


def show_calibration() -> None:
    """Measure the rates of this machine, and print them with the file that keeps them."""
    from vecprod_gpu import _calibrate, _rates

    _calibrate.calibrate()
    for dtype, rates in _rates.load().items():
        print(f"{dtype}: {rates}")
    print(f"kept in {_rates.file()}")


def chosen_device(name: str) -> str:
    """The device to run on: as asked for, if it can be, or the GPU where there is one."""
    gpu = backends()["cupy"]
    if name == "auto":
        return "cuda" if gpu.available else "cpu"
    if name not in ("cpu", "cuda"):
        raise BadInputError(f"--device is {name!r}; it is cpu, cuda or auto")
    if name == "cuda" and not gpu.available:
        raise BadInputError(f"--device cuda: {gpu.reason}" + (f"; {gpu.remedy}" if gpu.remedy else ""))
    return name
