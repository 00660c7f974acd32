"""What children of this process inherit: a start-up hook on their path, and where they count.

Environment variables carry it, so that it reaches workers of every start method, pools of other libraries and
any interpreter that is started without ``-I``, ``-E`` or ``-S``.
"""

import os
from pathlib import Path

ENABLED = "VECPROD_ACCEL_ENABLED"
COUNTS = "VECPROD_ACCEL_COUNTS"
SCRIPT = "VECPROD_ACCEL_SCRIPT"
PATH = "PYTHONPATH"
STARTUP = str(Path(__file__).parent / "startup")


def path_of_others() -> list[str]:
    """What the path of modules names beside our hook."""
    return [part for part in os.environ.get(PATH, "").split(os.pathsep) if part not in ("", STARTUP)]


class Environment:
    """Variables that were set, and what they were before."""

    def __init__(self) -> None:
        self._before: dict[str, str | None] = {}

    def set(self, **variables: str) -> None:
        """Set variables."""
        for name, value in variables.items():
            self._before.setdefault(name, os.environ.get(name))
            os.environ[name] = value

    def restore(self) -> None:
        """Set all of them to what they were."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before.clear()

    def invite(self) -> None:
        """Have children install what this process installed."""
        self.set(**{ENABLED: "1", PATH: os.pathsep.join([STARTUP, *path_of_others()])})
