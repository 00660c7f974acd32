"""What the tests of streams share: the command itself."""

from tests.jobs.conftest import quick_children
from tests.test_cli import command, restore_sigterm

__all__ = ["command", "quick_children", "restore_sigterm"]
