"""np.cov and np.corrcoef under accel: values to rounding, all else as without it."""

import warnings

import numpy as np
import pytest

from tests.accel.test_products import counted, outcome

COV, CORRCOEF = np.cov, np.corrcoef


@pytest.mark.parametrize("dtype", ["f", "d", "e", "h", "q", "B"])
@pytest.mark.parametrize(
    "call",
    [
        lambda f, m: f(m),
        lambda f, m: f(m, rowvar=False),
        lambda f, m: f(m[0]),
        lambda f, m: f(m[:1]),
        lambda f, m: f(m[0], m[1]),
        lambda f, m: f(m, m[::-1]),
        lambda f, m: f(m.T, m.T[:, 0].copy(), False),
        lambda f, m: f(m[:, ::-3]),
    ],
)
@pytest.mark.parametrize("name", ["cov", "corrcoef"])
def test_values(name, call, dtype, any_size, rng):
    ours, theirs = getattr(np, name), {"cov": COV, "corrcoef": CORRCOEF}[name]
    m = (100 + 50 * rng.normal(size=(4, 500))).astype(dtype)
    result, report = counted(call, ours, m)
    expected = call(theirs, m)
    assert report.calls(f"np.{name}") == 1, report.reasons()
    assert type(result) is type(expected)
    assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("options", [{"ddof": 0}, {"ddof": 5}, {"bias": True}, {"bias": 1}, {"bias": 0}])
def test_normalisation(options, any_size, rng):
    m = rng.normal(size=(3, 50))
    result, report = counted(np.cov, m, **options)
    assert report.calls() == 1
    np.testing.assert_allclose(result, COV(m, **options), rtol=1e-12)


MISTAKES = {
    "3-d": lambda f: f(np.ones((2, 2, 2))),
    "another count": lambda f: f(np.ones((2, 5)), np.ones((2, 6))),
    "one observation": lambda f: f(np.arange(3.0)[:, np.newaxis]),
    "no observation": lambda f: f(np.ones((3, 0))),
    "no variable": lambda f: f(np.ones((0, 3))),
    "a list": lambda f: f([[1, 2, 3], [3, 2, 2]]),
    "a mask": lambda f: f(np.ma.masked_array([[1.0, 2, 3], [3, 2, 1]], [[0, 1, 0]] * 2)),
    "objects": lambda f: f(np.array([[1, 2, 3], [3, 2, 2]], object)),
    "strings": lambda f: f(np.array([["a", "b"]])),
    "complex": lambda f: f(np.array([[1, 2j, 3], [3, 2, 2]])),
    "constants": lambda f: f(np.array([[1.0, 1, 1], [3, 2, 2]])),
    "NaN": lambda f: f(np.array([[1.0, np.nan, 1], [3, 2, 2]])),
    "infinity": lambda f: f(np.array([[1.0, np.inf, 1], [3, 2, 2]])),
    "overflow": lambda f: f(np.array([[1e300, -1e300, 1], [3, 2, 2]])),
    "a dtype": lambda f: f(np.array([[1.0, 2, 4], [3, 2, 2]]), dtype=np.float32),
    "an unknown option": lambda f: f(np.ones((2, 3)), colour=1),
    "nothing": lambda f: f(),
}


@pytest.mark.parametrize("name", ["cov", "corrcoef"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_numpy_has_to_say(name, mistake, any_size):
    ours, theirs = getattr(np, name), {"cov": COV, "corrcoef": CORRCOEF}[name]
    (result, warned), (expected, expected_warnings) = (
        outcome(MISTAKES[mistake], one) for one in (ours, theirs)
    )
    assert warned == expected_warnings
    if type(expected) is tuple:
        assert result == expected
    else:
        np.testing.assert_allclose(result, expected, rtol=1e-15)
        assert type(result) is type(expected)


@pytest.mark.parametrize(
    "options", [{"ddof": 1.5}, {"ddof": 3}, {"ddof": 9}, {"fweights": [1, 2, 3]}, {"aweights": [0.5, 1, 1]}]
)
def test_other_options_of_cov(options, any_size):
    m = np.array([[1.0, 2, 4], [3, 2, 2]])
    ours, theirs = (outcome(function, m, **options) for function in (np.cov, COV))
    assert ours[1] == theirs[1]
    if type(theirs[0]) is tuple:
        assert ours[0] == theirs[0]
    else:
        np.testing.assert_array_equal(ours[0], theirs[0])


def test_integers_beyond_half_of_float64(any_size, rng):
    m = rng.integers(2**61, 2**62, size=(3, 40))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(np.cov(m), COV(m), rtol=1e-9)


def test_large_and_many(installed, rng):
    tall = rng.normal(size=(2, 1 << 20))
    wide = rng.normal(size=(1500, 1500))
    for m, is_ours in ((tall, True), (tall[:, :1000], False), (wide, False)):
        assert counted(np.cov, m)[1].calls() == is_ours
