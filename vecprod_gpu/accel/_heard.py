"""Whether ``VECPROD_ACCEL_ENABLED`` is heard by the programs of an interpreter: what says so is a program."""

import os
import subprocess
import sys

from ._children import ENABLED, PATH, path_of_others
from ._startup import BEGUN


def is_heard() -> bool:
    """Whether an interpreter like this one, with the variable set, begins to wait for NumPy."""
    environment = {**os.environ, ENABLED: "1", PATH: os.pathsep.join(path_of_others())}
    question = f"import sys; sys.exit({BEGUN!r} not in sys.modules)"
    return not subprocess.run([sys.executable, "-c", question], env=environment, check=False).returncode


def in_words() -> str:
    """The same in one line, with what mends it."""
    if is_heard():
        return f"{ENABLED}=1 accelerates the programs of {sys.executable}"
    return f"{ENABLED} is ignored by the programs of {sys.executable}: install vecprod-gpu there with pip"
