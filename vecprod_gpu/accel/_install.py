"""Installing and removing, for this process and the children that it starts."""

from threading import RLock

from . import _log, _profile
from ._children import Environment
from ._imports import After
from ._swaps import Place, of_numpy
from ._watch import logger

LEAST_SCIKIT_LEARN = 1, 9  # as `vecprod_gpu.sklearn` needs it

_lock = RLock()
_places: list[Place] = []
_waiting: list[After] = []
_environment = Environment()


def install(log_level: str | None = None) -> None:
    """Have ours take the calls of NumPy's and scikit-learn's functions that they can; see the module.

    Children of this process do the same, however they are started. A second call changes the log level alone.

    Parameters
    ----------
    log_level : str, optional
        ``"debug"`` logs each call, ``"info"`` each reason for a fallback once, ``"warning"`` and ``"error"``
        less; the variable ``VECPROD_ACCEL_LOG_LEVEL`` unless given, else ``"warning"``.

    Raises
    ------
    ArgumentError
        If there is no such level.

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu import accel
    >>> accel.install()
    >>> np.cross([1, 2, 3], [4, 5, 6])
    array([-3,  6, -3])
    >>> accel.uninstall()
    """
    with _lock:
        if log_level is not None or not _places:
            _log.set_level(log_level)
        if _places:
            return
        for place in of_numpy():
            place.fill()
            _places.append(place)
        _waiting.append(After("sklearn.linear_model", _install_estimators))
        _waiting[0].begin()
        _environment.invite()
        _profile.join()


def uninstall() -> None:
    """Put the original functions back, here and for children that are started from now on.

    Examples
    --------
    >>> from vecprod_gpu import accel
    >>> accel.uninstall()
    >>> accel.is_installed()
    False
    """
    with _lock:
        while _waiting:
            _waiting.pop().end()
        while _places:
            _places.pop().clear()
        _environment.restore()


def is_installed() -> bool:
    """Whether functions are swapped in this process."""
    return bool(_places)


def _install_estimators() -> None:
    import sklearn

    release = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
    if release < LEAST_SCIKIT_LEARN:
        logger.info(
            "estimators falling back to scikit-learn: ours need %d.%d or later, and this is %s",
            *LEAST_SCIKIT_LEARN,
            sklearn.__version__,
        )
        return
    from ._estimators import of_scikit_learn

    with _lock:
        for place in of_scikit_learn():
            place.fill()
            _places.append(place)
