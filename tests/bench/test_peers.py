"""The threads of each peer are recorded, so that a handicapped one is seen."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from vecprod_gpu.bench import peers

from vecprod_gpu.backends._cpu.threads.pools import thread_count


def pool(api, folder, count):
    return {
        "internal_api": api,
        "filepath": str(Path("site-packages", folder, "lib.so")),
        "num_threads": count,
    }


@pytest.fixture
def libraries(monkeypatch):
    """What is installed, in place of what is."""
    found = {}
    monkeypatch.setattr(peers, "load", lambda name: (found.get(name), ""))
    return found


def test_every_library_tells_its_threads(libraries, monkeypatch):
    pools = [pool("openblas", "numpy.libs", 3), pool("openmp", "scikit_learn.libs", 5)]
    libraries.update(
        torch=SimpleNamespace(get_num_threads=lambda: 7),
        numexpr=SimpleNamespace(get_num_threads=lambda: 11),
        threadpoolctl=SimpleNamespace(threadpool_info=lambda: pools),
    )
    monkeypatch.setattr(peers, "_threads_named", lambda beginning: 13)
    assert peers.threads() == {
        "ours": thread_count(),
        "torch": 7,
        "numexpr": 11,
        "XLA": 13,
        "openblas of numpy.libs": 3,
        "openmp of scikit_learn.libs": 5,
    }


def test_what_cannot_be_told_is_left_out(libraries, monkeypatch):
    monkeypatch.setattr(peers, "_threads_named", lambda beginning: 0)
    assert set(peers.threads()) == {"ours"}


def test_the_threads_of_numpy_follow_its_blas():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpoolctl.threadpool_limits(1):
        assert {count for name, count in peers.threads().items() if " of numpy" in name} <= {1}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs a system that tells threads' names")
def test_the_threads_of_xla_are_those_that_run():
    jax = pytest.importorskip("jax")
    jax.jit(lambda a: a @ a)(np.ones((2, 2), np.float32)).block_until_ready()
    assert peers.threads()["XLA"] >= 1


def test_each_row_compiles_anew_within_the_limit_of_recompilations():
    log = []
    torch = SimpleNamespace(
        compiler=SimpleNamespace(reset=lambda: log.append("reset")),
        compile=lambda function, dynamic: log.append("compile") or function,
    )
    (runner,) = peers.Peers().compiled(torch, lambda tensor: 2 * tensor, 21)
    assert (log, runner.call()) == (["reset", "compile"], 42)
