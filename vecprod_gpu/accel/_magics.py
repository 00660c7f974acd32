"""The magics of a notebook: ``%%vecprod_gpu.accel.profile`` and ``%%vecprod_gpu.accel.line_profile``."""

from typing import Any

from ._profile import counting


def register(shell: Any) -> None:
    """Make the magics known to an IPython shell."""

    def profile(line: str, cell: str) -> None:
        with counting() as report:
            shell.run_cell(cell)
        report.print()

    def line_profile(line: str, cell: str) -> None:
        source = shell.transform_cell(cell)
        name = shell.compile.cache(source)  # under which its lines are known
        with counting(name) as report:
            try:
                exec(compile(source, name, "exec"), shell.user_ns)
            except Exception:
                shell.showtraceback()
        report.print()

    for function in (profile, line_profile):
        shell.register_magic_function(function, "cell", f"vecprod_gpu.accel.{function.__name__}")
