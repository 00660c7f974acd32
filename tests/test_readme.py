"""The README's examples run, and its set-up commands stand where a newcomer looks for them."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    """The text under a second-level heading."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, flags=re.DOTALL | re.MULTILINE)
    assert found, f"the README has no section {title!r}"
    return found[1]


def test_the_python_examples_run(monkeypatch):
    # One session, as a reader would type it. The examples speak of the automatic choice of backend.
    monkeypatch.delenv("VECPROD_BACKEND", raising=False)
    session = "\n".join(blocks("python"))
    assert session.count(">>>") > 20
    test = doctest.DocTestParser().get_doctest(session, {}, "README.md", "README.md", 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    complaints: list[str] = []
    failed, attempted = runner.run(test, out=complaints.append)
    assert attempted > 20
    assert not failed, "".join(complaints)


def test_the_quick_start_is_two_commands():
    demo, tests = blocks("bash", section("Quick start"))[:2]
    assert len(demo.strip().splitlines()) == len(tests.strip().splitlines()) == 1
    assert demo.strip().endswith("vecprod demo")
    assert tests.strip().endswith("pytest")
    for command in (demo, tests):
        assert "-m venv" in command  # each works by itself in a fresh clone
        assert "pip install" in command


def test_the_jobs_run(tmp_path):
    commands = "".join(blocks("bash", section("Jobs on files")))
    scripts = Path(sys.executable).parent  # where the command stands, in an environment that is not active
    finished = subprocess.run(
        ["bash", "-euc", commands],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    made = {"houses.csv", "corr.csv", "products.npy", "model.json", "prices.parquet"}
    made |= {"best.json", "scores.svg"}
    assert {path.name for path in tmp_path.iterdir()} == made


def test_a_program_runs_without_a_change_of_code(tmp_path):
    (commands,) = blocks("bash", section("Zero code change"))
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("VECPROD_BACKEND", None)
    finished = subprocess.run(
        ["bash", "-euc", commands], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "(1000000, 3) [-3  6 -3]\n"
    assert re.search(r"np\.cross +cpu +[1-9]", finished.stderr), finished.stderr
    assert "list is no NumPy array" in finished.stderr


def test_the_checks_run_the_tests_as_the_readme_does():
    assert re.search(r"^python -m pytest$", (ROOT / "ci" / "check.sh").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()
