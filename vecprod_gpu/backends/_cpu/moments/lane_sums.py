"""Sums of outer products of small problems on the host: see `lanes`, which computes them."""

from ..stripes import STRIPES
from ..threads.pools import for_each_block_of
from ..vectors import LANES
from ..workspaces import Workspaces
from .block_sums import for_dtypes
from .call import Call, work_of
from .lanes import lane_memory, scale_sums, sum_lanes

LEAST_ELEMENTS = 1 << 17  # of problems side by side; with fewer a thread is sooner done than begun

_workspaces = Workspaces(lane_memory)


def sum_in_lanes(call: Call) -> None:
    """Fill the results of a call whose problems fit."""
    X, total, means, out = call.X, call.total, call.means, call.out
    problems, n, _ = X.shape
    columns, is_weighted = out.shape[2], call.weights.size > 0
    kernel = for_dtypes(sum_lanes, X.dtype, out.dtype)
    shape = n, columns, out.dtype, is_weighted
    no_number_changes = call.scale == 1 and not is_weighted
    inputs = X, call.Y, call.weights, call.is_centred
    flags: list[int] = []
    flags_of_scaling: list[int] = []

    def task(start: int, stop: int) -> None:
        lanes = _workspaces.take(*shape)
        flags.append(kernel(*inputs, start, stop, lanes, total, means, out))
        _workspaces.give_back(lanes, *shape)
        if not no_number_changes:  # else this would be a pass over the sums for nothing
            part = slice(start * LANES, stop * LANES)
            flags_of_scaling.append(scale_sums(call.scale, total[part], means[part], out[part]))

    groups = -(-problems // LANES)
    least = LEAST_ELEMENTS // (n * columns * LANES)
    for_each_block_of(work_of(X, out), task, groups, max(1, groups // STRIPES, least))
    call.report(flags, flags_of_scaling)
