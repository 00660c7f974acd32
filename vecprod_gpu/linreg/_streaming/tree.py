"""The one tree by which summaries of rows are merged, whole or in parts that are put together later."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...errors import ShapeError
from .rows import Host, Layout


class Mergeable(Protocol):
    """What is known of a leaf."""

    def merge(self, later: Any) -> Any:
        """What is known of this leaf and of the one after it."""


class Summary(Mergeable, Protocol):
    """What is known of some rows: a dataclass of float64 arrays."""

    def is_finite(self) -> bool:
        """Whether the rows held finite numbers, and nothing overflowed."""

    def fits(self, layout: Layout) -> bool:
        """Whether the arrays have the shapes that such rows give."""

    @property
    def total(self) -> Host:
        """Sums of the weights, ``(B,)``."""

    @property
    def means(self) -> Host:
        """Weighted means of the columns of ``[X y]``, ``(B, D)``."""


@dataclass(frozen=True)
class Node:
    """The summary of ``2**level`` leaves, from a multiple of that number on; None of leaves without rows."""

    start: int
    level: int
    summary: Any

    @property
    def stop(self) -> int:
        """The leaf after the last one."""
        return self.start + (1 << self.level)

    def is_half_with(self, later: "Node") -> bool:
        """Whether the two, of which `later` comes next, are the halves of a node."""
        return self.level == later.level and self.start % (2 << self.level) == 0

    def merge(self, later: "Node") -> "Node":
        """The node of which the two are the halves."""
        return Node(self.start, self.level + 1, _merged(self.summary, later.summary))


class Tree:
    """The summaries of consecutive leaves, from any leaf on.

    Two halves of a node are merged once both are there, and nothing else is.  So the nodes of the leaves from
    one number to another are always the largest that lie between, merged in the same way, in whatever order
    the leaves came together.  From leaf 0 on they are a binary counter.
    """

    def __init__(self, first: int = 0) -> None:
        self.nodes: list[Node] = []
        self.stop = first

    @classmethod
    def of_levels(cls, levels: list[Any]) -> "Tree":
        """The tree, from leaf 0 on, that has such `levels`."""
        tree = cls()
        for level, summary in reversed(list(enumerate(levels))):
            if summary is not None:
                tree._append(Node(tree.stop, level, summary))
        return tree

    @property
    def levels(self) -> list[Any]:
        """At i the summary of ``2**i`` leaves or None; of a tree from leaf 0 on."""
        levels = [None] * (self.nodes[0].level + 1 if self.nodes else 0)
        for node in self.nodes:
            levels[node.level] = node.summary
        return levels

    def copy(self) -> "Tree":
        """A tree of its own with the same nodes."""
        tree = Tree()
        tree.nodes, tree.stop = list(self.nodes), self.stop
        return tree

    def push(self, summary: Mergeable | None) -> None:
        """Add the summary of the next leaf."""
        self._append(Node(self.stop, 0, summary))

    def join(self, later: "Tree") -> None:
        """Add the leaves of a tree that begins where this one stops."""
        for node in later.nodes:
            self._append(node)

    def total(self, last: Mergeable | None = None) -> Any:
        """The summary of all leaves and of what comes after them, the last first; None of nothing."""
        for node in reversed(self.nodes):
            last = _merged(node.summary, last)
        return last

    def _append(self, node: Node) -> None:
        self.stop = node.stop
        while self.nodes and self.nodes[-1].is_half_with(node):
            node = self.nodes.pop().merge(node)
        self.nodes.append(node)


@dataclass(frozen=True)
class Part:
    """What is known of some rows of a whole, wherever they were read.

    Attributes
    ----------
    layout : Layout or None
        None where there are no rows.
    dtype : numpy.dtype or None
        Of the data.
    n_samples : int
        Rows read.
    tree : Tree
        Of consecutive leaves of the whole.
    """

    layout: Layout | None
    dtype: np.dtype[Any] | None
    n_samples: int
    tree: Tree

    @classmethod
    def without_rows(cls, number: int) -> "Part":
        """A leaf that holds nothing."""
        return cls.of_nothing().as_leaf(number)

    @classmethod
    def of_nothing(cls, first: int = 0) -> "Part":
        """No leaf at all, before that of the number `first`."""
        return cls(None, None, 0, Tree(first))

    def as_leaf(self, number: int) -> "Part":
        """All of it as the leaf of that number."""
        tree = Tree(number)
        tree.push(self.tree.total())
        return Part(self.layout, self.dtype, self.n_samples, tree)

    def join(self, later: "Part") -> "Part":
        """One part of both, of which `later` begins where the other stops; both stay as they are."""
        if None not in (self.layout, later.layout) and self.layout != later.layout:
            raise ShapeError(f"some rows are {later.layout}; needed is {self.layout}, as before")
        tree = self.tree.copy()
        tree.join(later.tree)
        dtypes = [part.dtype for part in (self, later) if part.dtype is not None]
        return Part(
            self.layout or later.layout,
            np.result_type(*dtypes) if dtypes else None,
            self.n_samples + later.n_samples,
            tree,
        )


def _merged(first: Any, later: Any) -> Any:
    """Both summaries in one, where there are two."""
    if first is None or later is None:
        return later if first is None else first
    return first.merge(later)
