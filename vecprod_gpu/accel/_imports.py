"""Doing something right after a module has been imported, without importing it.

It needs the standard library alone: the start-up hook loads it by its path, before NumPy is there.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from itertools import dropwhile, islice
from types import ModuleType
from typing import Any


class After(MetaPathFinder):
    """Waits for the first import of a module.

    Parameters
    ----------
    name : str
        Of the module.
    action : callable
        Called once it is imported. What it raises is told on standard error, and is no error of the import.

    Attributes
    ----------
    is_underway : bool
        Whether the import has begun and not ended.
    """

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self.name, self._action = name, action
        self.is_underway = False

    def begin(self) -> None:
        """Wait from now on; where the module is there already, act now."""
        if self.name in sys.modules:
            self.act()
        else:
            sys.meta_path.insert(0, self)

    def end(self) -> None:
        """Wait no more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def act(self) -> None:
        """Do what was waited for."""
        try:
            self._action()
        except Exception as error:
            complain(f"{type(error).__name__} after the import of {self.name}: {error}")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of the finders behind this one, with a loader that acts afterwards.

        Whoever asks may not import it: the wait ends with the import alone.
        """
        if fullname != self.name:
            return None
        behind = dropwhile(lambda finder: finder is not self, list(sys.meta_path))
        for finder in islice(behind, 1, None):
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, self)
                return spec
        return None


class _Loader(Loader):
    """A module's own loader, and an action after it."""

    def __init__(self, loader: Any, after: After) -> None:
        self._loader, self._after = loader, after

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        after = self._after
        after.is_underway = True
        try:
            self._loader.exec_module(module)
        finally:
            after.is_underway = False
        after.end()
        after.act()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def complain(problem: str) -> None:
    """Say on standard error that nothing is accelerated, and why."""
    print(f"vecprod_gpu.accel: nothing is accelerated: {' '.join(problem.split())}", file=sys.stderr)
