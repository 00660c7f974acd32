"""A run as a JSON document, from which tables, plots, the report and comparisons are made.

The document, in version 1 of the schema (times in seconds, sizes in bytes; what is not finite is null)::

    schema      1
    created     when the run ended, in UTC
    command     the words that started it
    commit      of the checkout, with "+" where files differ from it; null outside of one
    device      "cpu" or "cuda"
    scale       of the sizes; 1 for the full benchmark
    turns       of each race
    seconds     that the whole run took
    machine     system, cpu, cores, python; on a GPU also gpu, driver, multiprocessors, cache and clocks
    versions    of the packages that are installed
    threads     that each library uses: ours, torch, numexpr, XLA, and every BLAS and OpenMP library
    rows        a list, in the order of the run:
        name, topic, sizes   what was raced
        along                the size that the topic's curve is drawn along, or ""
        clock                "wall", "kernel", "call" or "reported"
        moved                bytes that the work has to move; 0 where that is no measure
        tolerance            largest error that counts as right
        runners              a list, ours first:
            name             "ours", "ours, ..." for other ways of ours, "limit: ..." for a limit, or a peer
            how              "wall", "call", "graph", "events" (plain calls between events) or "reported"
            median           of the turns
            quartiles        first and third
            seconds          of each turn
            error            relative to the largest element in float64; null where nothing is checked
            is_wrong         whether the error is more than tolerated
        ratios               by runner, how many times faster ours was: the median turn by turn
        limit                name of the fastest limit, or null
        of_limit             share of it that ours reached, or null
        missing              peers that could not take part, and why
        bars                 a list of kind, against, needed, got, is_met and words; see `bars.Bar`

Bytes per second of a runner are ``moved / median``.
"""

import json
import math
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vecprod_gpu._machine import describe
from vecprod_gpu._replace import replaced
from vecprod_gpu.errors import BadInputError

from .bars import Verdict
from .peers import installed, threads
from .race import Race
from .suite import Outcome, Suite

SCHEMA = 1

Document = dict[str, Any]


def document(suite: Suite, outcomes: Sequence[Outcome], started: float) -> Document:
    """The whole run; `started` is what `time.perf_counter` gave when it began."""
    return {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "commit": _commit(),
        "device": suite.device,
        "scale": suite.scale,
        "turns": suite.turns,
        "seconds": round(time.perf_counter() - started, 1),
        "machine": _machine() | suite.peers.machine(),
        "versions": installed(),
        "threads": threads(),
        "rows": [_row(outcome) for outcome in outcomes],
    }


def save(results: Document, file: Path) -> None:
    """Write a document; an earlier file keeps what it holds until the new one is whole."""
    with replaced(file) as stream:
        stream.write(json.dumps(results, indent=1, allow_nan=False).encode() + b"\n")


def load(file: Path) -> Document:
    """Read a document.

    Raises
    ------
    BadInputError
        If the file holds no document of this schema.
    """
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"cannot read {file}: {error.strerror}") from None
    except ValueError as error:
        raise BadInputError(f"{file} is no JSON: {error}") from None
    found = results.get("schema") if isinstance(results, dict) else None
    if found != SCHEMA:
        raise BadInputError(f"{file} holds no results of schema {SCHEMA}, but {found!r}")
    return results  # type: ignore[no-any-return]


def runner_of(row: Document, name: str) -> Document:
    """The runner of that name."""
    return next(runner for runner in row["runners"] if runner["name"] == name)


def _row(outcome: Outcome) -> Document:
    race = outcome.race
    return {
        "name": race.row,
        "topic": outcome.row.topic,
        "sizes": outcome.sizes,
        "along": outcome.row.along,
        "clock": outcome.row.clock,
        "moved": outcome.moved,
        "tolerance": outcome.row.tolerance,
        "runners": [_runner(race, name) for name in race.timings],
        "ratios": {name: race.ratio(name) for name in race.timings if name != "ours"},
        "limit": race.limit,
        "of_limit": None if race.limit is None else race.ratio(race.limit),
        "missing": race.missing,
        "bars": [_bar(verdict) for verdict in outcome.verdicts],
    }


def _runner(race: Race, name: str) -> Document:
    timing = race.timings[name]
    return {
        "name": name,
        "how": timing.how,
        "median": timing.median,
        "quartiles": list(timing.spread),
        "seconds": list(timing.seconds),
        "error": _finite(timing.error),
        "is_wrong": timing.is_wrong,
    }


def _bar(verdict: Verdict) -> Document:
    bar = verdict.bar
    return {
        "kind": bar.kind,
        "against": bar.against,
        "needed": bar.needed,
        "got": _finite(verdict.got),
        "is_met": verdict.is_met,
        "words": verdict.in_words(),
    }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _machine() -> Document:
    machine = describe()["machine"]
    return {
        "system": machine["system"],
        "cpu": machine["cpu"],
        "cores": machine["cores"],
        "python": platform.python_version(),
    }


def _commit() -> str | None:
    """Of the checkout that this file is in; None for an installed package, or without git."""
    folder = Path(__file__).parent
    git = ["git", "-C", str(folder)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")
