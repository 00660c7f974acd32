"""Running a program in this process as Python itself would: as ``__main__``, with its own arguments."""

import builtins
import code
import io
import runpy
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = str(Path(__file__).parent)


def run(program: Callable[[], Any]) -> int | str | None:
    """Run it; the exit status that it ends with. An error's traceback begins with the program's frames."""
    try:
        program()
    except SystemExit as end:
        return end.code
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        error = error.with_traceback(_outside(error.__traceback__))
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return None


class Script:
    """A file, a folder or an archive, and its arguments."""

    def __init__(self, words: list[str]) -> None:
        self._words = words

    def __call__(self) -> None:
        path = Path(self._words[0])
        sys.argv[:] = self._words
        if path.is_dir() or path.suffix in (".zip", ".pyz"):
            runpy.run_path(str(path), run_name="__main__")
            return
        try:
            with io.open_code(str(path.absolute())) as file:
                source = file.read()
        except OSError as error:
            print(f"{sys.executable}: can't open file {str(path)!r}: {error.strerror}", file=sys.stderr)
            sys.exit(2)
        sys.path[0] = str(path.resolve().parent)
        name = str(path.resolve())
        _execute(compile(source, name, "exec", dont_inherit=True), __file__=name, __cached__=None)


class Module:
    """A module or a package, and its arguments."""

    def __init__(self, name: str, words: list[str]) -> None:
        self._name, self._words = name, words

    def __call__(self) -> None:
        sys.argv[:] = [self._name, *self._words]
        runpy.run_module(self._name, run_name="__main__", alter_sys=True)


class Code:
    """Code given as text, and its arguments."""

    def __init__(self, text: str, words: list[str]) -> None:
        self._text, self._words = text, words

    def __call__(self) -> None:
        sys.argv[:] = ["-c", *self._words]
        sys.path[0] = ""
        _execute(compile(self._text, "<string>", "exec", dont_inherit=True))


class StandardInput:
    """Code on standard input, and its arguments."""

    def __init__(self, words: list[str]) -> None:
        self._words = words

    def __call__(self) -> None:
        sys.argv[:] = self._words
        sys.path[0] = ""
        _execute(compile(sys.stdin.read(), "<stdin>", "exec", dont_inherit=True))


class Prompt:
    """An interactive prompt."""

    def __call__(self) -> None:
        sys.argv[:] = [""]
        sys.path[0] = ""
        with suppress(ImportError):
            import readline  # noqa: F401 - gives the prompt its editing
        code.interact(local=vars(_main_module()), exitmsg="")


def _execute(compiled: Any, **attributes: Any) -> None:
    """Run code as the module ``__main__``, which stays in place for what runs at the end."""
    exec(compiled, vars(_main_module(**attributes)))


def _main_module(**attributes: Any) -> ModuleType:
    main = ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __spec__=None, **attributes)
    sys.modules["__main__"] = main
    return main


def _outside(trace: Any) -> Any:
    """The traceback without the frames that lead to the program; all of it where none is the program's."""
    for frame, _ in traceback.walk_tb(trace):
        name = frame.f_code.co_filename
        if not name.startswith(HERE) and "runpy" not in name:
            break
        trace = trace.tb_next
    return trace
