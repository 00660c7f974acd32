"""The libraries that ours is raced against: each is imported only if it is there."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .runner import Runner

PACKAGES = (
    *("vecprod-gpu", "numpy", "numba", "numba-cuda", "cupy-cuda13x", "cupy-cuda12x"),
    *("torch", "jax", "jaxlib", "numexpr", "scikit-learn", "matplotlib"),
)

XLA_THREADS = "tf_XLAEigen"
TAKES_SECONDS = "it needs seconds for each function, and takes part in full runs only"


def load(name: str) -> tuple[Any, str]:
    """The module, or None and the reason why it cannot take part."""
    try:
        return importlib.import_module(name), ""
    except Exception as error:  # a broken peer is a line in the report, never a failure
        return None, f"{type(error).__name__}: {error}"


@dataclass
class Peers:
    """The peers' modules on the CPU, and why some are missing.

    Attributes
    ----------
    missing : dict of str to str
        Peers that cannot take part in the row, and why.
    compiles : bool
        Whether torch.compile takes part, which needs seconds for each function.
    """

    missing: dict[str, str] = field(default_factory=dict)
    compiles: bool = True

    def torch(self, make: Callable[[Any], Iterator[Runner]]) -> list[Runner]:
        """Runners that need torch."""
        return self._with("torch", make)

    def jax(self, make: Callable[[Any], Iterator[Runner]]) -> list[Runner]:
        """Runners that need JAX, which is told to leave a GPU alone."""

        def on_the_cpu(jax: Any) -> Iterator[Runner]:
            jax.config.update("jax_default_device", jax.devices("cpu")[0])
            yield from make(jax)

        return self._with("jax", on_the_cpu)

    def sklearn(self, make: Callable[[Any], Iterator[Runner]]) -> list[Runner]:
        """Runners that need scikit-learn."""
        return self._with("sklearn", make)

    def numexpr(self, make: Callable[[Any], Iterator[Runner]]) -> list[Runner]:
        """Runners that need numexpr."""
        return self._with("numexpr", make)

    def compiled(self, torch: Any, function: Callable[..., Any], *tensors: Any) -> Iterator[Runner]:
        """What torch.compile makes of a function, on these tensors."""
        if not self.compiles:
            self.missing["torch.compile"] = TAKES_SECONDS
            return
        torch.compiler.reset()  # else the ninth size of one function would be left uncompiled
        compiled = torch.compile(function, dynamic=False)
        yield Runner("torch.compile", lambda: compiled(*tensors))

    def release(self) -> None:
        """Nothing is held from one row to the next."""

    def machine(self) -> dict[str, Any]:
        """Nothing beside what is told of every machine."""
        return {}

    def _with(self, name: str, make: Callable[[Any], Iterator[Runner]]) -> list[Runner]:
        module, why = load(name)
        if module is None:
            self.missing[name] = why
            return []
        return list(make(module))


def installed(*names: str) -> dict[str, str]:
    """Versions of those of the packages that are installed."""
    versions = {}
    for name in names or PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def threads() -> dict[str, int]:
    """Threads that each library uses: nobody is handicapped.

    XLA tells of its threads nowhere: those that run are counted, and none are before its first computation.
    """
    from vecprod_gpu.backends._cpu.threads.pools import thread_count

    counts = {"ours": thread_count()}
    torch, _ = load("torch")
    if torch is not None:
        counts["torch"] = torch.get_num_threads()
    numexpr, _ = load("numexpr")
    if numexpr is not None:
        counts["numexpr"] = numexpr.get_num_threads()
    if xla := _threads_named(XLA_THREADS):
        counts["XLA"] = xla
    return counts | _library_pools()


def _library_pools() -> dict[str, int]:
    """Of every BLAS and OpenMP library that is loaded, such as ``"openblas of numpy.libs"``."""
    threadpoolctl, _ = load("threadpoolctl")
    pools = [] if threadpoolctl is None else threadpoolctl.threadpool_info()
    return {
        f"{pool['internal_api']} of {Path(pool['filepath']).parent.name}": pool["num_threads"]
        for pool in pools
    }


def _threads_named(beginning: str) -> int:
    """Threads of this process with such a name, where the system tells names: Linux."""
    names = Path("/proc/self/task").glob("*/comm")
    return sum(_text(name).startswith(beginning) for name in names)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # a thread that has ended meanwhile
        return ""
