"""Race every row, or those whose name holds a word: ``python -m vecprod_gpu.bench [WORD ...]``."""

import sys

from . import limits
from .peers import installed, threads
from .race import Race
from .rows import rows


def main(words: list[str]) -> None:
    """Print one table row for each row raced."""
    print("versions:", installed("vecprod-gpu", "numpy", "numba", "torch", "jax"))
    print("threads:", threads())
    chosen = [row for row in rows() if not words or any(word in row.name for word in words)]
    for row in chosen:
        print(describe(row.race(turns=9)), flush=True)


def describe(race: Race) -> str:
    """The row in words: our time, how many times each peer's that is, and our share of the limit."""
    ours = race.timings["ours"]
    first, third = ours.spread
    parts = [
        f"{race.row}\n  ours {_milliseconds(ours.median)} ({_milliseconds(first)} to {_milliseconds(third)})"
    ]
    best_limit = min(
        (timing.median for name, timing in race.timings.items() if name.startswith(limits.PREFIX)),
        default=None,
    )
    if best_limit is not None:
        parts.append(f"{best_limit / ours.median:.2f} of the limit")
    for name, timing in race.timings.items():
        if name != "ours" and not name.startswith(limits.PREFIX):
            wrong = f" WRONG by {timing.error:.1e}" if timing.is_wrong else ""
            parts.append(f"{race.ratio(name):.2f}x {name}{wrong}")
    if ours.is_wrong:
        parts.append(f"OURS IS WRONG by {ours.error:.1e}")
    parts += [f"{name} is missing" for name in race.missing]
    return ", ".join(parts)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.4g} ms"


if __name__ == "__main__":
    main(sys.argv[1:])
