"""What acceleration without a change of code gives a program, and what calls too small to gain pay for it.

Run it as ``python -m vecprod_gpu.bench.accel``.
A script that calls ``numpy.cross`` is run as it is, with ``VECPROD_ACCEL_ENABLED=1``, and by
``python -m vecprod_gpu.accel``: in processes of their own, in turns; the first of each is not counted.
Small calls are timed in one more process, NumPy's function and the one in its place in alternating order,
single vectors before compiled code is loaded and after.  Printed are medians; that of the differences is over
pairs of neighbours, since the machine drifts by more than they are.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vecprod_gpu import accel
from vecprod_gpu.accel._children import ENABLED, PATH, path_of_others
from vecprod_gpu.accel._heard import in_words, is_heard
from vecprod_gpu.accel._loading import COST, loading
from vecprod_gpu.accel._products import CROSS_CALL

from .race import take_turns
from .words import duration, ratio

FULL = {"calls": 300, "vectors": 1_000_000, "turns": 3, "rounds": 150}
QUICK = FULL | {"calls": 20, "turns": 1, "rounds": 15}

PLAIN, MODULE = "python script.py", "python -m vecprod_gpu.accel script.py"
VARIABLE = f"{ENABLED}=1 {PLAIN}"
SCRIPT = """
import sys
import numpy as np
calls, vectors = map(int, sys.argv[1:])
a, b = np.random.default_rng(0).normal(size=(2, vectors, 3))
print(sum(np.cross(a, b)[-1, 0] for _ in range(calls)))
"""

SMALL = "import json; from vecprod_gpu.bench import accel; print(json.dumps(accel.small_calls({})))"
CROSSES, OUTERS = 25, 1000  # calls in a row, which take about a millisecond
ROUNDS_BEFORE = int(COST / CROSS_CALL) // CROSSES - 1  # further calls would load ours
LENGTHS = (8, 20, 24, 28, 32, 36)  # outer products of such vectors take NumPy about 2.4 to 5 us


def run(*words: object, **variables: str) -> str:
    """What Python prints, without the acceleration that this process may hand on."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VECPROD_ACCEL_")}
    environment = kept | {PATH: os.pathsep.join(path_of_others())} | variables
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def scripts(calls: int, vectors: int, turns: int) -> dict[str, dict[str, float]]:
    """Seconds of each way to run the script, and how many times as fast as NumPy alone it is."""
    printed = set()

    def seconds(*words: object, **variables: str) -> float:
        started = time.perf_counter()
        printed.add(run(*words, **variables))
        return time.perf_counter() - started

    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder) / "script.py").write_text(SCRIPT)
        script = path, calls, vectors
        ways = {PLAIN: partial(seconds, *script)}
        if is_heard():
            ways[VARIABLE] = partial(seconds, *script, **{ENABLED: "1"})
        ways[MODULE] = partial(seconds, "-m", "vecprod_gpu.accel", *script)
        taken = {name: np.array(each[1:]) for name, each in take_turns(ways, turns + 1).items()}
    if len(printed) > 1:
        raise RuntimeError(f"the ways to run the script do not print the same: {sorted(printed)}")
    return {
        name: {"seconds": float(np.median(each)), "ratio": float(np.median(taken[PLAIN] / each))}
        for name, each in taken.items()
    }


def functions() -> dict[str, dict[str, Callable[..., Any]]]:
    """NumPy's own function and the one that stands in its place, by name."""
    own = {name: getattr(np, name) for name in ("cross", "outer")}
    accel.install()
    return {name: {"plain": plain, "ours": getattr(np, name)} for name, plain in own.items()}


def compare(both: dict[str, Callable[..., Any]], a: Any, b: Any, calls: int, rounds: int) -> dict[str, float]:
    """Microseconds of a call to either, and what ours takes more; no garbage is collected meanwhile."""
    if not np.array_equal(both["plain"](a, b), both["ours"](a, b)):
        raise RuntimeError(f"ours of {a} and {b} is not NumPy's")
    timers = {
        name: timeit.Timer("function(a, b)", globals={"function": function, "a": a, "b": b})
        for name, function in both.items()
    }
    taken = take_turns({name: partial(timer.timeit, calls) for name, timer in timers.items()}, rounds)
    times = {name: np.array(each) / calls * 1e6 for name, each in taken.items()}
    times["difference"] = times["ours"] - times["plain"]
    return {name: float(np.median(each)) for name, each in times.items()}


def small_calls(rounds: int) -> dict[str, dict[str, float]]:
    """Each small call compared, in a process that has not loaded compiled code yet."""
    cross, outer = functions().values()
    lists = [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]
    found = {}
    for most in (ROUNDS_BEFORE, rounds):
        for kind, (a, b) in (("arrays", np.array(lists)), ("lists", lists)):
            state = "loaded" if loading.is_done else "not loaded"
            call = f"np.cross of two {kind}, ours {state}"
            found[call] = compare(cross, a, b, CROSSES, min(rounds, most))
        if obstacle := loading.obstacle():
            raise RuntimeError(obstacle)
    for length in LENGTHS:
        ones = np.ones(length)
        found[f"np.outer, {length} x {length}"] = compare(outer, ones, ones, OUTERS, rounds)
    return found


def table(found: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"{found['calls']} calls of np.cross on {found['vectors']:,} vectors"]
    for name, its in found["scripts"].items():
        lines.append(f"  {name:<42}{duration(its['seconds']):>9}{ratio(its['ratio']):>9}")
    if VARIABLE not in found["scripts"]:
        lines.append(f"  {in_words()}")
    lines.append(f"{'small calls, in us':<44}{'plain':>9}{'ours':>9}{'difference':>14}")
    for call, its in found["small"].items():
        plain, ours, more = its.values()
        lines.append(f"  {call:<42}{plain:>9.2f}{ours:>9.2f}{more:>+14.3f}{more / plain:>+9.1%}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="end within some 15 s")
    parser.add_argument("--json", action="store_true", help="print JSON")
    for name, size in FULL.items():
        words = f"{size} unless given, {QUICK[name]} where --quick is"
        parser.add_argument(f"--{name}", type=int, default=argparse.SUPPRESS, help=words)
    asked = vars(parser.parse_args(arguments))
    sizes = {name: asked.get(name, size) for name, size in (QUICK if asked["quick"] else FULL).items()}
    *script, rounds = sizes.values()
    found = {**sizes, "scripts": scripts(*script), "small": json.loads(run("-c", SMALL.format(rounds)))}
    print(json.dumps(found) if asked["json"] else table(found))


if __name__ == "__main__":
    main()
