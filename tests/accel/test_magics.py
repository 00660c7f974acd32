"""The extension of IPython and its magics, in a shell of another process."""

SHELL = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors="nocolor")
shell.run_line_magic("load_ext", "vecprod_gpu.accel")
shell.run_cell("import numpy as np\\nthree = np.array([1, 2, 3], object)")
"""


def test_a_profile(run):
    ended = run(
        "-c",
        SHELL
        + r"""
shell.run_cell("%%vecprod_gpu.accel.profile\nfor _ in range(3):\n    np.cross(three, three)\nkept = 5")
assert shell.user_ns["kept"] == 5
""",
    )
    assert "0 of 3 calls accelerated" in ended.stderr


def test_lines(run):
    ended = run(
        "-c",
        SHELL
        + r"""
shell.run_cell("%%vecprod_gpu.accel.line_profile\nfor _ in range(3):\n    np.cross(three, three)\nkept = 5")
assert shell.user_ns["kept"] == 5
shell.run_cell("%%vecprod_gpu.accel.line_profile\nnp.cross(three, nothing)")
""",
        COLUMNS="120",
    )
    rows = [line.split()[:1] + line.split()[3:] for line in ended.stderr.splitlines()]
    assert ["2", "0", "3", "np.cross(three,", "three)"] in rows
    assert "NameError" in ended.stdout


def test_unloading(run):
    ended = run(
        "-c",
        SHELL
        + r"""
import numpy as np
print(type(np.cross).__name__)
shell.run_line_magic("unload_ext", "vecprod_gpu.accel")
print(type(np.cross).__name__)
""",
    )
    assert ended.stdout.split() == ["Swapped", "_ArrayFunctionDispatcher"]
