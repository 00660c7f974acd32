"""What the tests of the jobs share: the command itself, and a folder to run it in."""

import pytest

from tests.test_cli import command, restore_sigterm

__all__ = ["command", "restore_sigterm"]


@pytest.fixture(autouse=True)
def quick_children(monkeypatch):
    """Processes that a test starts load no Numba, unless it says so: what they are held to is the same."""
    monkeypatch.setenv("VECPROD_BACKEND", "reference")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def job(command):
    """Run a command that must succeed without a word on standard error; what it prints."""

    def run(*arguments: object) -> str:
        status, out, err = command(*map(str, arguments))
        assert (status, err) == (0, "")
        return out

    return run
