"""With Numba absent or broken, everything works on the backend `reference`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PUBLIC = ("products", "linreg", "fit")

BLOCKED = "import sys; sys.modules['numba'] = sys.modules['llvmlite'] = None\n"  # as if not installed
RUN_PYTEST = "import pytest; sys.exit(pytest.main(sys.argv[1:]))"

FALLS_BACK = """
import numpy as np
import vecprod_gpu as vp

status = vp.backends()["cpu"]
assert not status.available
print(status.reason)
print(status.remedy)
choice = vp.explain(vp.gram, np.ones((4, 3)))
assert choice.backend == "reference" and status.reason in choice.reason, choice
assert vp.cross([1, 2, 3], [4, 5, 6]).tolist() == [-3, 6, -3]
try:
    with vp.use_backend("cpu"):
        raise SystemExit("cpu can be used")
except vp.errors.BackendUnavailableError as error:
    assert status.reason in str(error) and status.remedy in str(error), error
"""


def run(*arguments, **environment):
    """Run Python in the repository."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_public_functions_pass_their_tests_on_reference():
    files = [f"tests/test_{name}.py" for name in PUBLIC]
    options = ("-q", "-p", "no:cacheprovider")
    ended = run("-c", BLOCKED + RUN_PYTEST, *options, *files, VECPROD_TEST_BACKENDS="reference")
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr
    assert int(ended.stdout.split(" passed")[0].split()[-1]) > 50
    assert "skipped" not in ended.stdout.splitlines()[-1]


def test_a_missing_numba_is_named_with_its_remedy():
    ended = run("-c", BLOCKED + FALLS_BACK)
    assert ended.returncode == 0, ended.stderr
    reason, remedy = ended.stdout.splitlines()
    assert "numba" in reason
    assert remedy.startswith("pip install ")
    assert "numba" in remedy


@pytest.mark.parametrize("error", ["ImportError('Numba needs NumPy 1.0 or less')", "OSError('no LLVM')"])
def test_a_broken_numba_is_told_with_its_own_words(error, tmp_path):
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text(f"raise {error}\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    ended = run("-c", FALLS_BACK, PYTHONPATH=path)
    assert ended.returncode == 0, ended.stderr
    assert error.split("'")[1] in ended.stdout.splitlines()[0]
