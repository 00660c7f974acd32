"""What each GPU backend says when it cannot run: the reason, and the command that mends it."""

import types

import numpy as np
import pytest

from vecprod_gpu.backends import _driver, cupy_raw, numba_cuda


def driver(version, devices=1):
    """A stand-in for the probe of the driver."""
    command = f'pip install "vecprod-gpu[{"cuda12" if version and version[0] <= 12 else "cuda13"}]"'
    return types.SimpleNamespace(
        driver_version=lambda: version, device_count=lambda: devices, install_command=lambda: command
    )


class TestCupy:
    @pytest.fixture(autouse=True)
    def healthy(self, monkeypatch):
        monkeypatch.setattr(cupy_raw, "_cupy_distribution", lambda: ("cupy-cuda13x", "14.2.0"))
        monkeypatch.setattr(cupy_raw, "_driver", driver((13, 0)))
        monkeypatch.setattr(cupy_raw, "_has_nvrtc", lambda major: True)

    def test_healthy(self):
        status = cupy_raw.status()
        assert (status.available, status.remedy) == (True, "")
        assert status.reason == "cupy-cuda13x 14.2.0, NVIDIA driver for CUDA 13.0"

    @pytest.mark.parametrize(
        ("name", "value", "reason", "remedy"),
        [
            (
                "_cupy_distribution",
                lambda: None,
                "CuPy is not installed",
                'pip install "vecprod-gpu[cuda13]"',
            ),
            ("_driver", driver(None), "no NVIDIA driver was found", "https://www.nvidia.com/drivers"),
            (
                "_driver",
                driver((12, 4)),
                "the NVIDIA driver runs CUDA 12.4, and cupy-cuda13x 14.2.0 needs 13",
                'pip uninstall cupy-cuda13x && pip install "vecprod-gpu[cuda12]", or update the driver',
            ),
            ("_driver", driver((13, 0), 0), "no NVIDIA GPU is visible", "unset CUDA_VISIBLE_DEVICES"),
            (
                "_has_nvrtc",
                lambda major: False,
                "without NVRTC, the compiler of its kernels",
                'pip install "cupy-cuda13x[ctk]"',
            ),
        ],
    )
    def test_what_is_missing(self, monkeypatch, name, value, reason, remedy):
        monkeypatch.setattr(cupy_raw, name, value)
        status = cupy_raw.status()
        assert not status.available
        assert reason in status.reason
        assert remedy in status.remedy


class TestNumbaCuda:
    @pytest.fixture(autouse=True)
    def healthy(self, monkeypatch):
        versions = {"numba-cuda": "0.30.4", "cuda-bindings": "13.0.1"}
        monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
        monkeypatch.delenv("NUMBA_DISABLE_CUDA", raising=False)
        monkeypatch.setattr(numba_cuda, "_installed", versions.get)
        monkeypatch.setattr(numba_cuda, "_driver", driver((13, 0)))
        monkeypatch.setattr(np, "__version__", "2.4.6")
        self.versions = versions

    def test_healthy(self):
        status = numba_cuda.status()
        assert (status.available, status.remedy) == (True, "")

    def test_not_installed(self):
        del self.versions["numba-cuda"]
        status = numba_cuda.status()
        assert status.reason == "numba-cuda is not installed"
        assert status.remedy == 'pip install "vecprod-gpu[cuda13]"'

    def test_a_numpy_that_it_cannot_compile_with(self, monkeypatch):
        monkeypatch.setattr(np, "__version__", "2.5.5")
        status = numba_cuda.status()
        assert not status.available
        assert status.reason == "numba-cuda 0.30.4 cannot compile with NumPy 2.5.5"
        assert status.remedy == 'pip install "numpy<2.5"'

    def test_no_toolkit(self):
        del self.versions["cuda-bindings"]
        assert "without the CUDA toolkit" in numba_cuda.status().reason

    @pytest.mark.parametrize(
        ("probe", "reason"),
        [
            (driver(None), "no NVIDIA driver was found"),
            (driver((12, 4)), "the NVIDIA driver runs CUDA 12.4, and toolkit 13.0.1 is newer"),
            (driver((13, 0), 0), "no NVIDIA GPU is visible"),
        ],
    )
    def test_an_unfit_machine(self, monkeypatch, probe, reason):
        monkeypatch.setattr(numba_cuda, "_driver", probe)
        status = numba_cuda.status()
        assert not status.available
        assert status.reason == reason
        assert status.remedy

    def test_the_simulator_says_so(self, monkeypatch):
        monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
        status = numba_cuda.status()
        assert status.available
        assert "simulator" in status.reason


@pytest.mark.parametrize(
    ("version", "extra"), [(None, "cuda13"), ((13, 1), "cuda13"), ((12, 9), "cuda12"), ((11, 8), "cuda12")]
)
def test_the_installation_suits_the_driver(monkeypatch, version, extra):
    monkeypatch.setattr(_driver, "driver_version", lambda: version)
    assert _driver.install_command() == f'pip install "vecprod-gpu[{extra}]"'
