"""Memory that small sums work in, kept for the next call of their shape.

To lay it out takes longer than the sums of 50 rows of 4.
"""

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any

MOST_SHAPES = 32  # whose memory is kept, a few first-level caches for each


class Workspaces:
    """What a function makes for a shape, as much as threads have worked on such at once.

    Parameters
    ----------
    make : callable
        Makes the memory for a shape, which its arguments are.
    """

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make
        self._kept: Callable[..., list[Any]] = lru_cache(MOST_SHAPES)(lambda *shape: [])

    def take(self, *shape: Hashable) -> Any:
        """Memory that nobody uses; it is given back afterwards, unless that fails."""
        try:
            return self._kept(*shape).pop()
        except IndexError:
            return self._make(*shape)

    def give_back(self, memory: Any, *shape: Hashable) -> None:
        """Keep memory of that shape for the next one who asks."""
        self._kept(*shape).append(memory)
