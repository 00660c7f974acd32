"""The worked examples of the articles that the project started from, with their errors mended.

What the articles print is wrong in places; the README's table says where.
"""

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.conftest import BACKENDS, HOST_BACKENDS, REAL_GPU

# The gradient-descent listing: no intercept, rate 0.01, 100 steps from zero.
X = np.array([[1, 2], [2, 3], [3, 4]])
Y = np.array([2, 3, 4])
RATE, STEPS = 0.01, 100
MENDED = [0.44681528, 0.6903566]
AS_PRINTED = [-295090.8, -425816.2]

# The quoted values carry eight and seven digits; this is half a unit of their last place.
MENDED_TOLERANCE, AS_PRINTED_TOLERANCE = 5e-9, 5e-2


# Numba's simulator takes half a second for a step, so that it takes single steps only; and thousands of
# steps are for the backends that run on their own hardware.
BY_HUNDREDS = BACKENDS if REAL_GPU else ("reference", "cpu", "cupy")
BY_THOUSANDS = BACKENDS if REAL_GPU else HOST_BACKENDS

each_backend = pytest.mark.usefixtures("backend")
each_backend_by_hundreds = pytest.mark.parametrize("backend", BY_HUNDREDS, indirect=True)
each_backend_by_thousands = pytest.mark.parametrize("backend", BY_THOUSANDS, indirect=True)


@each_backend
def test_the_outer_product_of_1_2_and_3_4():
    np.testing.assert_array_equal(vp.outer([1, 2], [3, 4]), [[3, 4], [6, 8]])


@each_backend
@pytest.mark.parametrize(
    ("a", "b", "product"),
    [
        ([1, 2, 3], [4, 5, 6], [-3, 6, -3]),
        # The "gradient of the loss" of the second article: a vector normal to both, and no gradient.
        ([4, 5, 6], [1, 2, 3], [3, -6, 3]),
    ],
)
def test_the_cross_products(a, b, product):
    np.testing.assert_array_equal(vp.cross(a, b), product)
    assert np.dot(a, product) == np.dot(b, product) == 0


@each_backend_by_hundreds
def test_gradient_descent_by_one_fit(backend):
    fit = vp.linreg_fit(X, Y, learning_rate=RATE, max_iter=STEPS, tol=0, fit_intercept=False)
    assert fit.n_iter == STEPS
    assert len(fit.loss_history) == STEPS + 1
    np.testing.assert_allclose(fit.coef, MENDED, rtol=0, atol=MENDED_TOLERANCE)


@each_backend_by_hundreds
def test_gradient_descent_by_steps(backend):
    w = np.zeros(2)
    for _ in range(STEPS):
        w = vp.linreg_step(X, Y, w, RATE)
    np.testing.assert_allclose(w, MENDED, rtol=0, atol=MENDED_TOLERANCE)


@each_backend_by_hundreds
def test_gradient_descent_with_the_sign_as_printed(backend):
    w = np.zeros(2)
    for _ in range(STEPS):
        w += RATE * vp.linreg_gradient(X, Y, w)
    np.testing.assert_allclose(w, AS_PRINTED, rtol=0, atol=AS_PRINTED_TOLERANCE)


@each_backend
def test_integer_weights_are_read_as_float64():
    """The listing starts from integers, into which NumPy cannot subtract the gradient."""
    W = np.array([0, 0])
    with pytest.raises(TypeError):
        W -= RATE * np.ones(2)
    step = vp.linreg_step(X, Y, W, RATE)
    assert step.dtype == np.float64
    np.testing.assert_allclose(step, vp.linreg_step(X, Y, W.astype(float), RATE), rtol=0, atol=0)
    np.testing.assert_array_equal(W, [0, 0])


@each_backend_by_thousands
def test_gradient_descent_converges_to_the_second_column(backend):
    """y is X's second column; the listing's [1, 1] is no solution at all."""
    fit = vp.linreg_fit(X, Y, learning_rate=0.1, max_iter=20_000, tol=1e-12, fit_intercept=False)
    assert fit.converged
    np.testing.assert_allclose(fit.coef, [0, 1], rtol=0, atol=1e-9)
    assert np.abs(X @ [1, 1] - Y).min() > 0


@each_backend
def test_the_gradient_is_that_of_half_the_mean_squared_error():
    w = np.array([0.3, -0.2])
    gradient = vp.linreg_gradient(X, Y, w)
    np.testing.assert_allclose(gradient, -X.T @ (Y - X @ w) / len(Y), rtol=1e-14)
    step = 1e-6
    by_differences = [
        (np.mean((X @ (w + shift) - Y) ** 2) - np.mean((X @ (w - shift) - Y) ** 2)) / (4 * step)
        for shift in step * np.eye(2)
    ]
    np.testing.assert_allclose(gradient, by_differences, rtol=1e-8)
