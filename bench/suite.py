"""A whole run: which rows, by which clocks, on which device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .bars import Verdict, judge
from .clocks import SETTLE_SECONDS, TURN_SECONDS, CallClock, Clock, KernelClock, ReportedClock, WallClock
from .peers import Peers
from .race import Race, run
from .row import FULL_TURNS, Row


@dataclass(frozen=True)
class Pace:
    """How large the rows are, and how long each runner is timed.

    Attributes
    ----------
    scale : float
        Of the sizes.
    turns : int
        Of each race.
    turn_seconds, settle_seconds : float
        See `WallClock`.
    compiles : bool
        Whether torch.compile takes part.
    """

    scale: float
    turns: int
    turn_seconds: float
    settle_seconds: float
    compiles: bool


FULL = Pace(1.0, FULL_TURNS, TURN_SECONDS, SETTLE_SECONDS, compiles=True)
# Two hundred runners take three turns each, and all of them have to end within a minute.
QUICK = Pace(0.02, 3, 0.004, 0.0, compiles=False)


@dataclass(frozen=True)
class Outcome:
    """One row after its race.

    Attributes
    ----------
    row : Row
        What was raced.
    sizes : dict
        With these sizes.
    race : Race
        Times, errors and ratios.
    moved : int
        Bytes that the work has to move; 0 where that is no measure.
    verdicts : tuple of Verdict
        Its bars, met or missed.
    """

    row: Row
    sizes: dict[str, Any]
    race: Race
    moved: int
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Suite:
    """The rows of one device, and what times them.

    Attributes
    ----------
    device : str
        ``"cpu"`` or ``"cuda"``.
    rows : list of Row
        In the order of the run.
    peers : Peers or Gpu
        What the rows are made with.
    clocks : dict of str to Clock
        By the names that rows give.
    scale : float
        Of the sizes.
    turns : int
        Of each race.
    """

    device: str
    rows: list[Row]
    peers: Any
    clocks: dict[str, Clock]
    scale: float = 1.0
    turns: int = FULL_TURNS

    def outcomes(self, before: Callable[[str], None] = lambda name: None) -> Iterator[Outcome]:
        """Run row after row; `before` is told the name of the next one."""
        for row in self.rows:
            before(row.name_at(self.scale))
            yield self._outcome(row)
            self.peers.release()

    def _outcome(self, row: Row) -> Outcome:
        self.peers.missing.clear()
        sizes = row.sizes_at(self.scale)
        entry = row.make(self.peers, **sizes)
        race = run(
            row.name_at(self.scale),
            entry.runners,
            entry.expected,
            tolerance=row.tolerance,
            turns=max(1, row.turns * self.turns // FULL_TURNS),
            missing=self.peers.missing,
            clock=self.clocks[row.clock],
        )
        bars = row.bars if self.scale == 1 else ()  # which hold of the full sizes
        return Outcome(row, sizes, race, entry.moved, tuple(judge(bar, race) for bar in bars))


@contextmanager
def suite(device: str, words: list[str], quick: bool) -> Iterator[Suite]:
    """The rows whose names hold one of the words, or all; on a GPU with a stream of its own, and TF32 off."""
    pace = QUICK if quick else FULL
    if device == "cuda":
        from .cuda.gpu import Gpu
        from .cuda.rows import rows as cuda_rows

        with Gpu.start(pace.compiles) as gpu:
            chosen = choose(cuda_rows(), words, pace.scale)
            clocks = cuda_clocks(gpu.cupy, pace.turn_seconds)
            yield Suite(device, chosen, gpu, clocks, pace.scale, pace.turns)
    else:
        from .host.rows import rows as host_rows

        chosen = choose(host_rows(), words, pace.scale)
        wall = WallClock(turn_seconds=pace.turn_seconds, settle_seconds=pace.settle_seconds)
        host_clocks = {"wall": wall, "reported": ReportedClock()}
        yield Suite(device, chosen, Peers(compiles=pace.compiles), host_clocks, pace.scale, pace.turns)


def cuda_clocks(cupy: Any, turn_seconds: float) -> dict[str, Clock]:
    """The clocks of CuPy's current stream."""
    wait = cupy.cuda.get_current_stream().synchronize
    return {
        "kernel": KernelClock(cupy),
        "call": CallClock(wait),
        "wall": WallClock(wait, turn_seconds),
        "reported": ReportedClock(),
    }


def choose(rows: list[Row], words: list[str], scale: float) -> list[Row]:
    """Rows whose topic or name holds one of the words; all of them where there are no words."""
    return [
        row
        for row in rows
        if not words or any(word in f"{row.topic}: {row.name_at(scale)}" for word in words)
    ]
