"""NumPy's and scikit-learn's own functions, computed by ours where they can be: without a change of code.

A program is run by ``python -m vecprod_gpu.accel program.py``; a notebook begins with
``%load_ext vecprod_gpu.accel``; `install` does the same from Python.

Taken over are `numpy.outer`, `numpy.cross`, `numpy.linalg.outer`, `numpy.linalg.cross`, `numpy.cov`,
`numpy.corrcoef`, outer products by `numpy.einsum`, and ``fit`` of scikit-learn's ``LinearRegression``,
``Ridge``, ``Lasso`` and ``ElasticNet``. What is not supported, or too small to gain, runs as if this package
were not there; the log and the report of `profile` say why. Products have NumPy's bits, covariances and
coefficients agree to rounding (those of ``Lasso`` and ``ElasticNet`` to their ``tol``), and errors and
warnings are NumPy's.

Names that were imported from NumPy before, as by ``from numpy import cross``, keep NumPy's function.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ._install import install, is_installed, uninstall
from ._profile import counting
from ._report import Report

__all__ = [
    "Report",
    "install",
    "is_installed",
    "load_ipython_extension",
    "profile",
    "uninstall",
    "unload_ipython_extension",
]


@contextmanager
def profile() -> Iterator[Report]:
    """Count the calls inside the ``with`` block, those of children included, and print a report at its end.

    Yields
    ------
    Report
        Filled, and printed on standard error, at the end.

    Examples
    --------
    >>> import numpy as np
    >>> from vecprod_gpu import accel
    >>> accel.install()
    >>> with accel.profile() as report:
    ...     _ = np.cross(np.array([1, 2, 3], object), [4, 5, 6])
    >>> report.reasons("np.cross")
    {'object dtype is not supported': 1}
    >>> accel.uninstall()
    """
    report = Report()
    try:
        with counting() as report:
            yield report
    finally:
        report.print()


def load_ipython_extension(shell: Any) -> None:
    """What ``%load_ext vecprod_gpu.accel`` does: `install`, and the magics that profile a cell."""
    from ._magics import register

    install()
    register(shell)


def unload_ipython_extension(shell: Any) -> None:
    """What ``%unload_ext vecprod_gpu.accel`` does: `uninstall`."""
    uninstall()
