"""Jobs in processes of their own, which can be slowed down, killed and measured."""

import os
import re
import subprocess
import sys
from pathlib import Path

SMALL = 1 << 13
"""Bytes of the batches, segments and blocks of jobs that are slowed down."""

# Runs the command; batches are small, and each takes as long as the first argument says.
PROGRAM = """
import sys, time
from vecprod_gpu.linreg._streaming import streamed
from vecprod_gpu.stream import _memory, _observations, _prediction
from vecprod_gpu.cli import main
pause, small = float(sys.argv[1]), int(sys.argv[2])
if pause:
    streamed.SEGMENT_BYTES = _memory.MOST_BATCH_BYTES = _prediction.BLOCK_BYTES = small
whole = _observations.StoredObservations.batches
def batches(self, first_row, most_bytes):
    for batch in whole(self, first_row, most_bytes):
        time.sleep(pause)
        yield batch
_observations.StoredObservations.batches = batches
status = main(sys.argv[3:])
try:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(peak.split()[1], file=open("peak", "w"))
except OSError:
    pass
sys.exit(status)
"""


def begin(folder: Path, *arguments: object, pause: float = 0.0, backend: str = "") -> subprocess.Popen[str]:
    """Begin a command in a folder; ``reference``, which loads no Numba, is the quickest to begin."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(pause), str(SMALL), *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "VECPROD_BACKEND": backend},
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Its exit status, its standard output and its standard error."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def kept(folder: Path) -> list[str]:
    """Temporary files that are left."""
    return [path.name for path in folder.iterdir() if re.fullmatch(r"\.vecprod-.*", path.name)]


class Kill(BaseException):
    """What nothing clears up after."""


def die(*_: object) -> None:
    """Take the place of a step before which a job is to be killed."""
    raise Kill
