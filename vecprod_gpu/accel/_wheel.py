"""The build of the package: it adds the file by which ``VECPROD_ACCEL_ENABLED`` is heard.

Every interpreter of an environment runs those lines of the ``.pth`` files in its ``site-packages`` that begin
with ``import`` (the documentation of `site`).  Setuptools has no setting for such a file, so that its command
writes it.  It loads this module by its path, when nothing else of the package can be imported yet.
"""

from pathlib import Path

from setuptools.command.build_py import build_py

NAME = "vecprod_gpu_accel.pth"

# The package is found, but not imported: that would import NumPy.  In a virtual environment `site` runs each
# line twice, so that a complaint leaves a mark.
_BEGIN = """
import importlib.util, runpy, sys
try:
    spec = importlib.util.find_spec("vecprod_gpu")
    if spec is None:
        raise ModuleNotFoundError("No module named 'vecprod_gpu'")
    runpy.run_path(spec.submodule_search_locations[0] + "/accel/_startup.py")["begin"]()
except Exception as error:
    if not hasattr(sys, "_vecprod_gpu_told"):
        sys._vecprod_gpu_told = True
        words = f"{type(error).__name__}: {error}"
        print("vecprod_gpu.accel: nothing is accelerated:", *words.split(), file=sys.stderr)
"""

LINE = f'import os; "VECPROD_ACCEL_ENABLED" in os.environ and exec({_BEGIN!r})\n'
"""What each interpreter runs; where the variable is not set, the time goes into the parsing of it."""


class BuildPy(build_py):  # type: ignore[misc]
    """The command ``build_py``, with the file beside the package."""

    def run(self) -> None:
        """Build, and write the file."""
        super().run()
        Path(self._beside()).write_text(LINE, encoding="ascii")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """What is built; of an editable wheel nothing else is."""
        outputs: list[str] = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, self._beside()]

    def _beside(self) -> str:
        """Where the file goes; in an editable wheel, which the package itself is no part of, to its top."""
        folder = self.get_finalized_command("install").install_lib if self.editable_mode else self.build_lib
        return str(Path(folder, NAME))
