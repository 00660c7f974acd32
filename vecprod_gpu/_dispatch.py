"""Which backend runs a call: by where its arrays live, what they hold, and what the user asked for."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from . import _costs, _early
from ._arrays import Kind
from ._later import imported
from .backends._status import Status
from .errors import BackendUnavailableError, DeviceError, DTypeError, UnknownBackendError

MODULES = {"reference": "reference", "cpu": "cpu", "cupy": "cupy_raw", "numba-cuda": "numba_cuda"}
ON_HOST = ("cpu", "reference")  # in order of preference, as below
ON_DEVICE = ("cupy", "numba-cuda")


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend of one call, and why.

    Attributes
    ----------
    backend : str
        Name, as `use_backend` takes it.
    reason : str
        One sentence.
    fell_back : bool
        True when another backend was asked for and could not take the call.
    """

    backend: str
    reason: str
    fell_back: bool = False

    def __str__(self) -> str:
        return f"{self.backend}: {self.reason}"

    @property
    def module(self) -> Any:
        """The backend's module; see the contract in `vecprod_gpu.backends`."""
        return load(self.backend)


@dataclass(frozen=True, slots=True)
class Mode:
    """What the surrounding code asked for: a backend by name, or an explanation instead of a result."""

    backend: str | None = None
    source: str = ""
    explaining: bool = False


_UNASKED = Mode()


class _Explained(Exception):
    def __init__(self, choice: Choice) -> None:
        super().__init__(str(choice))
        self.choice = choice


def _environment_mode() -> Mode | None:
    name = os.environ.get("VECPROD_BACKEND", "")
    return Mode(name, "VECPROD_BACKEND") if name else None


# None, the usual case, lets small calls skip all that follows.
_AT_START = _environment_mode()
mode: ContextVar[Mode | None] = ContextVar("vecprod_gpu.mode", default=_AT_START)

_fallbacks: Counter[tuple[str, str]] = Counter()
_forked = False


class _Latest(threading.local):
    """The backend of the latest choice of each thread, for who tells of calls that chose for themselves."""

    backend = ""


latest = _Latest()


@cache
def load(name: str) -> Any:
    """Import a backend's module, once."""
    return imported(f"{__package__}.backends.{MODULES[name]}")


@cache
def _status(name: str) -> Status:
    try:
        return load(name).status()  # type: ignore[no-any-return]
    except Exception as error:  # whatever a broken installation raises: it is the reason
        remedy = "pip install --force-reinstall numba" if name == "cpu" else ""
        return Status(False, f"{type(error).__name__}: {error}", remedy)


