"""``python -m vecprod_gpu.accel``: whatever Python runs, as Python runs it."""

import pytest

from vecprod_gpu.accel import _command

MODULE = ("-m", "vecprod_gpu.accel")
TELL = """
import sys
import numpy as np
print(type(np.cross).__name__, __name__, sys.argv, sys.modules["__main__"].__dict__ is globals())
"""


@pytest.fixture
def script(tmp_path):
    """Write a script; its path."""

    def write(text, name="script.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_script(run, script):
    script("name = 'a neighbour'", "folder/beside.py")
    text = TELL + "import beside; print(beside.name, __file__, sys.path[0], __spec__)"
    path = script(text, "folder/script.py")
    ended = run(*MODULE, "-v", "folder/script.py", "-v", "--profile", "x")
    first, second = ended.stdout.splitlines()
    assert first == "Swapped __main__ ['folder/script.py', '-v', '--profile', 'x'] True"
    assert second == f"a neighbour {path} {path.parent} None"
    assert not ended.stderr


@pytest.mark.parametrize("words", [("-m", "program", "a", "-b"), ("-mprogram", "a", "-b")])
def test_a_module(words, run, script):
    path = script(TELL, "program.py")
    expected = f"Swapped __main__ {[str(path), 'a', '-b']} True\n"
    assert run(*MODULE, *words).stdout == expected


def test_a_package_and_a_folder(run, script):
    script("", "package/__init__.py")
    script(TELL, "package/__main__.py")
    assert run(*MODULE, "-m", "package").stdout.startswith("Swapped __main__")
    assert run(*MODULE, "package", "a").stdout == "Swapped __main__ ['package', 'a'] True\n"


def test_code(run):
    assert run(*MODULE, "-c", TELL, "a", "-v").stdout == "Swapped __main__ ['-c', 'a', '-v'] True\n"


@pytest.mark.parametrize(("words", "argv"), [((), [""]), (("-", "a"), ["-", "a"])])
def test_standard_input(words, argv, run):
    assert run(*MODULE, *words, text=TELL).stdout == f"Swapped __main__ {argv} True\n"


def test_a_prompt(run):
    code = """
import builtins, io, sys
from vecprod_gpu.accel import _command
typed = iter(["import numpy as np; a = 20", "print(type(np.cross).__name__, a + 22, __name__)"])
def type_a_line(prompt=""):
    line = next(typed, None)
    if line is None:
        raise EOFError
    return line
builtins.input = type_a_line
sys.stdin = io.StringIO()
sys.stdin.isatty = lambda: True
sys.exit(_command.main([]))
"""
    assert run("-c", code).stdout.strip() == "Swapped 42 __main__"


class TestEnds:
    def test_status(self, run):
        run(*MODULE, "-c", "raise SystemExit(7)", status=7)
        assert "sorry" in run(*MODULE, "-c", "raise SystemExit('sorry')", status=1).stderr

    def test_an_error_shows_the_programs_frames_alone(self, run, script):
        path = script("def f():\n    1 / 0\nf()\n")
        alone, ours = (run(*words, path, status=1).stderr for words in ((), MODULE))
        assert ours == alone
        assert "ZeroDivisionError" in ours

    def test_a_syntax_error(self, run, script):
        path = script("1 +\n")
        assert run(*MODULE, path, status=1).stderr.endswith("SyntaxError: invalid syntax\n")

    def test_a_missing_script(self, run):
        assert "can't open file 'nothing.py'" in run(*MODULE, "nothing.py", status=2).stderr

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (["-m"], "argument -m: expected one argument"),
            (["--colour", "x.py"], "unrecognized arguments: --colour"),
            (["--line-profile", "-c", "1"], "--line-profile needs a script"),
            (["--profile", "--line-profile", "x.py"], "not allowed with"),
        ],
    )
    def test_what_is_asked_for_in_vain(self, words, complaint, capsys):
        with pytest.raises(SystemExit) as ended:
            _command.main(words)
        assert ended.value.code == 2
        assert complaint in capsys.readouterr().err

    def test_a_level_that_is_none(self, monkeypatch, capsys):
        monkeypatch.setenv("VECPROD_ACCEL_LOG_LEVEL", "loud")
        assert _command.main(["-c", "1"]) == 2
        expected = "VECPROD_ACCEL_LOG_LEVEL is 'loud'; it can be debug, info, warning, error"
        assert capsys.readouterr().err == f"vecprod_gpu.accel: {expected}\n"

    def test_handlers_at_exit_find_their_module(self, run, script):
        path = script("import atexit\nvalue = 5\natexit.register(lambda: print(value))\n")
        assert run(*MODULE, path).stdout == "5\n"


