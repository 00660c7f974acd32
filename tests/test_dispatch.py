"""Which backend runs a call, who may say so, and what happens when it cannot."""

import asyncio
import os
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

import vecprod_gpu as vp
from vecprod_gpu import _costs, _dispatch, _rates
from vecprod_gpu.backends import _status

A, B = np.ones((4, 3)), np.arange(12.0).reshape(4, 3)


def backend_now():
    return vp.explain(vp.cross, A, B).backend


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


class TestBackends:
    def test_names_all_in_order(self):
        assert list(vp.backends()) == ["reference", "cpu", "cupy", "numba-cuda"]

    def test_each_that_is_missing_says_how_to_mend_it(self):
        code = (
            "import vecprod_gpu as vp\n"
            "for name, status in vp.backends().items():\n"
            "    assert status.reason, name\n"
            "    assert status.available or status.remedy, name\n"
        )
        done = run_python(code, NUMBA_ENABLE_CUDASIM="0")
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("name", list(_dispatch.MODULES))
    def test_a_status_never_raises(self, name, monkeypatch):
        def broken():
            raise OSError("libcuda.so: file too short")

        monkeypatch.setattr(_dispatch.load(name), "status", broken)
        _dispatch._status.cache_clear()
        try:
            status = vp.backends()[name]
        finally:
            monkeypatch.undo()
            _dispatch._status.cache_clear()
        assert status == _status.Status(False, "OSError: libcuda.so: file too short", status.remedy)


class TestUseBackend:
    def test_chooses_for_the_block(self):
        outside = backend_now()
        with vp.use_backend("reference"):
            assert backend_now() == "reference"
            with vp.use_backend("cpu"):
                assert backend_now() == "cpu"
            assert backend_now() == "reference"
        assert backend_now() == outside

    def test_ends_with_an_error(self):
        outside = backend_now()
        with pytest.raises(KeyError), vp.use_backend("reference"):
            raise KeyError
        assert backend_now() == outside

    def test_unknown(self):
        with pytest.raises(vp.errors.UnknownBackendError) as raised, vp.use_backend("cuda"):
            pass
        assert "there is no backend 'cuda'; available here: reference, " in str(raised.value)

    def test_unavailable(self, monkeypatch):
        missing = _status.Status(False, "no driver", "install one")
        monkeypatch.setattr(
            _dispatch, "_status", lambda name: missing if name == "cupy" else _status.Status(True, "")
        )
        with pytest.raises(vp.errors.BackendUnavailableError) as raised, vp.use_backend("cupy"):
            pass
        message = "the backend 'cupy' cannot run here (no driver); to mend it: install one; available here: "
        assert message in str(raised.value)

    def test_belongs_to_its_thread(self):
        seen = []
        with vp.use_backend("reference"):
            thread = threading.Thread(target=lambda: seen.append(backend_now()))
            thread.start()
            thread.join()
        assert seen == ["cpu"]

    def test_belongs_to_its_task(self):
        async def task(name, turn, other):
            with vp.use_backend(name):
                other.set()
                await turn.wait()
                return backend_now()

        async def both():
            first, second = asyncio.Event(), asyncio.Event()
            return await asyncio.gather(task("reference", first, second), task("cpu", second, first))

        assert asyncio.run(both()) == ["reference", "cpu"]


class TestEnvironment:
    def test_names_the_backend(self):
        code = "import vecprod_gpu as vp; print(vp.explain(vp.cross, [1, 2, 3], [4, 5, 6]))"
        done = run_python(code, VECPROD_BACKEND="reference")
        assert done.stdout == "reference: VECPROD_BACKEND asked for it\n", done.stderr

    def test_use_backend_wins(self):
        code = (
            "import vecprod_gpu as vp\n"
            "with vp.use_backend('cpu'): print(vp.explain(vp.cross, [1, 2, 3], [4, 5, 6]).backend)"
        )
        assert run_python(code, VECPROD_BACKEND="reference").stdout == "cpu\n"

    def test_unknown_name_is_an_error_at_the_first_call(self):
        done = run_python("import vecprod_gpu as vp; vp.cross([1, 2, 3], [4, 5, 6])", VECPROD_BACKEND="gpu")
        assert "VECPROD_BACKEND: there is no backend 'gpu'; available here: reference" in done.stderr


class TestExplain:
    @pytest.mark.parametrize(
        ("function", "arguments", "how"),
        [
            (vp.outer, (A[0], B[0]), {}),
            (vp.batched_outer, (A, B), {}),
            (vp.cross, (A, B), {}),
            (vp.linreg_gradient, (A, A[:, 0], B[0]), {}),
            (vp.linreg_step, (A, A[:, 0], B[0], 0.1), {}),
            (vp.linreg_fit, (A, A[:, 0]), {"learning_rate": 0.1}),
        ],
    )
    def test_every_function(self, function, arguments, how):
        choice = vp.explain(function, *arguments, **how)
        assert choice.backend == "cpu"
        assert "the arrays are on the host" in choice.reason
        assert "ms on a GPU with the transfers" in choice.reason

    def test_does_not_run_the_call(self):
        out = np.full((4, 3), 7.0)
        vp.explain(vp.cross, A, B, out=out)
        assert (out == 7).all()

    @pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors:DeprecationWarning")
    def test_two_components_are_left_to_numpy(self):
        out = np.full(2, 7.0)
        choice = vp.explain(vp.cross, np.ones((2, 2)), np.ones((2, 2)), out=out)
        assert choice.backend == "reference"
        assert (out == 7).all()

    def test_passes_errors_on(self):
        with pytest.raises(vp.errors.ShapeError):
            vp.explain(vp.cross, A, B[:2])

    def test_other_functions(self):
        with pytest.raises(TypeError, match="chooses no backend"):
            vp.explain(max, 1, 2)

    def test_leaves_the_next_call_alone(self):
        vp.explain(vp.cross, A, B)
        np.testing.assert_array_equal(vp.cross(A, B), np.cross(A, B))


