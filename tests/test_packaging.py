"""What is installed: from the built wheel and from an editable checkout, in an environment of its own."""

import shutil
import subprocess
import sys
import sysconfig
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
    Path(own, "zz_borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
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


def test_the_wheel_holds_every_source_file_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {"vecprod_gpu/py.typed"}
    for folder, prefix in (("vecprod_gpu", ""), ("kernels", "vecprod_gpu/"), ("bench", "vecprod_gpu/")):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".cu", ".cuh", ".html"):
                expected.add(prefix + path.relative_to(ROOT).as_posix())
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_wheel_installs(wheel, environment, tmp_path):
    package = check_installation(install(environment, wheel), tmp_path)
    assert package.is_relative_to(environment.env_dir)


def test_the_checkout_installs_editably(checkout, editable_wheel, environment, tmp_path):
    package = check_installation(install(environment, editable_wheel), tmp_path)
    assert package == checkout / "vecprod_gpu"


def test_the_core_needs_numpy_and_numba_only():
    assert [requirement.partition(">")[0] for requirement in PROJECT["dependencies"]] == ["numpy", "numba"]


def test_the_extras_are_those_of_the_design():
    assert set(PROJECT["optional-dependencies"]) == EXTRAS


@pytest.mark.parametrize("extra", ["cuda12", "cuda13"])
def test_numpy_is_held_back_only_where_numba_cuda_needs_it(extra):
    assert "numpy<2.5" in PROJECT["optional-dependencies"][extra]
    assert not any("<" in requirement for requirement in PROJECT["dependencies"])
