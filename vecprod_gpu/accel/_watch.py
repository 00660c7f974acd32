"""Who sees what was accelerated and what fell back: the log, and the ledger of a profile."""

import logging
import sys
import threading
from collections.abc import Callable
from time import perf_counter
from types import FrameType
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
        self._inside = threading.local()

    def keep(self, ledger: Ledger | None, script: str | None = None) -> None:
        """Count calls in a ledger, or nowhere; by source line too, where a script is named."""
        self._ledger, self._script = ledger, script
        self.refresh()

    def refresh(self) -> None:
        """Look again whether the log's level, or a ledger, wants to know of calls."""
        self.on = self._ledger is not None or logger.isEnabledFor(logging.INFO)

    def unseen(self, compute: Callable[[], Any]) -> Any:
        """What ours computes: calls of NumPy's functions in there are none of the program's."""
        if not self.on:
            return compute()
        before = getattr(self._inside, "is_ours", False)
        self._inside.is_ours = True
        try:
            return compute()
        finally:
            self._inside.is_ours = before

    def accelerated(self, function: str, backend: str, seconds: float) -> None:
        """A call ran on one of our backends."""
        self._see(function, True, backend, f"`{function}` accelerated on {backend}", seconds)

    def fell_back(self, function: str, reason: str, seconds: float) -> None:
        """A call was left to whom it was made to."""
        peer = _PEERS.get(function.partition(".")[0], "scikit-learn")
        self._see(function, False, reason, f"`{function}` falling back to {peer}: {reason}", seconds)

    def timed(
        self, function: str, reason: str, original: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """The call of an original, for a reason."""
        if not self.on:
            return original(*args, **kwargs)
        start = perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            self.fell_back(function, reason, perf_counter() - start)

    def _see(self, function: str, is_accelerated: bool, detail: str, words: str, seconds: float) -> None:
        """Log it, the first time for information and every time for whoever debugs; and count it."""
        if getattr(self._inside, "is_ours", False):
            return
        is_news = (function, detail) not in self._told
        self._told.add((function, detail))
        logger.log(logging.INFO if is_news else logging.DEBUG, words)
        if self._ledger is not None:
            self._ledger.add(Entry(function, is_accelerated, detail, self._line()), seconds)

    def _line(self) -> int:
        """The line of the script that a call comes from, however deep; 0 where it is none of it."""
        if self._script is None:
            return 0
        frame: FrameType | None = sys._getframe(3)
        while frame is not None:
            if frame.f_code.co_filename == self._script:
                return frame.f_lineno
            frame = frame.f_back
        return 0


watch = Watch()
