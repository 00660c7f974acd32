"""scikit-learn's estimators on co-moments and fused gradient steps: the same names, one read of X."""

from . import _requirement  # noqa: F401 - says what is missing, before anything else needs it
from .coordinate import ElasticNet, Lasso
from .covariance import EmpiricalCovariance
from .cross_validation import ElasticNetCV, LassoCV, RidgeCV
from .decomposition import PCA
from .descent import GDRegressor
from .feature_selection import f_regression, r_regression
from .linear import LinearRegression, Ridge

__all__ = [
    "PCA",
    "ElasticNet",
    "ElasticNetCV",
    "EmpiricalCovariance",
    "GDRegressor",
    "Lasso",
    "LassoCV",
    "LinearRegression",
    "Ridge",
    "RidgeCV",
    "f_regression",
    "r_regression",
]
