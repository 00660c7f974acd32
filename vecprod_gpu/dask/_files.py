"""Fits of files that the workers read by themselves: each its ranges of rows, by the readers of streams."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dask
from dask.delayed import Delayed

from ..errors import BadInputError, NotFiniteError
from ..linreg._streaming.rows import Rows, join
from ..linreg._streaming.streamed import Streamed, rows_of_segment
from ..linreg.fit import linreg_fit
from ..linreg.moments import CoMoments
from ..linreg.result import FitResult
from ..linreg.tsqr import TSQR
from ..stream._observations import Observations, open_observations
from ._graph import as_delayed, of_blocks
from ._regression import check_settings
from ._summaries import whole
from ._tasks import Groups, Piece, Place, summarise_block

RANGE_BYTES = 1 << 27  # of float64 that a task reads, in whole segments
SCHEDULERS = ("processes", "threads", "synchronous")


def fit_files(
    source: str,
    target: Any,
    *,
    scheduler: str = "processes",
    sample_weight: Any = None,
    columns: Any = None,
    header: bool | None = None,
    **how: Any,
) -> tuple[FitResult, int]:
    """Fit files that every worker can read under the same names; the fit, and the rows that it was made of.

    `how` is for `linreg_fit`. The scheduler is the address of a cluster, or one of `SCHEDULERS`. Ranges of
    rows are whole segments, so that the bits are those of the streamed fit; a file that does not tell its
    rows, as CSV, is one range.

    Raises
    ------
    BadInputError
        If something is wrong with a file; the message is one line that names it, and the place.
    """
    check_settings(how)
    kind: type[Streamed] = TSQR if how.get("solver") == "svd" else CoMoments
    given = {"target": target, "sample_weight": sample_weight, "columns": columns, "header": header}
    summary = _computed(_summary(kind, source, given), scheduler)
    return linreg_fit(summary, **how), summary.n_samples


def moments_of_files(
    source: str, *, scheduler: str = "processes", columns: Any = None, header: bool | None = None
) -> CoMoments:
    """Co-moments of the columns of files, from which covariance and correlation follow; as `fit_files`."""
    given = {"columns": columns, "header": header}
    return _computed(_summary(CoMoments, source, given), scheduler)  # type: ignore[no-any-return]


def _summary(kind: type[Streamed], source: str, given: dict[str, Any]) -> Delayed:
    observations = open_observations(source, **given)
    first = next(_rows_of(observations, 0, 1), None)
    if first is None:
        raise BadInputError(f"{source} has no rows")
    columns = first.layout.columns
    segment = rows_of_segment("numpy", columns)
    length = segment * max(1, RANGE_BYTES // (8 * segment * columns))
    starts = range(0, observations.rows, length) if observations.rows else range(1)
    places = [
        Place(i, start, (Piece(0, slice(None), start // segment, False),)) for i, start in enumerate(starts)
    ]
    read = partial(
        _summarise_range,
        kind,
        source,
        given,
        observations.fingerprint(),
        length if observations.rows else None,
    )
    return as_delayed("summary", of_blocks(read, [], places), partial(whole, kind))


def _summarise_range(
    kind: type[Streamed],
    source: str,
    given: dict[str, Any],
    fingerprint: dict[str, Any],
    length: int | None,
    place: Any,
) -> Groups:
    """Read the rows of a range, in the worker."""
    observations = open_observations(source, **given)
    if observations.fingerprint() != fingerprint:
        raise BadInputError(f"{source} has changed, or is another file for this worker")
    try:
        return summarise_block(
            kind, partial(_read_range, observations, place.item().first_row, length), place
        )
    except NotFiniteError as error:
        raise observations.located(error) from None


def _read_range(observations: Observations, start: int, length: int | None) -> Rows | None:
    parts = list(_rows_of(observations, start, length))
    return join(parts) if parts else None


def _rows_of(observations: Observations, start: int, length: int | None) -> Iterator[Rows]:
    """The rows from one on, so many or all of them, in parts."""
    left = length
    for batch in observations.batches(start, RANGE_BYTES):
        observations.require_weights(batch.sample_weight, batch.first_row)
        rows = Rows.read(batch.X, batch.y, batch.sample_weight)
        yield rows if left is None or left >= rows.n else rows.part(0, left)
        if left is not None and (left := left - rows.n) <= 0:
            return


def _computed(lazy: Delayed, scheduler: str) -> Any:
    if scheduler in SCHEDULERS:
        with dask.config.set(scheduler=scheduler):
            return lazy.compute()
    from distributed import Client

    try:
        client = Client(scheduler, set_as_default=False)
    except (OSError, ValueError) as error:
        listed = ", ".join(SCHEDULERS)
        raise BadInputError(
            f"--scheduler is {scheduler!r}, which is none of {listed}, and no cluster: {error}"
        ) from None
    with client:
        return client.compute(lazy).result()
