"""Results made by hand, small enough to be checked by eye."""

from vecprod_gpu.bench.bars import Bar, judge
from vecprod_gpu.bench.clocks import WallClock
from vecprod_gpu.bench.peers import Peers
from vecprod_gpu.bench.race import Race, Timing
from vecprod_gpu.bench.results import document
from vecprod_gpu.bench.row import Row, Scaled
from vecprod_gpu.bench.suite import Outcome, Suite

BARS = (Bar("limit", 0.9), Bar("peer", 2.0, "numpy"), Bar("peer", 1.0, "jax"))


def race(name="row", ours=(1.0, 1.1, 0.9), **others):
    """A race whose other runners are given by name, ``limit_`` for ``limit: ``."""
    timings = {"ours": Timing(ours, 1e-8)}
    for runner, seconds in others.items():
        is_limit = runner.startswith("limit_")
        timings[runner.replace("limit_", "limit: ")] = Timing(seconds, None if is_limit else 2e-7)
    return Race(name, timings, {"jax": "ModuleNotFoundError: No module named 'jax'"})


def outcome(name, count, **times):
    row = Row(
        "cross", name, lambda peers, count: None, {"count": Scaled(count)}, 1e-6, along="count", bars=BARS
    )
    found = race(name.format(count=count), **times)
    return Outcome(row, {"count": count}, found, 36 * count, tuple(judge(bar, found) for bar in BARS))


def results(*outcomes):
    suite = Suite("cpu", [one.row for one in outcomes], Peers(), {"wall": WallClock()}, 1.0, 3)
    return document(suite, outcomes, started=0.0)


def two_sizes(factor=1.0):
    """Two rows; everything of ours takes `factor` times as long."""
    return results(
        outcome(
            "cross, {count:,} vectors",
            8,
            ours=tuple(factor * seconds for seconds in (1e-6, 1.1e-6, 0.9e-6)),
            numpy=(8e-6, 8.1e-6, 7.9e-6),
        ),
        outcome(
            "cross, {count:,} vectors",
            5_000_000,
            ours=tuple(factor * seconds for seconds in (1e-2, 1.01e-2, 0.99e-2)),
            numpy=(1.5e-2, 1.6e-2, 1.4e-2),
            limit_triad=(0.9e-2, 0.91e-2, 0.89e-2),
            limit_torch=(2e-2, 2e-2, 2e-2),
        ),
    )


def one_row(**times):
    """A run of one row, whose runners take turns of these seconds."""
    return results(outcome("cross, {count:,} vectors", 8, **times))