def backends() -> dict[str, Status]:
    """Say of each backend whether it can run here.

    Returns
    -------
    dict of str to Status
        In the order reference, cpu, cupy, numba-cuda.  Each `Status` has ``available``, ``reason``
        and ``remedy``, the command that mends what is missing.  No driver is started to find out.

    Examples
    --------
    >>> import vecprod_gpu as vp
    >>> vp.backends()["reference"].available
    True
    """
    return {name: _status(name) for name in MODULES}


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run the calls inside the ``with`` block on one backend.

    The choice belongs to the current thread or asynchronous task; threads that it starts choose for
    themselves.  Host arrays of a dtype that the backend cannot take run on ``reference``, and
    `fallback_counts` counts them.

    Parameters
    ----------
    name : str
        ``"reference"``, ``"cpu"``, ``"cupy"`` or ``"numba-cuda"``.

    Raises
    ------
    UnknownBackendError
        If there is no such backend.
    BackendUnavailableError
        If it cannot run here; the message says why, and what would mend it.

    Examples
    --------
    >>> import vecprod_gpu as vp
    >>> with vp.use_backend("reference"):
    ...     vp.cross([1, 2, 3], [4, 5, 6])
    array([-3,  6, -3])
    """
    require(name, "use_backend")
    token = mode.set(Mode(name, "use_backend"))
    try:
        yield
    finally:
        mode.reset(token)


def require(name: str, source: str) -> None:
    """Raise unless `name`, which `source` asked for, is a backend that can run here."""
    if name not in MODULES:
        raise UnknownBackendError(f"{source}: there is no backend {name!r}; {_available()}")
    status = _status(name)
    if not status.available:
        mend = f"; to mend it: {status.remedy}" if status.remedy else ""
        raise BackendUnavailableError(
            f"{source}: the backend {name!r} cannot run here ({status.reason}){mend}; {_available()}"
        )


def _available() -> str:
    return "available here: " + ", ".join(name for name, status in backends().items() if status.available)


def explain(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Choice:
    """Say which backend ``function(*args, **kwargs)`` would run on, and why, without running it.

    Parameters
    ----------
    function : callable
        A function of this package.
    *args, **kwargs
        What it would be called with; checked as in a call.

    Returns
    -------
    Choice
        With ``backend``, ``reason`` and ``fell_back``.  For host arrays the reason holds the expected times
        on the host and on a GPU, the rates that they come from, and whether those were measured on this
        machine, by ``vecprod bench --calibrate``, or assumed.

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> vp.explain(vp.cross, np.ones((4, 3), bool), np.ones((4, 3), bool)).backend
    'reference'
    """
    current = mode.get() or _UNASKED
    token = mode.set(Mode(current.backend, current.source, explaining=True))
    try:
        function(*args, **kwargs)
    except _Explained as explained:
        return explained.choice
    finally:
        mode.reset(token)
    raise TypeError(f"{function!r} chooses no backend: give a function of vecprod_gpu")


def fallback_counts() -> dict[tuple[str, str], int]:
    """Count the calls that a backend was asked for and could not take.

    Returns
    -------
    dict of (str, str) to int
        (operation, backend asked for) to the number of calls that ran on ``reference`` instead.
    """
    return dict(_fallbacks)


def choose(operation: str, kind: Kind, dtype: np.dtype[Any], work: _costs.Work) -> Choice:
    """Backend for one call whose arrays are of `kind` and, in the kernel, of `dtype`."""
    asked = mode.get() or _UNASKED
    if asked.backend is not None:
        require(asked.backend, asked.source)
    if kind == "numpy":
        choice = _choose_for_host(operation, dtype, work, asked)
    else:
        choice = _choose_for_device(operation, kind, dtype, asked)
    if asked.explaining:
        raise _Explained(choice)
    if choice.fell_back:
        _fallbacks[operation, asked.backend or ""] += 1
    latest.backend = choice.backend
    return choice


def host() -> Any:
    """The module of ``cpu``, or of ``reference``, for what is small and on the host already."""
    asked = mode.get() or _UNASKED
    return load("reference" if asked.backend == "reference" or not _status("cpu").available else "cpu")


def chosen_cpu() -> Any:
    """The module of ``cpu``, chosen for a call that needs no weighing; None where it is not available."""
    if not _status("cpu").available:
        return None
    latest.backend = "cpu"
    return load("cpu")


def _choose_for_host(operation: str, dtype: np.dtype[Any], work: _costs.Work, asked: Mode) -> Choice:
    if asked.backend is not None:
        if load(asked.backend).supports(operation, dtype):
            return Choice(asked.backend, f"{asked.source} asked for it")
        return Choice(
            "reference", f"{asked.source} asked for {asked.backend}, which does not take {dtype}", True
        )
    if _early.is_early(operation, dtype, work):
        if not asked.explaining:
            _early.count_call()
        return Choice("reference", "the first few small calls do not pay for the import of Numba")
    for name in ON_DEVICE if _device_may_pay(work, dtype) else ():
        if _status(name).available and load(name).supports(operation, dtype):
            return _by_estimate(name, "", work, dtype, asked)
    if not _status("cpu").available:
        return Choice("reference", f"cpu is not available ({_status('cpu').reason})")
    if not load("cpu").supports(operation, dtype):
        return Choice("reference", f"cpu does not take {dtype} for {operation}")
    return _by_estimate("cpu", "the arrays are on the host, and ", work, dtype, asked)


def _by_estimate(name: str, opening: str, work: _costs.Work, dtype: np.dtype[Any], asked: Mode) -> Choice:
    """With the estimates in words, for whoever asked; other calls do not pay for the sentence."""
    if asked.explaining:
        return Choice(name, opening + _costs.comparison(work, dtype))
    return _UNEXPLAINED[name]


_UNEXPLAINED = {name: Choice(name, "the arrays are on the host") for name in MODULES}


def _device_may_pay(work: _costs.Work, dtype: np.dtype[Any]) -> bool:
    """After a fork the child cannot use a driver that its parent may have started."""
    return not _forked and _costs.device_pays(work, dtype)


def _choose_for_device(operation: str, kind: Kind, dtype: np.dtype[Any], asked: Mode) -> Choice:
    if asked.backend in ON_HOST:
        raise DeviceError(
            f"{asked.source} asked for {asked.backend}, but the arrays live on a GPU and are not moved "
            "unasked; copy them with cupy.asnumpy(...) or .copy_to_host()"
        )
    order = (asked.backend,) if asked.backend else ON_DEVICE
    usable = [name for name in order if _status(name).available]
    if not usable:
        raise BackendUnavailableError(
            f"no backend can take {kind} arrays here: "
            + "; ".join(f"{name}: {_status(name).reason}" for name in order)
        )
    for name in usable:
        if load(name).supports(operation, dtype):
            why = f"{asked.source} asked for it" if asked.backend else f"the arrays are {kind} arrays"
            return Choice(name, why)
    raise DTypeError(f"{operation} takes no {dtype} on a GPU; cast the arrays with .astype(...)")


def _remember_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remember_fork)
