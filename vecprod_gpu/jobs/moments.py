"""Covariances and correlations of columns as jobs, which read their rows in batches."""

import time
from dataclasses import replace
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
from .run import Order, how_read, inputs_read, naming, resumed_in_words, tell_of_array, working
from .run import run as run_whole

_WHOLE = {"cov": cov, "corr": corr}


def run(order: Order, source: Source, of: Literal["cov", "corr"]) -> None:
    """Write the matrix of the columns of a source."""
    if _is_complex(source):
        run_whole(order, {"m": source}, _WHOLE[of])
        return
    start = time.perf_counter()
    observations = open_observations(source.file, columns=source.columns, header=source.header)
    with working(order, observations.paths) as (stream, bar), naming({"m": source.file}):
        passes = Passes(observations, order.how(bar), "co-moments")
        moments = passes.run("moments", Sums(CoMoments)).value
        if not moments.n_samples:
            raise BadInputError(f"{source.file} has no rows")
        bar.stage(order.job)
        matrix: Any = moments.cov() if of == "cov" else moments.corrcoef()
        result = Result.whole(np.asarray(matrix), passes.backend, observations.names)
        write(stream, order.output, result, bar)
    passes.finish()
    inputs = [replace(each, argument="m") for each in inputs_read(passes, moments.n_samples)]
    tell_of_array(order, inputs, result, start, resumed_in_words(passes), **how_read(passes, start))


def _is_complex(source: Source) -> bool:
    """Whether an array holds complex numbers, of which no co-moments are made."""
    reader = open_reader(source.file, "m", source.header)
    return not reader.is_table and reader.dtype(None).kind == "c"
