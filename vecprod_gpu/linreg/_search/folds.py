"""Which rows are fitted and which are held out, and the co-moments of both."""

import itertools
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from ... import _checks
from ...errors import ArgumentError, DeviceError, DTypeError, NotFiniteError
from .._streaming.rows import Rows, on_host
from .._streaming.streamed import segment_rows
from ..moments import CoMoments, MomentSums
from .atoms import Part, find_atoms

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Split:
    """The rows of one fit; `train` is None where they are all those that are not in `test`."""

    train: Part | None
    test: Part


class Reader:
    """Hands out rows, in blocks that are small where they have to be copied, and counts them."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._count = 0

    @property
    def n(self) -> int:
        """How many rows there are."""
        return self.rows.n

    @property
    def reads(self) -> float:
        """How often X was read: the rows handed out over those that there are."""
        return self._count / self.n

    def blocks(self, part: Part, most: int | None = None) -> Iterator[Rows]:
        """The rows of a part; views of contiguous ones, of at most so many if `most` says so."""
        start, stop = (part.start, part.stop) if isinstance(part, slice) else (0, len(part))
        if most is None:
            most = stop - start if isinstance(part, slice) else segment_rows(self.rows)
        for first in range(start, stop, most):
            last = min(first + most, stop)
            self._count += last - first
            if isinstance(part, slice):
                yield self.rows.part(first, last)
            else:
                yield self.rows.take(part[first:last])

    def moments(self, part: Part) -> CoMoments:
        """The co-moments of a part, in one read of it."""
        try:
            return reduce(CoMoments.merge, map(_moments, self.blocks(part)))
        except NotFiniteError:
            self.rows.raise_for_not_finite()  # counts the rows from the first one of X


def _moments(rows: Rows) -> CoMoments:
    """The co-moments of some rows, which then need not stay in memory."""
    moments = CoMoments.from_rows(rows)
    rows.release()
    return moments


@dataclass(frozen=True)
class Folds:
    """All splits.

    Attributes
    ----------
    splits : list of Split
    is_partition : bool
        Whether each row is held out once, and fitted in every other split.
    """

    splits: list[Split]
    is_partition: bool

    @classmethod
    def read(cls, cv: Any, random_state: Any, rows: Rows) -> "Folds":
        """From a number of folds, an object with ``split(X, y)``, or pairs of indices."""
        if isinstance(cv, bool | str) or cv is None:
            raise DTypeError(f"cv must be a number of folds, a splitter or pairs of indices, not {cv!r}")
        try:
            count = operator.index(cv)
        except TypeError:
            folds = cls._of_splitter(cv, random_state, rows)
        else:
            folds = cls.of_count(count, random_state, rows.n)
        if rows.kind == "numba" and any(not isinstance(split.test, slice) for split in folds.splits):
            raise DeviceError(
                "Numba device arrays cannot pick rows: give cupy.asarray(X) and cupy.asarray(y), "
                "or a number of folds as cv without a random_state"
            )
        return folds

    @classmethod
    def of_count(cls, count: int, random_state: Any, n: int) -> "Folds":
        """So many folds of n rows, shuffled unless `random_state` is None."""
        if not 2 <= count <= n:
            raise ArgumentError(
                f"cv is {count}; needed are at least 2 folds, and no more than n_samples={n} rows"
            )
        lengths = np.full(count, n // count)
        lengths[: n % count] += 1
        stops = np.cumsum(lengths).tolist()
        bounds = list(zip([0, *stops[:-1]], stops, strict=True))
        if random_state is None:
            return cls([Split(None, slice(*bound)) for bound in bounds], True)
        order = np.arange(n)
        _generator(random_state).shuffle(order)
        return cls([Split(None, np.sort(order[slice(*bound)])) for bound in bounds], True)

    @classmethod
    def _of_splitter(cls, cv: Any, random_state: Any, rows: Rows) -> "Folds":
        if random_state is not None:
            raise ArgumentError("random_state goes with a number of folds; a splitter has its own")
        splits = [_split(i, pair, rows.n) for i, pair in enumerate(_pairs(cv, rows))]
        if not splits:
            raise ArgumentError("cv holds no split; needed is at least one pair (train, test)")
        held_out = np.zeros(rows.n, np.int64)
        for split in splits:
            held_out[split.test] += 1
        rows_held_out = sum(length(split.test) for split in splits)
        is_partition = (
            len(splits) > 1
            and all(split.train is None for split in splits)
            and rows_held_out == rows.n
            and bool((held_out == 1).all())
        )
        return cls(splits, is_partition)

    def moments(self, reader: Reader) -> "FoldMoments":
        """The co-moments of what is fitted, of what is held out, and of all rows."""
        if self.is_partition:
            return FoldMoments.of_parts([reader.moments(split.test) for split in self.splits])
        n = reader.n
        pairs = [(_rest(split, n), split.test) for split in self.splits]
        atoms = find_atoms(pairs, n)
        if atoms is None:
            total = reader.moments(slice(0, n))
            trains, tests = ([reader.moments(pair[i]).summary for pair in pairs] for i in (0, 1))
        else:
            parts = [reader.moments(_as_slice(rows)) for rows in atoms.rows]
            total = _merged(parts, np.ones(len(parts), bool))
            trains, tests = (
                [_merged(parts, member).summary for member in members]
                for members in (atoms.in_train, atoms.in_test)
            )
        return FoldMoments.checked(trains, tests, total)


@dataclass(frozen=True)
class FoldMoments:
    """Co-moments of F splits.

    Attributes
    ----------
    train, test : MomentSums
        Of F problems.
    total : CoMoments
        Of all rows.
    """

    train: MomentSums
    test: MomentSums
    total: CoMoments

    @classmethod
    def of_parts(cls, parts: list[CoMoments]) -> "FoldMoments":
        """Of parts that hold all rows, each of which is held out once."""
        trains, total = _all_but_each(parts)
        return cls.checked(trains, [part.summary for part in parts], total)

    @classmethod
    def checked(cls, trains: list[MomentSums], tests: list[MomentSums], total: CoMoments) -> "FoldMoments":
        """Of the sets of each split, if they have any weight."""
        for name, sums in (("fitted", trains), ("held out", tests)):
            for i, one in enumerate(sums):
                if not one.total.all():
                    raise ArgumentError(f"sample_weight adds up to 0 over the rows {name} in split {i}")
        return cls(_stack(trains), _stack(tests), total)


def _all_but_each(parts: list[CoMoments]) -> tuple[list[MomentSums], CoMoments]:
    """For each part the merged others, and all of them merged.

    What comes before a part is merged with what comes after it, since subtracting it from the total
    would cancel.
    """
    before, after = [parts[0]], [parts[-1]]
    for part in parts[1:]:
        before.append(before[-1].merge(part))
    for part in reversed(parts[1:-1]):
        after.append(part.merge(after[-1]))
    after.reverse()
    inner = [first.merge(last).summary for first, last in zip(before, after[1:], strict=False)]
    return [after[0].summary, *inner, before[-2].summary], before[-1]


def _merged(parts: list[CoMoments], member: Host) -> CoMoments:
    """The parts that are members, as one."""
    return reduce(CoMoments.merge, itertools.compress(parts, member.tolist()))


def _stack(sums: list[MomentSums]) -> MomentSums:
    """Of problems of their own, one batch."""
    return MomentSums(
        *(np.concatenate([getattr(one, name) for one in sums]) for name in ("total", "means", "matrix"))
    )


def _generator(random_state: Any) -> Any:
    """What shuffles; a number seeds the generator of scikit-learn's KFold, so that the folds are the same."""
    if hasattr(random_state, "shuffle"):
        return random_state
    seed = _checks.count("random_state", random_state, minimum=0)
    return np.random.RandomState(seed)


