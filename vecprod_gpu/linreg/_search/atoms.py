"""Sets of rows that every split treats alike, so that co-moments of each serve all splits."""

from dataclasses import dataclass
from typing import Any

import numpy as np

Host = np.ndarray[Any, Any]
Part = slice | Host
"""Some rows: from start to stop, or by their indices."""

MOST_ATOMS = 256  # merging them for each split is then less than reading its rows


@dataclass(frozen=True)
class Atoms:
    """Disjoint sets of rows, all rows in one of them.

    Attributes
    ----------
    rows : list of ndarray
        Row numbers of each, ascending.
    in_train, in_test : (F, atoms) ndarray of bool
        Which sets make up what each split fits and what it holds out.
    """

    rows: list[Host]
    in_train: Host
    in_test: Host


def find_atoms(pairs: list[tuple[Part, Part]], n: int) -> Atoms | None:
    """The atoms of n rows under pairs (train, test); None where they are too many, or rows repeat."""
    masks = [(_mask(train, n), _mask(test, n)) for train, test in pairs[:MOST_ATOMS]]
    if len(masks) < len(pairs) or any(mask is None for pair in masks for mask in pair):
        return None
    labels = np.zeros(n, np.int64)
    for train, test in masks:
        keys = 4 * labels + 2 * train + test
        found = np.flatnonzero(np.bincount(keys))
        if len(found) > MOST_ATOMS:
            return None
        number = np.zeros(keys.max() + 1, np.int64)
        number[found] = np.arange(len(found))
        labels = number[keys]
    order = np.argsort(labels, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(labels))[:-1])
    first = [int(part[0]) for part in rows]
    in_train, in_test = (np.stack([pair[i][first] for pair in masks]) for i in (0, 1))
    return Atoms(rows, in_train, in_test)


def _mask(part: Part, n: int) -> Any:
    """Which rows belong to a part; None where it holds one twice."""
    mask = np.zeros(n, bool)
    mask[part] = True
    return mask if isinstance(part, slice) or np.count_nonzero(mask) == len(part) else None
