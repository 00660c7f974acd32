"""Which solver fits: by shape, penalties and conditioning, and never by what ran before."""

from collections.abc import Callable

from .._settings import Settings
from .closed import WORST_CONDITION, cholesky, eigh, solve_normal_equations, svd
from .comoments import comoments
from .coordinate import coordinate
from .data import Given, Models
from .gradient import gradient
from .outcome import Outcome
from .stochastic import stochastic

SOLVERS: dict[str, Callable[[Given, Models, Settings], Outcome]] = {
    "gd": gradient,
    "comoments": comoments,
    "sgd": stochastic,
    "cd": coordinate,
    "cholesky": cholesky,
    "eigh": eigh,
    "svd": svd,
}


def solve(given: Given, models: Models, settings: Settings) -> tuple[Outcome, str]:
    """The outcome, and why it was this solver's."""
    if settings.solver != "auto":
        return SOLVERS[settings.solver](given, models, settings), "it was asked for"
    choice = _by_request(given, settings) or _by_shape(given, settings)
    if choice is None:
        return _by_conditioning(given, models, settings)
    name, reason = choice
    return SOLVERS[name](given, models, settings), reason


def _by_request(given: Given, settings: Settings) -> tuple[str, str] | None:
    """Where arguments speak of steps, steps are taken."""
    if settings.batch_size is not None:
        return "sgd", "batch_size asks for steps from batches"
    if settings.momentum:
        return "gd", "momentum asks for steps"
    named = [name for name in ("learning_rate", "callback") if getattr(settings, name) is not None]
    if not named:
        return None
    if given.has_gram:
        return "comoments", f"{named[0]} asks for steps, which co-moments take without reading X again"
    return "gd", f"{named[0]} asks for steps, and a Gram matrix of X would be too large"


def _by_shape(given: Given, settings: Settings) -> tuple[str, str] | None:
    """Where the number of columns or the penalty leaves one choice."""
    if given.given_factor is not None and not settings.l1.any():
        return "svd", "X is a triangular factor"
    if given.has_gram:
        if settings.l1.any():
            return "cd", "l1 is not 0, and coordinate descent on co-moments is the fastest way to it"
        return None
    if not settings.l1.any() and given.is_short:
        return "svd", "a Gram matrix of X would be too large, but X has few rows"
    return "gd", "a Gram matrix of X would be too large"


def _by_conditioning(given: Given, models: Models, settings: Settings) -> tuple[Outcome, str]:
    """Cholesky factors where they keep ten digits; else, from the data if they are there, singular values."""
    if given.layout.d >= given.n and given.data is not None and not settings.l2.all():
        return svd(given, models, settings), "X has no more rows than columns"
    found = solve_normal_equations(given, models, settings)
    if found.condition <= WORST_CONDITION:
        reason = f"the scaled Gram matrix has a condition of {found.condition:.2g}, which leaves ten digits"
        return cholesky(given, models, settings, found), reason
    faint = given.quadratic(settings.fit_intercept).faint(settings.l1, settings.l2)
    if faint.any() and given.data is not None:
        return svd(given, models, settings), "squares of columns of X underflow float64"
    reason = f"the scaled Gram matrix has a condition of {found.condition:.2g}, too large to keep ten digits"
    if given.data is not None:
        return svd(given, models, settings), reason
    return eigh(given, models, settings), reason + "; there are no data left to read for singular values"
