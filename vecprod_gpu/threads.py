"""How many threads a call on the host may use."""

from typing import Any

from ._checks import count
from ._later import imported
from .errors import ArgumentError


def set_num_threads(n: int) -> None:
    """Set how many threads a call on the host may use.

    The number belongs to the process, as that of a BLAS library does: it holds for the calls of all threads
    that begin after it was set, and child processes that are forked inherit it.  It is a limit. A small call
    stays on the thread that makes it, where others would cost more time than they bring.

    Results have the same bits for any number.

    Parameters
    ----------
    n : int
        From 1 to ``NUMBA_NUM_THREADS`` where that variable is set, and otherwise to the number of
        processors that the process may run on.  The upper end is the number before the first call.

    Raises
    ------
    ArgumentError
        If n is out of that range.
    DTypeError
        If n is no integer.

    See Also
    --------
    get_num_threads

    Notes
    -----
    The threads are this package's own: what it leaves to NumPy, such as the factors of a wide matrix and all
    of the backend ``reference``, follows the settings of NumPy's BLAS, and `numba.set_num_threads` has no
    effect here.  They round as processors do by default: what `torch.set_flush_denormal` sets holds for the
    thread that calls it, so that with more than one some subnormal results are kept.

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> before = vp.get_num_threads()
    >>> vp.set_num_threads(1)
    >>> vp.get_num_threads()
    1
    >>> vp.set_num_threads(before)
    """
    threads = count("n", n, minimum=1)
    most = _threads().most_threads()
    if threads > most:
        raise ArgumentError(
            f"n must be at most {most}, which is NUMBA_NUM_THREADS or the number of processors; it is {n!r}"
        )
    _threads().limit_threads(threads)


def get_num_threads() -> int:
    """Tell how many threads a call on the host may use.

    Returns
    -------
    int
        What `set_num_threads` set, or before its first call the most that it takes.

    See Also
    --------
    set_num_threads

    Examples
    --------
    >>> import vecprod_gpu as vp
    >>> vp.get_num_threads() >= 1
    True
    """
    number: int = _threads().thread_count()
    return number


def _threads() -> Any:
    """The module that has them; it brings in `multiprocessing`, whose import takes long."""
    return imported(f"{__package__}.backends._cpu.threads.pools")
