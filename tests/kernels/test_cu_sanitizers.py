"""The .cu kernels under the address and undefined-behaviour sanitizers, each run in its own process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import sys
import numpy as np
from tests.kernels import checks
from tests.shim import fake_cupy

calls, correct, wrong = sys.argv[1:]
with fake_cupy.install(sanitize=True, edit=lambda source: source.replace(correct, wrong)) as cupy:
    getattr(checks, f"every_{calls}")(cupy, np.random.default_rng(0))
print("clean")
"""


def sanitized(calls, correct="", wrong=""):
    """Run all kernels of a kind, with some text of the source replaced; returns what the process printed."""
    runtime = subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = {
        **os.environ,
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter's own
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", SCRIPT, calls, correct, wrong]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("calls", ["product", "measure", "normal", "moment", "regression", "walk"])
def test_no_kernel_oversteps(calls):
    assert "clean" in sanitized(calls).splitlines()


@pytest.mark.parametrize(
    ("calls", "correct", "wrong", "complaint"),
    [
        (
            "product",
            "i < count; i += threads_in_grid())\n        store",
            "i <= count; i += threads_in_grid())\n        store",
            "heap-buffer-overflow",
        ),
        (
            "regression",
            "layout.weights = layout.scratch + scratch;",
            "layout.weights = layout.scratch + scratch + 1;",
            "use-after-poison",
        ),
        ("product", "% sizeof(uint4) == 0;", "% 4 == 0;", "misaligned address"),
        (
            "product",
            "sums[lane * slots + slot] = sum;",
            "sums[lane * slots + slot + 1] = sum;",
            "use-after-poison",
        ),
        ("normal", "place < 3 * mesh.face_count;", "place <= 3 * mesh.face_count;", "heap-buffer-overflow"),
        ("normal", "smaller(place + 1, length - 1)", "place + 1", "heap-buffer-overflow"),
        ("moment", "unsigned(x) / unsigned(y)); }", "unsigned(x) / unsigned(y - y)); }", "division by zero"),
    ],
)
def test_a_planted_overstep_is_caught(calls, correct, wrong, complaint):
    assert complaint in sanitized(calls, correct, wrong)
