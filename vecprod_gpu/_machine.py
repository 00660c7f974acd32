"""What ``vecprod info`` tells of the machine and of the backends; it starts no driver."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import vecprod_gpu
from vecprod_gpu.backends._driver import driver_version

Description = dict[str, Any]

_PACKAGES = ("numpy", "numba", "numba-cuda", "cupy-cuda12x", "cupy-cuda13x")


def describe() -> Description:
    """Everything that the command shows, ready for JSON."""
    from vecprod_gpu.accel._heard import is_heard  # which who asks for the processor's name does not need

    return {
        "vecprod_gpu": vecprod_gpu.__version__,
        "machine": {
            "system": f"{platform.system()} {platform.release()}",
            "cpu": cpu_name(),
            "cores": _cores(),
            "gpus": _gpus(),
            "driver_runs_cuda": _driver_runs_cuda(),
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "packages": {name: _installed_version(name) for name in _PACKAGES},
        },
        "backends": {
            name: {"available": status.available, "reason": status.reason, "remedy": status.remedy}
            for name, status in vecprod_gpu.backends().items()
        },
        "forced_backend": os.environ.get("VECPROD_BACKEND") or None,
        "accelerates_scripts": {
            "asked": os.environ.get("VECPROD_ACCEL_ENABLED") or None,
            "possible": is_heard(),
        },
    }


def print_tables(description: Description) -> None:
    """Print a description as two tables."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    machine = description["machine"]
    facts = Table(title="machine", title_justify="left", box=box.SIMPLE_HEAD, show_header=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for label, fact in (
        ("vecprod_gpu", description["vecprod_gpu"]),
        ("system", machine["system"]),
        ("CPU", f"{machine['cpu']}, {machine['cores']} cores for this process"),
        ("GPU", "\n".join(machine["gpus"]) or "no NVIDIA GPU found"),
        ("GPU driver", _driver_in_words(machine["driver_runs_cuda"])),
        ("Python", machine["python"]),
        *((name, number or "not installed") for name, number in machine["packages"].items()),
        ("VECPROD_BACKEND", description["forced_backend"] or "not set"),
        ("VECPROD_ACCEL_ENABLED", _asked_in_words(**description["accelerates_scripts"])),
    ):
        facts.add_row(label, escape(str(fact)))

    backends = Table(title="backends", title_justify="left", box=box.SIMPLE_HEAD)
    backends.add_column("backend", style="bold", no_wrap=True)
    backends.add_column("runs here", no_wrap=True)
    backends.add_column("why, and what mends it", overflow="fold")
    for name, status in description["backends"].items():
        verdict = "[green]yes[/]" if status["available"] else "[yellow]no[/]"
        lines = (line for line in (status["reason"], status["remedy"]) if line)
        backends.add_row(name, verdict, escape("\n".join(lines)))

    console = Console()
    console.print(facts, backends)


def _asked_in_words(asked: str | None, possible: bool) -> str:
    """The variable that accelerates scripts, and whether anything hears it."""
    effect = "1 accelerates scripts" if possible else "nothing hears it: install this package with pip"
    return f"{asked or 'not set'} ({effect})"


def _installed_version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def cpu_name() -> str:
    """The processor's name as its maker writes it, where the system tells."""
    system = platform.system()
    if system == "Linux":
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    elif system == "Darwin":
        return _output_of("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    return platform.processor() or platform.machine()


def _cores() -> int:
    """Cores that this process may use, which a container may hold below the machine's."""
    if platform.system() == "Linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpus() -> list[str]:
    """Name, driver and memory of each NVIDIA GPU; the management tool reads them in a process of its own."""
    fields = "--query-gpu=name,driver_version,memory.total"
    listing = _output_of("nvidia-smi", fields, "--format=csv,noheader")
    gpus = (line.split(", ") for line in listing.splitlines() if line.count(", ") == 2)
    return [f"{name}, driver {driver}, {memory}" for name, driver, memory in gpus]


def _driver_runs_cuda() -> str | None:
    """Newest CUDA version that the NVIDIA driver runs; None without a driver."""
    version = driver_version()
    return version and ".".join(map(str, version))


def _driver_in_words(cuda: str | None) -> str:
    return f"runs CUDA up to {cuda}" if cuda else "no NVIDIA driver found"


def _output_of(*command: str) -> str:
    """What a command prints, or nothing where it is missing, fails or hangs."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return finished.stdout.strip() if finished.returncode == 0 else ""
