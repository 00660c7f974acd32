"""Who sees what was accelerated and what fell back: the log, and the ledger of a profile."""

import logging
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

from ._ledger import Entry, Ledger

logger = logging.getLogger("vecprod_gpu.accel")

_PEERS = {"np": "NumPy"}  # by how a function's name begins; all else is scikit-learn's


class Watch:
    """What happens at a call, beside the call.

    Attributes
    ----------
    on : bool
        Whether anybody looks; small calls ask for nothing else.
    """

    def __init__(self) -> None:
        self.on = False
        self._ledger: Ledger | None = None
        self._script: str | None = None
        self._told: set[tuple[str, str]] = set()

    def keep(self, ledger: Ledger | None, script: str | None = None) -> None:
        """Count calls in a ledger, or nowhere; by source line too, where a script is named."""
        self._ledger, self._script = ledger, script
        self.refresh()

    def refresh(self) -> None:
        """Look again whether the log's level, or a ledger, wants to know of calls."""
        self.on = self._ledger is not None or logger.isEnabledFor(logging.INFO)

    def accelerated(self, function: str, backend: str, seconds: float) -> None:
        """A call ran on one of our backends."""
        self._tell(function, backend, f"`{function}` accelerated on {backend}")
        self._count(Entry(function, True, backend, self._line()), seconds)

    def fell_back(self, function: str, reason: str, seconds: float) -> None:
        """A call was left to whom it was made to."""
        peer = _PEERS.get(function.partition(".")[0], "scikit-learn")
        self._tell(function, reason, f"`{function}` falling back to {peer}: {reason}")
        self._count(Entry(function, False, reason, self._line()), seconds)

    def timed(self, function: str, reason: str, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The call of an original, for a reason."""
        if not self.on:
            return original(*args, **kwargs)
        start = perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            self.fell_back(function, reason, perf_counter() - start)

    def _tell(self, function: str, what: str, words: str) -> None:
        """Log it: the first time for whoever wants information, and every time for whoever debugs."""
        if (function, what) in self._told:
            logger.debug(words)
        else:
            self._told.add((function, what))
            logger.info(words)

    def _count(self, entry: Entry, seconds: float) -> None:
        if self._ledger is not None:
            self._ledger.add(entry, seconds)

    def _line(self) -> int:
        """The line of the script that a call comes from, however deep; 0 where it is none of it."""
        if self._script is None:
            return 0
        frame = sys._getframe(2)
        while frame is not None:
            if frame.f_code.co_filename == self._script:
                return frame.f_lineno
            frame = frame.f_back  # type: ignore[assignment]
        return 0


watch = Watch()
