"""A whole fit: the arguments, the solver that they ask for, and the result."""

import warnings
from typing import Any, Literal

import numpy as np

from .._arrays import Array
from .._callers import frames_to_caller
from .._libraries import takes_any_library
from ._settings import Callback, Settings, SolverName
from ._solvers.auto import solve
from ._solvers.data import Given, Models
from .moments import CoMoments
from .result import FitResult
from .tsqr import TSQR

Host = np.ndarray[Any, Any]


@takes_any_library
def linreg_fit(
    X: Array | CoMoments | TSQR,
    y: Array | None = None,
    *,
    solver: SolverName = "auto",
    learning_rate: float | Host | Literal["auto"] = "auto",
    max_iter: int = 1000,
    tol: float = 1e-6,
    l1: float | Host = 0.0,
    l2: float | Host = 0.0,
    fit_intercept: bool = True,
    sample_weight: Array | None = None,
    w0: Array | None = None,
    batch_size: int | None = None,
    momentum: float = 0.0,
    nesterov: bool = False,
    random_state: Any = None,
    callback: Callback | None = None,
) -> FitResult:
    """Linear regression: by co-moments, which read the data once, or step by step.

    Minimises ``sum(s * (X w + b - y)**2) / (2 W) + l1 * |w|_1 + l2 / 2 * |w|²`` with ``W = sum(s)``.

    Parameters
    ----------
    X : (..., n, d) array_like, CoMoments or TSQR
        Observations in rows; or what was kept of them, y and sample_weight included.
    y : (..., n) or (..., n, k) array_like
        One target, or k of them, each with a model of its own.
    solver : str, default "auto"
        - ``"gd"``: proximal gradient descent, one fused pass over X for each step;
        - ``"comoments"``: the same iterates from the co-moments of the data, which are read once; without
          l1 in closed form, so that steps cost nothing;
        - ``"sgd"``: steps from batches of rows, in an order that `random_state` repeats;
        - ``"cd"``: coordinate descent on the co-moments, for l1;
        - ``"cholesky"``: normal equations, scaled to a unit diagonal; columns must be independent;
        - ``"eigh"``: eigenvalues of the co-moments; of dependent columns the solution of least norm;
        - ``"svd"``: QR factors of the data, then singular values; of dependent columns the solution of least
          norm;
        - ``"auto"``: descent where `learning_rate`, `callback`, `momentum` or `batch_size` is given;
          ``"cd"`` with l1; else ``"cholesky"`` where it keeps ten digits, and ``"svd"`` (of co-moments
          ``"eigh"``) where it does not. Beyond 4096 columns, where a Gram matrix is too large, ``"svd"``
          or ``"gd"``.
    learning_rate : float, (K,) array_like or "auto", default "auto"
        Step length, more than 0. Descent converges below ``2 / (λ + l2)``, with λ the largest eigenvalue
        of ``Xᵀ S X / W`` (of the centred X with an intercept). ``"auto"`` is ``1 / (λ + l2)``, with the
        largest λ of a batch; less for ``"sgd"``, the more the rows differ and the larger the momentum is.
    max_iter : int, default 1000
        Most steps taken; epochs of ``"sgd"``, sweeps of ``"cd"``.
    tol : float, default 1e-6
        Stop when the norm of the proximal gradient, ``|w - step(w)| / learning_rate``, is at most `tol`
        times the first one; ``"cd"`` when the duality gap is at most `tol` times the mean square of y. With
        0 every step is taken.
    l1, l2 : float or (K,) array_like, default 0.0
        Lasso and ridge penalties; the intercept is not penalised. With K numbers, here or as
        learning_rate, K models share the one target and the reads of X, or each of k targets has its own.
    fit_intercept : bool, default True
        Whether to fit b: X and y then count less their means, without a centred copy of X.
    sample_weight : (..., n) array_like, optional
        Weight s of each row, not negative. Integer weights are the same as repeated rows. For ``"sgd"``
        they are importances: a row comes once in an epoch, and s times as strongly.
    w0 : (..., d) or (..., d, k) array_like, optional
        Where an iteration starts; zeros unless given.
    batch_size : int, optional
        Rows of a step of ``"sgd"``; 256 unless given.
    momentum : float, default 0.0
        Share of the last step's velocity that the next one keeps, less than 1; for ``"gd"`` and ``"sgd"``.
    nesterov : bool, default False
        Whether to look ahead along the velocity.
    random_state : int or numpy.random.Generator, optional
        Seed of ``"sgd"``.
    callback : callable, optional
        Called after each step (epoch of ``"sgd"``) as ``callback(iteration, coef, loss)``, with host copies
        of the coefficients after that step and of the objective before it. It may raise StopIteration to
        end the fit there. The solvers that take no such steps never call it.

    Returns
    -------
    FitResult
        With ``coef``, ``intercept``, ``solver`` and ``reason``, ``n_iter``, ``converged``, ``rank``,
        ``loss_history``, ``predict`` and ``score``.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        As for `linreg_gradient`.
    ArgumentError
        If a number is out of its range, arguments do not go together, the weights of a problem are
        negative or add up to nothing, or co-moments are given to a solver that needs the data.
    NotFiniteError
        If X or y holds NaN or infinity; the message names the first row and column.
    DivergenceError
        If the descent runs away; the message names the largest stable learning rate.
    SingularError
        If ``"cholesky"`` meets columns that depend on each other.

    Warns
    -----
    numpy.exceptions.RankWarning
        If columns depend on each other: the solution of least norm is returned.

    Notes
    -----
    Co-moments are computed where the data live. What follows from these d x d numbers is computed on the
    host in float64; but 512 problems or more on a GPU, of few columns and with one penalty, are solved there
    by ``"cholesky"``. ``"svd"`` is computed on the host as a whole, as is the loss of a nearly exact fit, by
    one more read of the data: device arrays are copied to the host for it, in blocks. On a GPU the signs of
    sample_weight are checked on the host, and ``"gd"`` waits for the norm of each gradient.

    The first source article gives the descent, with the sign of the gradient reversed in its listing, and
    names L1, L2 and the SVD as remedies for instability.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for
       computing sample variances", COMPSTAT 1982, for co-moments.
    .. [2] J. Friedman, T. Hastie, R. Tibshirani, "Regularization Paths for Generalized Linear Models via
       Coordinate Descent", J. Stat. Softw. 33 (2010).
    .. [3] J. Demmel, L. Grigori, M. Hoemmen, J. Langou, "Communication-optimal parallel and sequential QR
       and LU factorizations", SIAM J. Sci. Comput. 34 (2012), for the streamed QR.

    Examples
    --------
    >>> import numpy as np, vecprod_gpu as vp
    >>> X, y = np.array([[1., 2.], [2., 3.], [3., 5.]]), np.array([2., 3., 5.])
    >>> fit = vp.linreg_fit(X, y)
    >>> fit.coef.round(9) + 0.0, fit.solver
    (array([0., 1.]), 'cholesky')
    >>> X, y = np.array([[1., 2.], [2., 3.], [3., 4.]]), np.array([2., 3., 4.])
    >>> fit = vp.linreg_fit(X, y, learning_rate=0.01, max_iter=100, tol=0, fit_intercept=False)
    >>> fit.coef
    array([0.44681528, 0.6903566 ])
    >>> fit.n_iter, fit.converged, fit.solver
    (100, False, 'comoments')
    """
    settings = Settings.check(
        solver=solver,
        learning_rate=learning_rate,
        l1=l1,
        l2=l2,
        max_iter=max_iter,
        tol=tol,
        fit_intercept=fit_intercept,
        batch_size=batch_size,
        momentum=momentum,
        nesterov=nesterov,
        random_state=random_state,
        callback=callback,
    )
    return fitted(Given.read(X, y, sample_weight), settings, w0)


def fitted(given: Given, settings: Settings, w0: Array | None) -> FitResult:
    """The fit of what was given, as it was asked for."""
    models = Models.read(given, settings, w0)
    outcome, reason = solve(given, models, settings)
    is_whole = outcome.solver == "cholesky" or settings.l2.all()
    if outcome.rank is not None and not is_whole and (outcome.rank < given.layout.d).any():
        warnings.warn(
            f"X has {given.layout.d} columns, but only {outcome.rank.min()} are independent; "
            "of all solutions the one of least norm is returned",
            np.exceptions.RankWarning,
            stacklevel=frames_to_caller(),
        )
    return outcome.to_result(given, models, reason)
