"""The libraries that ours is raced against: each is imported only if it is there."""

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def load(name: str) -> tuple[Any, str]:
    """The module, or None and the reason why it cannot take part."""
    try:
        return importlib.import_module(name), ""
    except Exception as error:  # a broken peer is a line in the report, never a failure
        return None, f"{type(error).__name__}: {error}"


def installed(*names: str) -> dict[str, str]:
    """Versions of those of the packages that are installed."""
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def threads() -> dict[str, int]:
    """Threads that each library would use: nobody is handicapped."""
    from vecprod_gpu.backends._threads import thread_count

    counts = {"ours": thread_count()}
    torch, _ = load("torch")
    if torch is not None:
        counts["torch"] = torch.get_num_threads()
    return counts
