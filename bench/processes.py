"""The first call of a process, which needs processes of its own."""

import os
import subprocess
import sys
import tempfile

_PROGRAM = """
import time
started = time.perf_counter()
{}
print(time.perf_counter() - started)
"""


def first_call(statement: str, empty_cache: str | None = None) -> float:
    """Seconds that a statement takes in a fresh interpreter, what it imports included.

    Parameters
    ----------
    statement : str
        What the process does.
    empty_cache : str, optional
        A variable that names a cache of compiled code; it is set to an empty folder.
    """
    with tempfile.TemporaryDirectory() as empty:
        environment = os.environ | ({empty_cache: empty} if empty_cache else {})
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as if installed, when pip has compiled the sources
        command = [sys.executable, "-c", _PROGRAM.format(statement)]
        finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(finished.stdout)
