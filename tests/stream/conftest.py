"""What the tests of streams share: the command itself."""

from tests.test_cli import command, restore_sigterm

__all__ = ["command", "restore_sigterm"]
