"""The words of ``python -m vecprod_gpu.accel``: its own options, then a program as Python takes one."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import VecprodError
from . import _heard, _programs
from ._install import install
from ._profile import counting
from ._report import Report

Status = int | str | None
"""What `sys.exit` takes."""

BAD_INPUT = 2
LEVELS = (None, "info", "debug")  # by how often -v is given


def main(words: Sequence[str]) -> Status:
    """Run a program with ours installed.

    Parameters
    ----------
    words : sequence of str
        Of the command line, after the command's name.

    Returns
    -------
    int, str or None
        The program's own exit status, and 2 for bad input.
    """
    own, program = split(words)
    parser = _parser()
    options = parser.parse_args(own)
    if options.status:
        print(_heard.in_words())
        return None
    if options.line_profile and (not program or program[0] in ("-m", "-c", "-")):
        parser.error("--line-profile needs a script")
    run = partial(_programs.run, _program(program))
    try:
        install(LEVELS[min(options.v, 2)])
    except VecprodError as error:
        print(f"vecprod_gpu.accel: {error}", file=sys.stderr)
        return BAD_INPUT
    script = str(Path(program[0]).resolve()) if options.line_profile else None
    return _profiled(run, script) if options.profile or script else run()


def _profiled(run: Callable[[], Status], script: str | None) -> Status:
    """Run, and report however it ends."""
    report = Report()
    try:
        with counting(script) as report:
            return run()
    finally:
        report.print()


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own options, and the program with its arguments, in which all options are the program's."""
    for place, word in enumerate(words):
        if word in ("-", "-m", "-c") or not word.startswith("-"):
            return list(words[:place]), list(words[place:])
        if word[:2] in ("-m", "-c"):  # -mmodule, as Python takes it
            return list(words[:place]), [word[:2], word[2:], *words[place + 1 :]]
        if word == "--":
            return list(words[:place]), list(words[place + 1 :])
    return list(words), []


def _program(words: list[str]) -> Callable[[], Any]:
    """What the words after our own options ask to run."""
    if not words or words[0] == "-":
        if not words and sys.stdin.isatty():
            return _programs.Prompt()
        return _programs.StandardInput(words or [""])
    if words[0] not in ("-m", "-c"):
        return _programs.Script(words)
    if len(words) == 1:
        _parser().error(f"argument {words[0]}: expected one argument")
    if words[0] == "-m":
        return _programs.Module(words[1], words[2:])
    return _programs.Code(words[1], words[2:])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vecprod_gpu.accel",
        usage="%(prog)s [-v] [--profile | --line-profile] [SCRIPT | -m MODULE | -c CODE | -] [ARGUMENTS ...]",
        description="Run a Python program with NumPy's and scikit-learn's functions accelerated, as it is. "
        "Without a program, code is read from standard input, or typed at a prompt.",
        epilog="It can run other accelerators and be run by them: "
        "python -m cudf.pandas -m vecprod_gpu.accel script.py",
    )
    parser.add_argument(
        "-v", action="count", default=0, help="log why calls fell back, each reason once; -vv: log every call"
    )
    profiles = parser.add_mutually_exclusive_group()
    profiles.add_argument(
        "--profile", action="store_true", help="report on standard error what was accelerated, and what not"
    )
    profiles.add_argument(
        "--line-profile", action="store_true", help="the same, and for each line of the script"
    )
    parser.add_argument(
        "--status",
        action="store_true",
        help="say whether VECPROD_ACCEL_ENABLED=1 accelerates the programs of this Python, and end",
    )
    return parser