def test_status(capsys):
    assert _command.main(["--status"]) is None
    told = capsys.readouterr().out
    assert told.startswith("VECPROD_ACCEL_ENABLED")
    assert told.count("\n") == 1


def test_verbosity(run, script):
    text = "import numpy as np\nfor _ in range(3): np.cross(np.ones(3, object), np.ones(3))\n"
    line = "[vecprod_gpu.accel] `np.cross` falling back to NumPy: object dtype is not supported\n"
    path = script(text)
    assert run(*MODULE, path).stderr == ""
    assert run(*MODULE, "-v", path).stderr == line
    assert run(*MODULE, "-vv", path).stderr == 3 * line
    assert run(*MODULE, path, VECPROD_ACCEL_LOG_LEVEL="debug").stderr == 3 * line


def test_chains_with_other_accelerators(run, script):
    """They run what follows ``-m`` as their main module, as this one does."""
    other = "import runpy, sys\nsys.argv[:] = sys.argv[2:] if sys.argv[1] == '-m' else sys.argv[1:]\n"
    other += "print('other first')\nname = sys.argv[0]\n"
    other += "run = runpy.run_path if name.endswith('.py') else runpy.run_module\n"
    other += "run(name, run_name='__main__', **({} if name.endswith('.py') else {'alter_sys': True}))\n"
    script(other, "other.py")
    script("import sys\nimport numpy as np\nprint(type(np.cross).__name__, sys.argv)\n", "x.py")
    expected = "other first\nSwapped ['x.py', 'a']\n"
    assert run("-m", "other", *MODULE, "x.py", "a").stdout == expected
    assert run(*MODULE, "-m", "other", "x.py", "a").stdout == expected
    assert run(*MODULE, *MODULE, "-m", "other", "x.py", "a").stdout == expected


def test_unbuffered_output_and_report_apart(run, script):
    text = "import numpy as np\nprint('its own')\nnp.cross(np.ones(3, object), np.ones(3))\n"
    ended = run(*MODULE, "--profile", script(text))
    assert ended.stdout == "its own\n"
    assert "0 of 1 calls accelerated (0 %)" in ended.stderr
    assert "object dtype is not supported" in ended.stderr


def test_a_report_follows_an_error(run):
    ended = run(*MODULE, "--profile", "-c", "import numpy as np; np.cross([1], [2])", status=1)
    assert "0 of 1 calls accelerated" in ended.stderr
    assert "ValueError: incompatible dimensions" in ended.stderr


def test_lines(run, script):
    text = """
import numpy as np
a = np.ones((50_000, 3))
def helper(b):
    return np.cross(b, a)
for _ in range(4):
    helper(a)
np.cross(a.astype(object)[:3], a[:3])
"""
    ended = run(*MODULE, "--line-profile", script(text), VECPROD_ACCEL_SIZES="any", COLUMNS="200")
    rows = (line.strip().split(maxsplit=5) for line in ended.stderr.splitlines())
    lines = {row[0]: row[3:] for row in rows if len(row) == 6}  # after the time and its unit
    assert lines["5"] == ["4", "0", "return np.cross(b, a)"]
    assert lines["8"] == ["0", "1", "np.cross(a.astype(object)[:3], a[:3])"]
