"""The folder where Numba keeps what it compiled: where it is, who may use it, and that it may fail.

Numba picks the name of a new file from an index that it read a moment before.  Two processes that compile
different types at the same time can pick one name, and both will then trust the index: a later process
loads code of another type under the right signature, and crashes.  A lock on the folder orders them.
"""

import functools
import hashlib
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numba

import vecprod_gpu.kernels as kernels
from vecprod_gpu import _user_cache

from . import _forks

try:
    import fcntl
except ImportError:  # not on Windows, where nothing orders the processes
    fcntl = None  # type: ignore[assignment]

# A full disk, a folder that vanished, a file that a crash left half written.
ERRORS = (OSError, EOFError, pickle.UnpicklingError)

_in_use = threading.RLock()
_depth = 0  # how often the thread inside has entered


def follow_compiler_lock() -> None:
    """Let forks wait for the folder, once they wait for the lock that is taken before it."""
    _forks.wait_for(_in_use)


@contextmanager
def folder() -> Iterator[None]:
    """A folder for what is decorated meanwhile: in the user's cache folder, or in NUMBA_CACHE_DIR.

    Numba's own choice lies beside the source, where the files outlive ``pip uninstall`` and keep the
    package's folder: without its ``__init__.py`` that hides the next editable installation.
    """
    numba.config.reload_config()  # which a compilation would do meanwhile, and so lose the folder
    chosen, own = numba.config.CACHE_DIR, folder_of_sources()
    numba.config.CACHE_DIR = str(own)
    try:
        with _sole_use(own):
            yield
    finally:
        numba.config.CACHE_DIR = chosen


def folder_of_sources() -> Path:
    """Where the files lie for what is compiled from the sources as they are."""
    return Path(numba.config.CACHE_DIR or _user_cache.folder()) / _state_of_sources()


def forgiving(dispatcher: Any) -> Any:
    """The dispatcher, which compiles later, with a cache whose failures cost a compilation and no more."""
    cache: Any = getattr(dispatcher, "_cache", None)
    path = getattr(cache, "cache_path", None)
    if path is not None:
        place = Path(path).parent  # Numba keeps a folder for each folder of sources
        cache.load_overload = _guarded(cache.load_overload, place)
        cache.save_overload = _guarded(cache.save_overload, place)
    return dispatcher


def _state_of_sources() -> str:
    """A name for each state of the sources: Numba looks at a function's own file, not at those it calls."""
    folders = (Path(file).parent for file in (__file__, kernels.__file__))
    sources = sorted(source for folder in folders for source in folder.glob("*.py"))
    stats = [source.stat() for source in sources]
    states = [
        (source.name, _digest(source, stat.st_mtime_ns, stat.st_size))
        for source, stat in zip(sources, stats, strict=True)
    ]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]


@functools.cache
def _digest(source: Path, modified: int, size: int) -> str:
    """Of what a file holds, read again if it changed: an image of a container keeps its times in seconds."""
    return hashlib.sha256(source.read_bytes()).hexdigest()


def _guarded(access: Callable[..., Any], place: Path) -> Callable[..., Any]:
    def attempt(*arguments: Any) -> Any:
        try:
            with _sole_use(place):
                return access(*arguments)
        except (*ERRORS, RuntimeError):  # the last where Numba has lost the code that it is to write
            return None

    return attempt


@contextmanager
def _sole_use(place: Path) -> Iterator[None]:
    """Keep other threads and processes out, where the folder can hold a lock; one may enter again."""
    global _depth
    with _in_use:
        _depth += 1
        try:
            with _locked(place) if _depth == 1 else nullcontext():
                yield
        finally:
            _depth -= 1


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    handle = None
    if fcntl is not None:
        with suppress(OSError):  # a folder that cannot be written, or a file system without locks
            place.mkdir(parents=True, exist_ok=True)
            handle = (place / "lock").open("ab")
            fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            handle.close()  # which gives the lock back
