"""Ours beside every peer that is installed and beside the machine's own limit, in one run.

``vecprod bench`` runs it.  `race` times the runners of one row in rotating order, by one of the `clocks`;
``host`` and ``cuda`` say what is raced on a CPU and on a GPU; `suite` runs their rows.
"""

from .race import Race, run
from .runner import Runner

__all__ = ["Race", "Runner", "run"]
