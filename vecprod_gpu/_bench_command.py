"""The command ``vecprod bench``: races ours against its peers, and shows, keeps and compares the results."""

from pathlib import Path
from typing import Annotated

import typer

from vecprod_gpu import backends
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

    before = results.load(compare) if compare else None
    if render is None:
        words = [word for option in rows or [] for word in option.split(",") if word]
        found = session.measure(chosen_device(device), words, quick)
    else:
        found = results.load(render)
    if json is not None:
        results.save(found, json)
    if output is not None:
        report.write(found, output)
    if markdown:
        print(tables.markdown(found))
    else:
        tables.show(found)
    if before is None:
        return 0
    moves = comparison.moves(before, found)
    tables.show_moves(before, found, moves)
    return SLOWER if any(move.is_slower for move in moves) else 0


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
