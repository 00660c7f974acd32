"""What is installed: from the built wheel and from an editable checkout, in an environment of its own."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import vecprod_gpu

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {
    *("bench", "cli", "cuda12", "cuda13", "dask", "demo"),
    *("dev", "jax", "sklearn", "stream", "test", "torch"),
}

# Printed by the environment's own interpreter, away from the checkout.
LISTING = """
import pathlib, vecprod_gpu, vecprod_gpu.bench, vecprod_gpu.demo as demo, vecprod_gpu.kernels as kernels
print(vecprod_gpu.__version__)
print(vecprod_gpu.cross([1, 2, 3], [4, 5, 6]).tolist())
print((pathlib.Path(vecprod_gpu.__file__).parent / "py.typed").exists())
print(sorted(path.name for path in pathlib.Path(kernels.__file__).parent.glob("*.cu*")))
print(vecprod_gpu.__file__)
"""

# Of a user who knows nothing of this package.
SCRIPT = """
import numpy as np
a, b = np.random.default_rng(0).normal(size=(2, 100_000, 3))
print(np.cross(a, b).shape)
"""


def run(*command: object, **options: object) -> str:
    """Run a command that must succeed, and return what it printed."""
    finished = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what a build reads, so that building leaves nothing in the real one."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    for name in ("bench", "kernels", "vecprod_gpu"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def build(hook: str, checkout: Path, folder: Path) -> Path:
    """Build as an installer does, by the named hook of the build backend, but with what is installed here."""
    program = f"import sys; from setuptools import build_meta; build_meta.{hook}(sys.argv[1])"
    run(sys.executable, "-c", program, folder, cwd=checkout)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    return build("build_wheel", checkout, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def editable_wheel(checkout, tmp_path_factory):
    return build("build_editable", checkout, tmp_path_factory.mktemp("editable"))


@pytest.fixture
def environment(tmp_path):
    """A fresh environment that borrows this one's NumPy and Numba, so that no network is needed."""
    builder = venv.EnvBuilder(with_pip=False, symlinks=sys.platform != "win32")
    folder = tmp_path / "environment"
    builder.create(folder)
    return builder.ensure_directories(folder)


def install(environment, wheel: Path) -> Path:
    """Install into an environment by this interpreter's pip; its own packages come before the borrowed."""
    python = Path(environment.env_exe)
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel)
    own = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    folders = (entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages"))
    Path(own, "zz_borrowed.pth").write_text("\n".join(folders) + "\n", encoding="utf-8")
    return python


def check_installation(python: Path, tmp_path: Path) -> Path:
    """Import everything from elsewhere; the folder that the package came from."""
    version, product, typed, sources, file = run(python, "-c", LISTING, cwd=tmp_path).splitlines()
    assert version == vecprod_gpu.__version__
    assert product == "[-3, 6, -3]"
    assert typed == "True"
    assert sources == str(sorted(path.name for path in (ROOT / "kernels").glob("*.cu*")))
    command = python.parent / ("vecprod.exe" if sys.platform == "win32" else "vecprod")
    assert run(command, "--version", cwd=tmp_path) == f"vecprod {vecprod_gpu.__version__}\n"
    return Path(file).parent


def accelerated(python: Path, tmp_path: Path, value: str) -> tuple[str, str]:
    """What the script prints, with the variable set, and what is told beside it."""
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    variables = {"ENABLED": value, "SIZES": "any", "LOG_LEVEL": "info"}
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    environment |= {f"VECPROD_ACCEL_{name}": text for name, text in variables.items()}
    ended = subprocess.run(
        [python, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    return ended.stdout, ended.stderr


def check_acceleration(python: Path, tmp_path: Path) -> None:
    """The variable is all that a script needs, and the file that hears it goes with the package."""
    product = "(100000, 3)\n"
    assert accelerated(python, tmp_path, "0") == (product, "")
    told = "[vecprod_gpu.accel] `np.cross` accelerated on cpu\n"
    assert accelerated(python, tmp_path, "1") == (product, told)
    run(sys.executable, "-m", "pip", "--python", python, "uninstall", "--yes", "vecprod-gpu")
    assert accelerated(python, tmp_path, "1") == (product, "")


def test_the_wheel_holds_every_source_file_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {"vecprod_gpu/py.typed", "vecprod_gpu_accel.pth"}
    for folder, prefix in (("vecprod_gpu", ""), ("kernels", "vecprod_gpu/"), ("bench", "vecprod_gpu/")):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".cu", ".cuh", ".html"):
                expected.add(prefix + path.relative_to(ROOT).as_posix())
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_wheel_installs(wheel, environment, tmp_path):
    package = check_installation(install(environment, wheel), tmp_path)
    assert package.is_relative_to(environment.env_dir)
    check_acceleration(Path(environment.env_exe), tmp_path)


def test_a_broken_installation_is_told_of(wheel, environment, tmp_path):
    python = install(environment, wheel)
    listing = "import importlib.util as it; print(it.find_spec('vecprod_gpu').submodule_search_locations[0])"
    package = Path(run(python, "-c", listing, cwd=tmp_path).strip())
    for end, complaint in (
        (lambda: (package / "errors.py").unlink(), "No module named 'vecprod_gpu.errors'"),
        (lambda: (package / "accel" / "_startup.py").unlink(), "No such file or directory"),
        (lambda: shutil.rmtree(package), "No module named 'vecprod_gpu'"),
    ):
        end()
        product, told = accelerated(python, tmp_path, "1")
        assert product == "(100000, 3)\n"
        assert re.fullmatch(f"vecprod_gpu.accel: nothing is accelerated: .*{complaint}.*\n", told), told


def test_the_checkout_installs_editably(checkout, editable_wheel, environment, tmp_path):
    package = check_installation(install(environment, editable_wheel), tmp_path)
    assert package == checkout / "vecprod_gpu"
    check_acceleration(Path(environment.env_exe), tmp_path)


def test_the_core_needs_numpy_and_numba_only():
    assert [requirement.partition(">")[0] for requirement in PROJECT["dependencies"]] == ["numpy", "numba"]


def test_the_extras_are_those_of_the_design():
    assert set(PROJECT["optional-dependencies"]) == EXTRAS


@pytest.mark.parametrize("extra", ["cuda12", "cuda13"])
def test_numpy_is_held_back_only_where_numba_cuda_needs_it(extra):
    assert "numpy<2.5" in PROJECT["optional-dependencies"][extra]
    assert not any("<" in requirement for requirement in PROJECT["dependencies"])
