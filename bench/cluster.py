"""What a fit on a cluster costs on paper: ``python -m vecprod_gpu.bench.cluster``.

A worker reads its share of the rows and computes their co-moments, whichever takes longer, since chunks are
read while others are computed.  Reading is shared by all workers where the storage is.  Then matrices of
``D x D`` numbers are joined by a tree, eight at a time: each chunk sends one, and those on the longest way
are sent and merged one after another.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

SIZES = (10**9, 10**12, 10**15)
WORKERS = (1, 10, 100, 1000)
FAN_IN = 8
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
SECONDS_A_TASK = 0.5e-3  # of the scheduler, which hands out all tasks of a cluster one after another


@dataclass(frozen=True)
class Rates:
    """What one worker and the cluster can do, in bytes a second of float64.

    Attributes
    ----------
    compute : float
        Of rows summarised by a worker of one processor.
    disk : float
        Of rows that a worker reads, if it has the disk to itself.
    storage : float
        Of rows that all workers read together at most.
    network : float
        Between two workers.
    latency : float
        Seconds from the end of a task to the start of the next.
    columns : int
        D of the rows.
    chunk : int
        Bytes of a chunk.
    """

    compute: float = 0.5e9
    disk: float = 1e9
    storage: float = 100e9
    network: float = 1e9
    latency: float = 0.01
    columns: int = 100
    chunk: int = 128 * 10**6


@dataclass(frozen=True)
class Cost:
    """Of one fit: bytes read, bytes that go from worker to worker at most, and seconds."""

    read: int
    sent: int
    seconds: float


def cost(nbytes: int, workers: int, rates: Rates) -> Cost:
    """What so many bytes of rows cost so many workers."""
    chunks = -(-nbytes // rates.chunk)
    busy = min(workers, chunks)
    matrix = 8 * (1 + rates.columns + rates.columns**2)
    reading = max(1 / rates.compute, 1 / min(rates.disk, rates.storage / busy))
    rounds = math.ceil(chunks / busy)
    share = nbytes / chunks * rounds
    joins = sum(1 for _ in _heights(chunks))
    tasks = chunks + sum(_heights(chunks)) + 1
    sent = 0 if workers == 1 else matrix * (tasks - 1)
    tree = joins * (rates.latency + (0 if workers == 1 else FAN_IN * matrix / rates.network))
    return Cost(nbytes, sent, max(share * reading, tasks * SECONDS_A_TASK) + tree)


def _heights(count: int) -> list[int]:
    """Tasks of each height of the tree over so many chunks."""
    heights = []
    while count > 1:
        count = -(-count // FAN_IN)
        heights.append(count)
    return heights


def table(rates: Rates) -> str:
    """Costs of all sizes on all numbers of workers, one a line."""
    lines = [f"{'read':>8}{'workers':>9}{'sent':>10}{'time':>10}{'speed-up':>10}"]
    for nbytes in SIZES:
        alone = cost(nbytes, 1, rates).seconds
        for workers in WORKERS:
            its = cost(nbytes, workers, rates)
            lines.append(
                f"{size(nbytes):>8}{workers:>9,}{size(its.sent):>10}{duration(its.seconds):>10}"
                f"{alone / its.seconds:>10.1f}"
            )
    return "\n".join(lines)


def size(nbytes: float) -> str:
    """Bytes in the largest unit that they fill."""
    power = min(len(UNITS) - 1, int(math.log(nbytes, 1000) + 1e-9)) if nbytes >= 1 else 0
    return f"{nbytes / 1000**power:.3g} {UNITS[power]}"


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table for the rates on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in vars(Rates()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"default {value:g}")
    print(table(Rates(**vars(parser.parse_args(arguments)))))


if __name__ == "__main__":
    main()
