"""What ours has to reach, as ratios within one run."""

from dataclasses import dataclass
from typing import Literal

from .race import Race
from .runner import OURS

EVERY_PEER = "every peer"


@dataclass(frozen=True)
class Bar:
    """One thing that ours has to reach.

    Attributes
    ----------
    kind : str
        ``"limit"``: the share of the fastest limit, at least `needed`.
        ``"peer"``: how many times faster ours is than the peers `against`, at least `needed`.
        ``"cost"``: how many times the time of the runners `against` ours takes, at most `needed`.
        ``"seconds"``: the time of ours, at most `needed`.
    needed : float
        Where the bar lies.
    against : str
        How the names of the runners begin that count, of which the fastest does; or `EVERY_PEER`, which
        leaves out other ways of ours.
    """

    kind: Literal["limit", "peer", "cost", "seconds"]
    needed: float
    against: str = ""


@dataclass(frozen=True)
class Verdict:
    """A bar and what was measured; `got` is None where a runner that it needs is missing."""

    bar: Bar
    got: float | None

    @property
    def is_met(self) -> bool | None:
        """Whether the bar is met, if that can be told."""
        if self.got is None:
            return None
        if self.bar.kind in ("limit", "peer"):
            return self.got >= self.bar.needed
        return self.got <= self.bar.needed

    def in_words(self) -> str:
        """As the table says it."""
        bar = self.bar
        got = "nothing to compare with" if self.got is None else f"{self.got:.3g}"
        words = {
            "limit": f"{got} of the limit, ≥ {bar.needed:.3g}",
            "peer": f"{got}x {bar.against}, ≥ {bar.needed:.3g}",
            "cost": f"{got} times {bar.against}, ≤ {bar.needed:.3g}",
            "seconds": f"{got} s, ≤ {bar.needed:.3g}",
        }
        return words[bar.kind]


def judge(bar: Bar, race: Race) -> Verdict:
    """Hold a race against a bar; a wrong answer of ours reaches nothing, a peer's does not count."""
    if race.timings[OURS].is_wrong:
        return Verdict(bar, 0.0 if bar.kind in ("limit", "peer") else float("inf"))
    if bar.kind == "seconds":
        return Verdict(bar, race.timings[OURS].median)
    if bar.kind == "limit":
        return Verdict(bar, None if race.limit is None else race.ratio(race.limit))
    ratios = [
        race.ratio(name) for name in race.peers if _counts(bar, name) and not race.timings[name].is_wrong
    ]
    if not ratios:
        return Verdict(bar, None)
    return Verdict(bar, 1 / min(ratios) if bar.kind == "cost" else min(ratios))


def _counts(bar: Bar, name: str) -> bool:
    return not name.startswith(OURS) if bar.against == EVERY_PEER else name.startswith(bar.against)