def _pairs(cv: Any, rows: Rows) -> Iterable[Any]:
    """Pairs (train, test) of a splitter, or of what holds them."""
    if hasattr(cv, "split"):
        X = rows.X if rows.kind == "numpy" else np.broadcast_to(0.0, rows.X.shape)
        return cv.split(X, None if rows.y is None else on_host(rows.y))  # type: ignore[no-any-return]
    if not isinstance(cv, Iterable):
        raise DTypeError(
            f"cv must be a number of folds, a splitter or pairs of indices, not {type(cv).__name__}"
        )
    return cv


def _split(number: int, pair: Any, n: int) -> Split:
    """One pair of index arrays, checked."""
    try:
        train, test = pair
    except (TypeError, ValueError):
        raise ArgumentError(f"split {number} of cv is {pair!r}; needed is a pair (train, test)") from None
    train, test = (
        _indices(f"{name} in split {number} of cv", indices, n)
        for name, indices in (("train", train), ("test", test))
    )
    if len(train) + len(test) == n:
        seen = np.zeros(n, bool)
        seen[train] = seen[test] = True
        if seen.all():
            return Split(None, _as_slice(test))
    return Split(_as_slice(train), _as_slice(test))


def _indices(name: str, given: Any, n: int) -> Host:
    """Row numbers, from a mask too."""
    indices = on_host(given) if hasattr(given, "dtype") else np.asarray(given)
    if indices.dtype == bool and indices.shape == (n,):
        indices = np.flatnonzero(indices)
    if indices.ndim != 1 or not indices.size or indices.dtype.kind not in "iu":
        raise ArgumentError(
            f"{name} has shape {indices.shape} and dtype {indices.dtype}; needed are row numbers"
        )
    if indices.min() < 0 or indices.max() >= n:
        wrong = indices[(indices < 0) | (indices >= n)][0]
        raise ArgumentError(f"{name} holds {wrong}; needed are row numbers from 0 to {n - 1}")
    return indices


def _as_slice(indices: Host) -> Part:
    """Contiguous rows need no copy."""
    first, last = int(indices[0]), int(indices[-1])
    if last - first + 1 == len(indices) and bool((np.diff(indices) == 1).all()):
        return slice(first, last + 1)
    return indices


def _rest(split: Split, n: int) -> Part:
    """The rows that are fitted."""
    if split.train is not None:
        return split.train
    is_fitted = np.ones(n, bool)
    is_fitted[split.test] = False
    return _as_slice(np.flatnonzero(is_fitted))


def length(part: Part) -> int:
    """How many rows a part has."""
    return part.stop - part.start if isinstance(part, slice) else len(part)
