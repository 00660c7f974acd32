"""Linear regression by gradient steps: the arguments (`_problem`), one step, a whole fit, its result."""

from .fit import linreg_fit
from .result import FitResult
from .steps import linreg_gradient, linreg_step

__all__ = ["FitResult", "linreg_fit", "linreg_gradient", "linreg_step"]
