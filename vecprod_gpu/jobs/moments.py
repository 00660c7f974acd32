"""Covariances and correlations of columns as jobs, which read their rows in batches."""

import time
from typing import Any, Literal

import numpy as np

from ..errors import BadInputError
from ..linreg import CoMoments
from ..stream._moments import Sums
from ..stream._observations import open_observations
from ..stream._results import Result, write
from ..stream._run import Passes
from ..stream._sources import open_reader
from .files import Source
from .products import corr, cov
from .run import (
    Input,
    Order,
    how_read,
    naming,
    refuse_beside_scheduler,
    resumed_in_words,
    seal,
    tell_of_array,
    working,
)
from .run import run as run_whole

_WHOLE = {"cov": cov, "corr": corr}


def run(order: Order, source: Source, of: Literal["cov", "corr"], scheduler: str | None = None) -> None:
    """Write the matrix of the columns of a source."""
    if scheduler is not None:
        refuse_beside_scheduler(order)
    elif _is_complex(source):
        if order.checkpoint is not None:
            raise BadInputError(
                f"--checkpoint is {order.checkpoint}, but {source.file} holds complex numbers, which are not "
                "read in batches"
            )
        run_whole(order, {"m": source}, _WHOLE[of])
        return
    start = time.perf_counter()
    observations = open_observations(source.file, columns=source.columns, header=source.header)
    with working(order, observations.paths) as (stream, bar), naming({"m": source.file}):
        passes = Passes(observations, order.how(bar), "co-moments")
        if scheduler is None:
            moments = passes.run("moments", Sums(CoMoments)).value
        else:
            bar.stage(f"reading {source.file} on {scheduler}")
            moments = _by_workers(source, scheduler)
        if not moments.n_samples:
            raise BadInputError(f"{source.file} has no rows")
        bar.stage(order.job)
        matrix: Any = moments.cov() if of == "cov" else moments.corrcoef()
        backend = passes.backend if scheduler is None else "dask"
        result = Result.whole(np.asarray(matrix), backend, observations.names)
        write(stream, order.output, result, bar)
        seal(passes, {order.output.path: stream})
    passes.finish()
    inputs = [Input("m", source.file, (moments.n_samples, observations.width), str(observations.dtype))]
    read = how_read(passes, start) if scheduler is None else {}
    tell_of_array(order, inputs, result, start, resumed_in_words(passes), **read)


def _by_workers(source: Source, scheduler: str) -> CoMoments:
    """The co-moments of what workers of Dask read."""
    from ..dask._files import moments_of_files

    return moments_of_files(source.file, scheduler=scheduler, columns=source.columns, header=source.header)


def _is_complex(source: Source) -> bool:
    """Whether an array holds complex numbers, of which no co-moments are made."""
    reader = open_reader(source.file, "m", source.header)
    return not reader.is_table and reader.dtype(None).kind == "c"
