"""What is known of types, found out once for each."""

from collections.abc import Callable
from typing import TypeVar

Known = TypeVar("Known")

MOST = 256  # types that are remembered; a program that keeps making new ones starts over there


class ByType(dict[type, Known]):
    """``self[kind]``, computed by a function when it is first asked for.

    It takes a third of the time of `functools.lru_cache`; and torch.compile, which traces what calls ask
    about the types of its arrays, warns of functions that are cached, but not of a mapping.

    Parameters
    ----------
    find_out : callable
        Of a type.
    """

    def __init__(self, find_out: Callable[[type], Known]) -> None:
        super().__init__()
        self._find_out = find_out

    def __missing__(self, kind: type) -> Known:
        if len(self) >= MOST:
            self.clear()
        found = self[kind] = self._find_out(kind)
        return found
