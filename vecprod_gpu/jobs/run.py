"""Run a job: check what was asked for, work behind a bar, leave one file, and say what was done."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from .._dispatch import use_backend
from .._progress import Bar, progress_bar
from ..errors import BackendError, BadInputError, VecprodError
from ..stream._checkpoint import wrote
from ..stream._output_file import Output
from ..stream._outputs import SUFFIXES as TAKING_BLOCKS
from ..stream._results import Result, write
from ..stream._run import How, Passes
from ..stream._writing import Work
from ..stream._writing import write as write_work
from .data import Data
from .files import Source


@dataclass(frozen=True)
class Order:
    """What every job is told beside its inputs.

    Attributes
    ----------
    job : str
        Its name.
    output : Output
        Where its result goes.
    backend : str, optional
        The backend to run on; by default each call goes where it would go anyway.
    as_json : bool
        Whether to report in JSON.
    memory : int, optional
        Bytes that the process may hold while it reads.
    checkpoint : str, optional
        The file to go on from after a kill.
    every : float
        Seconds between two checkpoints.
    """

    job: str
    output: Output
    backend: str | None = None
    as_json: bool = False
    memory: int | None = None
    checkpoint: str | None = None
    every: float = 30.0

    @cached_property
    def destination(self) -> Output:
        """The output as it stood at first, which may be replaced where an earlier run put it there."""
        return self.replacing(self.output)

    def replacing(self, output: Output) -> Output:
        """An output, which may be replaced where this job put it there and was killed soon after."""
        is_own = self.checkpoint is not None and wrote(Path(self.checkpoint), output.path)
        return replace(output, force=True) if is_own else output

    def how(self, bar: Bar) -> How:
        """How sources are read."""
        return How(self.memory, self.checkpoint, self.every, bar)


@dataclass(frozen=True)
class Input:
    """What the report says of an input.

    Attributes
    ----------
    argument : str
        What it is to the job.
    file : str
        As on the command line.
    shape : tuple of int
    dtype : str
    """

    argument: str
    file: str
    shape: tuple[int, ...]
    dtype: str


@contextmanager
def prepared(order: Order, inputs: Iterable[Path]) -> Iterator[Bar]:
    """The bar of a job whose output may be written, on the backend that was asked for."""
    inputs = list(inputs)
    if order.checkpoint is not None:
        places = [path.resolve() for path in (order.output.path, *inputs)]
        if Path(order.checkpoint).resolve() in places:
            raise BadInputError(
                f"--checkpoint is {order.checkpoint}, which is an input or the output as well"
            )
    order.destination.check(inputs)
    with use_backend(order.backend) if order.backend else nullcontext(), progress_bar() as bar:
        yield bar


@contextmanager
def working(order: Order, inputs: Iterable[Path]) -> Iterator[tuple[IO[bytes], Bar]]:
    """The stream that becomes the output and the bar, on the backend that was asked for."""
    with prepared(order, inputs) as bar, order.destination.replaced() as stream:
        yield stream, bar


def seal(passes: Passes | None, outputs: Mapping[Path, IO[bytes]]) -> None:
    """Have all outputs on the disk, and a checkpoint know them, before the first of them takes its place."""
    for stream in outputs.values():
        stream.flush()
        os.fsync(stream.fileno())
    if passes is not None:
        passes.seal({path: Path(stream.name) for path, stream in outputs.items()})


def takes_blocks(order: Order) -> bool:
    """Whether the output takes blocks wherever they belong, as a checkpoint needs.

    Raises
    ------
    BadInputError
        If there is to be a checkpoint, and it does not.
    """
    takes = order.output.path.suffix.lower() in TAKING_BLOCKS
    if order.checkpoint is not None and not takes:
        raise BadInputError(f"--checkpoint goes with an output in {' or '.join(TAKING_BLOCKS)}")
    return takes


def write_blocks(order: Order, work: Work, bar: Bar) -> int:
    """Write an array block by block, and return how many of its numbers were there already."""
    return write_work(
        work,
        order.output.path,
        bar,
        memory=order.memory,
        checkpoint=order.checkpoint,
        every=order.every,
        confirm=order.destination.confirm,
    )


def refuse_beside_scheduler(order: Order, asked: Mapping[str, bool] | None = None) -> None:
    """Raise where something was asked for that workers of Dask do not do, as every order or of `asked`."""
    refused = {
        "--checkpoint": order.checkpoint is not None,
        "--memory, which each worker has its own of": order.memory is not None,
        "--backend, which each worker chooses by itself": order.backend is not None,
        **(asked or {}),
    }
    for option, is_asked in refused.items():
        if is_asked:
            raise BadInputError(f"--scheduler does not go with {option}")


def run(order: Order, sources: Mapping[str, Source], compute: Callable[..., Result]) -> None:
    """Read the sources, compute from them by their names, and write the result."""
    start = time.perf_counter()
    files = {argument: source.file for argument, source in sources.items()}
    data: dict[str, Data] = {}
    with working(order, [source.path for source in sources.values()]) as (stream, bar), naming(files):
        for argument, source in sources.items():
            bar.stage(f"reading {source.file}")
            data[argument] = source.read()
        bar.stage(order.job)
        result = compute(**data)
        write(stream, order.output, result, bar)
    tell_of_array(order, inputs_of(data), result, start)


@contextmanager
def naming(files: Mapping[str, str]) -> Iterator[None]:
    """Say which files the arguments are that an error of the library speaks of."""
    try:
        yield
    except (BackendError, BadInputError):
        raise
    except VecprodError as error:
        named = ", ".join(f"{argument} is {file}" for argument, file in files.items())
        raise BadInputError(f"{error} ({named})") from None


def inputs_of(data: Mapping[str, Data]) -> list[Input]:
    """The inputs of a job that has read them as a whole."""
    return [Input(name, part.file, part.values.shape, str(part.values.dtype)) for name, part in data.items()]


def inputs_read(passes: Passes, rows: int) -> list[Input]:
    """The inputs of a job that has read so many rows of them in batches."""
    files = passes.observations.files
    return [Input(name, files[name], (rows, *axes), dtype) for name, (axes, dtype) in passes.shapes.items()]


def how_read(passes: Passes, start: float) -> dict[str, Any]:
    """What the report in JSON says of the reading since `start`."""
    told = {
        "rows": passes.rows_read,
        "rows_resumed": passes.rows_resumed,
        "rows_per_second": passes.rows_read / (time.perf_counter() - start),
    }
    return {"read": told}


def resumed_in_words(passes: Passes) -> str:
    """What the report says of rows that a checkpoint knew of."""
    return f", {passes.rows_resumed} rows not read again" if passes.rows_resumed else ""


def tell_of_array(
    order: Order, inputs: Sequence[Input], result: Result, start: float, more: str = "", **details: Any
) -> None:
    """Print what was written since `start`, an array, and what else there is to say in JSON."""
    summary = f"{result.shape} {result.dtype}{more}"
    key = {"key": order.output.key} if order.output.key else {}
    output = {"shape": result.shape, "dtype": str(result.dtype), **key}
    tell(order, inputs, summary, result.backend, start, output, **details)


def tell(
    order: Order,
    inputs: Sequence[Input],
    summary: str,
    backend: str,
    start: float,
    output: Mapping[str, Any] | None = None,
    **details: Any,
) -> None:
    """Print what was done since `start`: one JSON object with all details, or one line with a summary."""
    seconds = time.perf_counter() - start
    path = str(order.output.path)
    if order.as_json:
        report = {
            "job": order.job,
            "inputs": [asdict(part) for part in inputs],
            "output": {"file": path, **(output or {})},
        }
        print(json.dumps(report | {"backend": backend, "seconds": seconds} | details))
        return
    files = " and ".join(f"{part.file} {part.shape}" for part in inputs)
    line = f"{order.job} of {files}: {path} {summary}, on {backend} in {seconds:.2g} s"
    encoding = sys.stdout.encoding or "utf-8"  # which may have no word for what file names hold
    print(" ".join(line.encode(encoding, errors="backslashreplace").decode(encoding).split()))
