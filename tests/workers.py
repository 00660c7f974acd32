"""Calls of a size that runs on several threads, and processes to run them in, which import this module."""

import hashlib
import multiprocessing
import os
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import vecprod_gpu as vp
from vecprod_gpu.backends._cpu.threads import pools

ROOT = Path(__file__).parents[1]
PATIENCE = 120  # seconds, after which a process that should have ended is taken to hang


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


def all_bits_on_four_threads(backend):
    """Hashes of all the results, from a process whose pool can run four blocks at the same time."""
    together = threading.Barrier(4)
    pools.for_each_block(lambda start, stop: together.wait(30), 4, 1)
    return all_bits(backend)


def digest(array):
    """Hash of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def _send(connection, function, arguments):
    """Run a function in a child process and send what it returns."""
    connection.send(function(*arguments))
    connection.close()


def run_python(script, **environment):
    """Run a script in a fresh interpreter, in the repository unless PYTHONPATH says otherwise."""
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=environment.get("PYTHONPATH", ROOT),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


NARROW_REGISTERS = """
import llvmlite.binding

features = llvmlite.binding.get_host_cpu_features()
features.update({name: False for name in features if "avx512" in name})
llvmlite.binding.get_host_cpu_features = lambda: features

from vecprod_gpu.backends._cpu import processor

assert processor.VECTOR_BYTES == 32
"""


def run_with_narrow_registers(script, folder):
    """Run a script as on processors without 64-byte vectors; what it compiles is not optimised, for time."""
    return run_python(NARROW_REGISTERS + script, NUMBA_CACHE_DIR=str(folder), NUMBA_OPT="0")


def in_children(method, count, function, *arguments):
    """Results of a function in several child processes at once; fails if one dies or hangs."""
    context = multiprocessing.get_context(method)
    children = []
    for _ in range(count):
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=_send, args=(sender, function, arguments))
        child.start()
        sender.close()
        children.append((child, receiver))
    try:
        results = []
        for child, receiver in children:
            assert receiver.poll(PATIENCE), "the child hangs"
            try:
                results.append(receiver.recv())
            except EOFError:
                child.join()
                pytest.fail(f"the child died with exit code {child.exitcode}")
        return results
    finally:
        for child, receiver in children:
            receiver.close()
            child.kill()
            child.join()


if __name__ == "__main__":
    print(*all_bits(sys.argv[1]))