class TestFallback:
    def test_of_a_dtype_that_the_backend_cannot_take_is_counted(self):
        before = vp.fallback_counts().get(("batched_outer", "cpu"), 0)
        a = np.ones(3, bool)
        with vp.use_backend("cpu"):
            choice = vp.explain(vp.outer, a, a)
            assert vp.fallback_counts().get(("batched_outer", "cpu"), 0) == before
            vp.outer(a, a)
        assert (choice.backend, choice.fell_back) == ("reference", True)
        assert choice.reason == "use_backend asked for cpu, which does not take bool"
        assert vp.fallback_counts()["batched_outer", "cpu"] == before + 1

    def test_of_the_dispatchers_own_choice_is_not(self):
        before = vp.fallback_counts()
        vp.outer(np.ones(3, bool), np.ones(3, bool))
        assert vp.fallback_counts() == before

    def test_small_calls_obey_too(self, monkeypatch):
        vp.cross(A, B)  # from now on there is a short way
        monkeypatch.setattr(_dispatch.load("reference"), "cross", _fill_with_seven)
        with vp.use_backend("reference"):
            assert (vp.cross(A, B) == 7).all()


def _fill_with_seven(a, b, out):
    out[...] = 7


FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


@pytest.fixture
def measured(monkeypatch):
    """Set the rates that count as measured; none are at first, whatever the user's cache holds."""
    rates = {}
    monkeypatch.setattr(_costs, "_measured", lambda: rates)
    return rates


@pytest.mark.usefixtures("measured")
class TestCosts:
    def test_a_product_of_host_arrays_stays_on_the_host(self):
        for count in (10, 10**5, 10**9):
            assert not _costs.device_pays(_costs.Work(bytes=9 * 4 * count, flops=9 * count), FLOAT32)

    def test_much_arithmetic_for_each_byte_goes_to_a_gpu(self, monkeypatch):
        assert _costs.device_pays(_costs.Work(bytes=10**8, flops=10**12), FLOAT64)
        assert vp.explain(vp.linreg_gradient, *heavy()).backend == "cupy"
        monkeypatch.setattr(_dispatch, "_forked", True)
        assert vp.explain(vp.linreg_gradient, *heavy()).backend == "cpu"


def heavy():
    """Arguments of a gradient with much arithmetic for each byte."""
    X, y, w = np.ones((3000, 2000), np.float32), np.ones(3000, np.float32), np.ones((2000, 400), np.float32)
    return X, y, w


class TestMeasuredRates:
    def test_decide_where_a_gpu_loses(self, measured):
        measured["float32"] = replace(_costs.ASSUMED, device_flops=1e9, origin="measured")
        choice = vp.explain(vp.linreg_gradient, *heavy())
        assert choice.backend == "cpu"
        assert "GPU 400 GB/s and 1 Gflop/s" in choice.reason
        assert choice.reason.endswith("; measured)")

    def test_decide_where_a_product_pays(self, measured):
        measured["float32"] = replace(_costs.ASSUMED, host_bytes=1e8, origin="measured")
        a = np.ones((10**6, 3), np.float32)
        assert vp.explain(vp.cross, a, a).backend == "cupy"
        assert vp.explain(vp.cross, a.astype(float), a).backend == "cpu"  # assumed for float64

    def test_are_for_the_dtype_that_is_computed_in(self, measured):
        measured["float32"] = replace(_costs.ASSUMED, origin="of float32")
        measured["float64"] = replace(_costs.ASSUMED, origin="of float64")
        origins = {code: _costs.rates_of(np.dtype(code)).origin for code in "efFdDlI"}
        assert origins == dict.fromkeys("efF", "of float32") | dict.fromkeys("dDlI", "of float64")

    def test_are_not_asked_for_by_a_small_call(self, monkeypatch):
        monkeypatch.setattr(_costs, "_measured", _fail)
        vp.cross(A, B)
        vp.linreg_gradient(A, A[:, 0], B[0])
        with pytest.raises(AssertionError, match="asked for"):
            vp.explain(vp.cross, A, B)

    def test_are_read_once(self, monkeypatch):
        reads = []
        monkeypatch.setattr(_rates, "load", lambda: reads.append(None) or {})
        _costs._measured.cache_clear()
        try:
            for _ in range(3):
                vp.explain(vp.linreg_gradient, *heavy())
        finally:
            _costs._measured.cache_clear()
        assert len(reads) == 1

    def test_assumed_ones_are_told_as_such(self, measured):
        assert vp.explain(vp.cross, A, B).reason.endswith("transfers 10 GB/s, 100 µs a call; assumed)")


def _fail():
    raise AssertionError("asked for")
