"""Tests of NumPy and scikit-learn themselves pass unchanged under accel, and ours ran in them."""

import re

import pytest

OPTIONS = ("-m", "vecprod_gpu.accel", "--profile", "-m", "pytest", "-p", "no:cacheprovider", "-n", "0", "-o")

SUITES = {
    "numpy": (
        (
            "numpy._core.tests.test_numeric",
            "numpy.lib.tests.test_function_base",
            "numpy.linalg.tests.test_linalg",
        ),
        "TestCross or test_outer or TestCov or TestCorrCoef or test_cross",
        ("np.cross", "np.outer", "np.cov", "np.corrcoef", "np.linalg.cross", "np.linalg.outer"),
    ),
    "einsum": (("numpy._core.tests.test_einsum",), "TestEinsum and not einsum_sums", ()),
    "scikit-learn": (
        ("sklearn.linear_model.tests.test_base", "sklearn.linear_model.tests.test_coordinate_descent"),
        "test_linear_regression and not sample_weight_consistency"  # some fail without us as well
        " or test_lasso_toy or test_lasso_dual or test_enet or test_lasso_zero or test_lasso_alpha",
        ("LinearRegression.fit", "ElasticNet.fit"),  # whose method is Lasso's, too
    ),
    "ridge": (
        ("sklearn.linear_model.tests.test_ridge",),
        "test_toy_ridge or test_ridge_individual or test_ridge_vs_lstsq or test_ridge_intercept"
        " or test_ridge_shapes or test_raises_value_error"
        " or test_ridge_gcv_sample_weights and not sparse and not array",  # of enough rows for ours
        ("Ridge.fit",),
    ),
}


@pytest.mark.parametrize("suite", SUITES)
def test_they_pass(suite, run):
    modules, chosen, functions = SUITES[suite]
    words = (*OPTIONS, "addopts=", "-q", "--pyargs", *modules, "-k", chosen)
    ended = run(*words, VECPROD_ACCEL_SIZES="any", COLUMNS="150", PYTEST_ADDOPTS="")
    assert re.search(r"^\d+ passed", ended.stdout, flags=re.MULTILINE), ended.stdout[-3000:]
    for function in functions:
        assert re.search(rf"^ *{re.escape(function)} +cpu +[1-9]", ended.stderr, flags=re.MULTILINE), function
