"""What a backend says of itself: a leaf module, so that every backend can import it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Status:
    """Whether a backend can run on this machine.

    Attributes
    ----------
    available : bool
        True when a call can be sent to it.
    reason : str
        What makes it available, or what is missing.
    remedy : str
        The command that mends it; empty when it is available.
    """

    available: bool
    reason: str
    remedy: str = ""
