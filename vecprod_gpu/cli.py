"""The command ``vecprod``: its exit status, its one-line errors, and nothing else.

The commands themselves are in ``_commands``, which needs typer and rich; this module imports on any
installation, so that a missing package ends in a line that names the remedy.
"""

import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

from vecprod_gpu._words import in_one_line
from vecprod_gpu.errors import BadInputError, VecprodError

SUCCESS, FAULT, BAD_INPUT, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143

# By the module that is missing: its package, and the extra that brings it.
_PACKAGES = {
    "matplotlib": ("matplotlib", "demo"),
    "PIL": ("pillow", "demo"),
    "dask": ("dask", "dask"),
    "distributed": ("distributed", "dask"),
    "pyarrow": ("pyarrow", "stream"),
    "rich": ("rich", "demo"),
    "sklearn": ("scikit-learn", "demo"),
    "typer": ("typer", "demo"),
    "zarr": ("zarr", "stream"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after the command's name; ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        0, 2 for bad input, 1 for a fault; 130 and 143 after SIGINT and SIGTERM.
    """
    signal.signal(signal.SIGTERM, _end_on_signal)
    try:
        return _run_with_warnings(sys.argv[1:] if arguments is None else arguments)
    except VecprodError as error:
        return _complain(error, BAD_INPUT)
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in _PACKAGES:
            raise
        package, extra = _PACKAGES[module]
        return _complain(f'{package} is not installed; run: pip install "vecprod-gpu[{extra}]"', BAD_INPUT)
    except MemoryError as error:
        return _complain(f"not enough memory: {error}", FAULT)
    except OSError as error:
        return _complain(error, FAULT)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)


def _run_with_warnings(arguments: Sequence[str]) -> int:
    """Run, and afterwards print each warning in one line; an error's own line stands alone."""
    with warnings.catch_warnings(record=True) as given:
        status = _run(arguments)
    for warning in given:
        print("vecprod: warning:", in_one_line(warning.message), file=sys.stderr)
    return status


def _run(arguments: Sequence[str]) -> int:
    import typer

    from vecprod_gpu._commands import app

    # Typer carries a copy of click or depends on it, by its version; either way the error about the
    # command line is the parent of the one error class of theirs that it exports.
    usage_error: Any = typer.BadParameter.__base__
    try:
        status = app(arguments, prog_name="vecprod", standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except usage_error as error:
        raise BadInputError(f"{error.format_message()} (vecprod --help lists what there is)") from None
    return status or SUCCESS


def _complain(problem: object, status: int) -> int:
    """Print one line on standard error, and hand back the exit status that goes with it."""
    print("vecprod:", in_one_line(problem), file=sys.stderr)
    return status


def _end_on_signal(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # a second one is not to disturb the clearing up
    sys.exit(TERMINATED)
