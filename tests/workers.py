"""Calls of a size that runs on several threads, importable by the processes that the tests start."""

import hashlib
import sys
from functools import cache

import numpy as np

import vecprod_gpu as vp


@cache
def inputs():
    """Arguments of each call; the same in every process."""
    rng = np.random.default_rng(7)
    vectors = rng.standard_normal((2, 400_000, 3), np.float32)
    factors = rng.standard_normal((2, 1500, 48), np.float32)
    X = rng.standard_normal((60_000, 50), np.float32)
    return {
        "cross": (vp.cross, (vectors[0], vectors[1])),
        "batched_outer": (vp.batched_outer, (factors[0], factors[1])),
        "linreg_gradient": (vp.linreg_gradient, (X, X[:, 0] - X[:, 3] + 1, np.ones(50, np.float32))),
    }


OPERATIONS = ("cross", "batched_outer", "linreg_gradient")


def compute(operation, backend):
    """Result of one of the calls."""
    function, arguments = inputs()[operation]
    with vp.use_backend(backend):
        return function(*arguments)


def bits(operation, backend):
    """Hash of the result's bytes."""
    return digest(compute(operation, backend))


def all_bits(backend):
    """Hashes of all the results."""
    return [bits(operation, backend) for operation in OPERATIONS]


def digest(array):
    """Hash of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def send(connection, function, arguments):
    """Run a function in a child process and send what it returns."""
    connection.send(function(*arguments))
    connection.close()


if __name__ == "__main__":
    print(*all_bits(sys.argv[1]))
