"""The command ``vecprod precompile``: fills the kernel caches, and says with what and where they lie."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vecprod_gpu import _dispatch, _precompile
from vecprod_gpu._command_options import AsJson
from vecprod_gpu.errors import BackendUnavailableError

ONLY_WHERE_THE_GPU_IS = "kernels for a GPU are compiled where that GPU is"


def precompile(
    operations: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[OPERATION]...",
            help=f"Only these: {', '.join(_precompile.OPERATIONS)}.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Only for these: float32, float64 and, of products, int64.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compile the kernels now rather than at their first use, as for a container image.

    Those for the CPU, and those for a GPU where one is: none is compiled for a GPU that is elsewhere.

    Kernels fit the kind of CPU that compiled them; with NUMBA_CPU_NAME=generic, here and later, they fit all.

    Example: vecprod precompile

    Example: vecprod precompile cross fit --dtype float32
    """
    from vecprod_gpu._progress import progress_bar

    backends = _precompile.backends()
    dtypes = dtype.split(",") if dtype else ()
    tasks = [task for name in backends for task in _precompile.tasks(name, operations or (), dtypes)]
    folders = {name: _precompile.cache_folder(name) for name in backends}
    for folder in folders.values():
        _precompile.require_writable(folder)
    compiled = []
    with progress_bar() as bar:
        for done, task in enumerate(tasks):
            bar.stage(f"{task.operation} of {task.dtype} on {task.backend}", len(tasks))
            bar.advance(done)
            compiled.append(task.run())
    left_out = _left_out(backends)
    if as_json:
        print(json.dumps(_report(compiled, folders, left_out)))
    else:
        _show(compiled, folders, left_out)


def _left_out(backends: Sequence[str]) -> dict[str, str]:
    """Why nothing is compiled for the CPU or for a GPU, by the backend that would be the first choice."""
    statuses = _dispatch.backends()
    missing = [
        order[0] for order in (_dispatch.ON_HOST, _dispatch.ON_DEVICE) if not set(order[:2]) & set(backends)
    ]
    reasons = {name: statuses[name].reason for name in missing}
    if not backends:
        raise BackendUnavailableError(
            "there is nothing to compile with: "
            + "; ".join(f"{name}: {why}" for name, why in reasons.items())
        )
    return reasons


def _report(
    compiled: Sequence[_precompile.Kernels], folders: Mapping[str, Path], left_out: Mapping[str, str]
) -> dict[str, object]:
    return {
        "kernels": [asdict(one) for one in compiled],
        "compiled": sum(one.compiled for one in compiled),
        "seconds": sum(one.seconds for one in compiled),
        "folders": {name: str(folder) for name, folder in folders.items()},
        "left_out": dict(left_out),
    }


def _show(
    compiled: Sequence[_precompile.Kernels], folders: Mapping[str, Path], left_out: Mapping[str, str]
) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("backend", "operation", "dtype"):
        table.add_column(heading)
    for heading in ("compiled", "seconds"):
        table.add_column(heading, justify="right")
    for one in compiled:
        number = str(one.compiled) if one.compiled else "found"
        table.add_row(one.backend, one.operation, one.dtype, number, f"{one.seconds:.2f}")
    console = Console()
    console.print(table)
    count, seconds = sum(one.compiled for one in compiled), sum(one.seconds for one in compiled)
    console.print(
        f"{count} kernels compiled in {seconds:.1f} s" if count else "All kernels were there already."
    )
    for name, folder in folders.items():
        console.print(escape(f"{name}: kept in {folder}"), soft_wrap=True)
    for name, reason in left_out.items():
        where = f"; {ONLY_WHERE_THE_GPU_IS}" if name in _dispatch.ON_DEVICE else ""
        console.print(escape(f"{name}: left out, {reason}{where}"), soft_wrap=True)
