"""The folder where Numba keeps what it compiled: where it is, who may use it, and that it may fail.

Numba picks the name of a new file from an index that it read a moment before.  Two processes that compile
different types at the same time can pick one name, and both will then trust the index: a later process
loads code of another type under the right signature, and crashes.  A lock on the folder orders them.
"""

import hashlib
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
from numba.core import environment
from numba.core.caching import FunctionCache, NullCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.runtime import _nrt_python

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


class LateFiles(NullCache):  # type: ignore[misc]
    """The files of one function of the host, looked for when it is first called: most never are.

    Parameters
    ----------
    function : callable
        What is compiled.
    kind : type, default FunctionCache
        Numba's cache of what it makes of it.
    """

    def __init__(self, function: Callable[..., Any], kind: type = FunctionCache) -> None:
        self._function, self._kind = function, kind

    @property
    def cache_path(self) -> Any:
        """Where Numba keeps the files; None where no folder can be written."""
        return self._files.cache_path

    def load_overload(self, signature: Any, context: Any) -> Any:
        """What was compiled for these types, or None."""
        files = self._files
        with _loading(context):
            compiled = files.load_overload(signature, context)
        if compiled is None:
            context.refresh()  # for the compilation that follows: that of a ufunc's loop does not ask for it
        return compiled

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep what was compiled for these types."""
        self._files.save_overload(signature, compiled)

    def flush(self) -> None:
        """Forget what was kept."""
        self._files.flush()

    @cached_property
    def _files(self) -> Any:
        def opened(can_be_kept: bool) -> Any:
            return self._kind(self._function) if can_be_kept else NullCache()

        return forgiving(cached(opened))


def cached(build: Callable[[bool], Any]) -> Any:
    """``build(True)``, whose files lie in `folder`, or ``build(False)`` where none can be written.

    Numba raises RuntimeError when it finds no writable place beside the source, in the user's cache
    folder or in NUMBA_CACHE_DIR.
    """
    # A build imports modules of Numba too: a fork waits for all of it.
    with global_compiler_lock, _in_folder():
        try:
            return build(True)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
        except ERRORS:
            pass
        return build(False)


def forgiving(files: Any) -> Any:
    """A cache of Numba's, whose failures cost a compilation and no more."""
    if files.cache_path is not None:
        place = Path(files.cache_path).parent  # Numba keeps a folder for each folder of sources
        files.load_overload = _guarded(files.load_overload, place)
        files.save_overload = _guarded(files.save_overload, place)
    return files


@contextmanager
def _loading(context: Any) -> Iterator[None]:
    """Let Numba load what it compiled for the host without all that it compiles with.

    It would import that first, scipy's linear algebra included, which takes longer than its own import, and
    compile the functions that compiled code has in itself. The caller holds the compiler's lock.
    """
    rebuild, code = environment._rebuild_env, context.codegen()
    context.refresh = _show_runtime  # in place of the method, which a compilation needs
    code._library_class = _Library  # in place of that of its class
    environment._rebuild_env = _environment
    try:
        yield
    finally:
        del context.refresh, code._library_class
        environment._rebuild_env = rebuild


class _Library(JITCodeLibrary):  # type: ignore[misc]
    """Code that was kept, whose bitcode is parsed once another function is to have it in itself.

    Most never is, and parsing it would take twice as long as all else that a load does.
    """

    _shared_module: Any

    @classmethod
    def _unserialize(cls, codegen: Any, state: Any) -> Any:
        name, kind, code = state
        if kind != "object":
            return super()._unserialize(codegen, state)
        machine_code, bitcode = code
        library = super()._unserialize(codegen, (name, kind, (machine_code, _no_bitcode())))
        library._shared_module, library._machine_code, library._bitcode = None, machine_code, bitcode
        return library

    def get_pointer_to_function(self, name: str) -> Any:
        """Its address; 0 where there is none of that name, for which the engine must not be asked."""
        if name.encode() + b"\0" in self._machine_code:  # whose symbols end so in any format of object files
            self._codegen._engine._defined_symbols.add(name)
        return super().get_pointer_to_function(name)

    def _get_module_for_linking(self) -> Any:
        if self._shared_module is None:
            self._shared_module = llvmlite.binding.parse_bitcode(self._bitcode)
        return self._shared_module


@cache
def _no_bitcode() -> bytes:
    return llvmlite.binding.parse_assembly("").as_bitcode()  # type: ignore[no-any-return]


@cache
def _show_runtime() -> None:
    """Show compiled code what it calls: the functions of Numba's runtime that are written in C."""
    for name, address in _nrt_python.c_helpers.items():
        llvmlite.binding.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)


def _environment(module: str, constants: list[Any], name: str) -> Any:
    """The constants of a compiled function, as Numba makes it, but without the import of its module.

    Code that runs Python looks for names there; there is none of it in this package.
    """
    found = environment.lookup_environment(name)
    if found is None:
        imported = sys.modules.get(module)
        found = environment.Environment({"__name__": module} if imported is None else vars(imported))
        found.consts[:] = constants
        found.env_name = name
        environment.Environment._memo[name] = found
    return found


def folder() -> Path:
    """Where this process keeps what it compiles: in the user's cache folder, or in NUMBA_CACHE_DIR."""
    return Path(numba.config.CACHE_DIR or _user_cache.folder()) / _STATE


def state_of(*folders: Path) -> str:
    """A name for each state of the sources: Numba looks at a function's own file, not at those it calls.

    It is of what they hold, since an image of a container keeps their times in seconds.
    """
    state = hashlib.sha256()
    for each in folders:
        for source in sorted(each.rglob("*.py")):
            contents = source.read_bytes()
            state.update(f"{source.relative_to(each).as_posix()} {len(contents)}\n".encode() + contents)
    return state.hexdigest()[:16]


# As they are when they are imported: who changes one later compiles the former one until the process ends.
_STATE = state_of(Path(__file__).with_name("_cpu"), Path(kernels.__file__).parent)


@contextmanager
def _in_folder() -> Iterator[None]:
    """Have Numba look for files in the folder.

    Its own choice lies beside the source, where the files outlive ``pip uninstall`` and keep the package's
    folder: without its ``__init__.py`` that hides the next editable installation.
    """
    numba.config.reload_config()  # which a compilation would do meanwhile, and so lose the folder
    chosen, own = numba.config.CACHE_DIR, folder()
    numba.config.CACHE_DIR = str(own)
    try:
        with _sole_use(own):
            yield
    finally:
        numba.config.CACHE_DIR = chosen


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
