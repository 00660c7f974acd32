"""What a fit reads: columns of a table as features, and columns of it or other files for the rest."""

from collections import Counter
from pathlib import Path

import numpy as np

from .._finite import first_not_finite
from ..errors import BadInputError
from .data import Data, Host, Names, unnamed
from .files import Source, has_suffix, split_key


class Observations:
    """The features, the target and the sample weights of a fit, before they are read.

    Attributes
    ----------
    files : dict of str to str
        The file of each argument of the fit.
    """

    def __init__(self, source: Source, target: str, sample_weight: str | None) -> None:
        self._source, self._table = source, source.open()
        if self._table.width is None:
            raise BadInputError(f"{source.file} is no table of rows and columns, which a fit needs")
        words = {"y": target} | ({} if sample_weight is None else {"sample_weight": sample_weight})
        self._beside = {argument: self._column_or_file(word) for argument, word in words.items()}
        self._features = self._choose_features()
        self.files = {"X": source.file}
        for argument, where in self._beside.items():
            self.files[argument] = where.file if isinstance(where, Source) else source.file

    @property
    def paths(self) -> list[Path]:
        """Every file that is read."""
        return [split_key(file)[0] for file in self.files.values()]

    def read(self) -> dict[str, Data]:
        """X, y and, where they were asked for, the sample weights, each with finite numbers in every row."""
        columns = {argument: [at] for argument, at in self._beside.items() if isinstance(at, int)}
        groups = self._table.read(self._features, *columns.values())
        data = dict(zip(("X", *columns), groups, strict=True))
        for argument, where in self._beside.items():
            if isinstance(where, Source):
                data[argument] = where.read()
        rows = len(data["X"].values)
        if not rows:
            raise BadInputError(f"{self._source.file} has no rows")
        for part in data.values():
            require_real(part)
            if len(part.values) != rows:
                raise BadInputError(
                    f"{part.file} has {len(part.values)} rows, but {self._source.file} has {rows}"
                )
            require_finite(part)
        if "sample_weight" in data:
            _require_weights(data["sample_weight"])
        return data

    def target_names(self, y: Data) -> Names:
        """What the targets are called: as their columns or, where those do not tell, as their file or key."""
        if y.names is not None and len(set(y.names)) == len(y.names):
            return y.names
        count = y.values[:1].size
        if isinstance(at := self._beside["y"], int):
            return unnamed(at + 1)[-1:]
        path, key = split_key(y.file)
        name = key or path.stem
        return (name,) if count == 1 else tuple(f"{name}{target}" for target in range(count))

    def _column_or_file(self, word: str) -> int | Source:
        if self._table.find(word) is None and has_suffix(word):
            return Source(word, header=self._source.header)
        return self._table.column(word)

    def _choose_features(self) -> list[int]:
        """All columns that are nothing else, or those that were chosen."""
        taken = {at for at in self._beside.values() if isinstance(at, int)}
        if self._source.columns is None:
            features = [at for at in range(self._table.width or 0) if at not in taken]
        else:
            features = self._table.columns(self._source.columns)
        file, names = self._source.file, self._table.names
        labels = [names[at] if names else at for at in features]
        if not features:
            raise BadInputError(f"{file} has no columns left to fit on")
        if repeated := [label for label, times in Counter(labels).items() if times > 1]:
            raise BadInputError(f"{file}: two features are the column {repeated[0]!r}; choose with --columns")
        if both := taken.intersection(features):
            label = labels[features.index(both.pop())]
            raise BadInputError(
                f"{file}: column {label!r} is a feature, and the target or the weight as well"
            )
        return features


def require_real(data: Data) -> None:
    """Raise unless the data are real numbers, in rows."""
    if data.values.dtype.kind not in "biuf":
        raise BadInputError(f"{data.file} holds {data.values.dtype}; needed are real numbers")
    if data.values.ndim not in (1, 2):
        raise BadInputError(
            f"{data.file} has shape {data.values.shape}; needed are rows, or rows and columns"
        )


def require_finite(data: Data, first_row: int = 0, rows: Host | None = None) -> None:
    """Raise where one of the rows, by default of all, holds NaN or infinity, which is also an empty cell."""
    values = data.values if rows is None else rows
    index = first_not_finite(values)
    if index is None:
        return
    found = values[index]
    place = data.place((first_row + index[0], *index[1:]))
    what = "empty or NaN" if data.row_words and np.isnan(found) else found
    raise BadInputError(f"{data.file}: {place} is {what}; needed are finite numbers")


def _require_weights(data: Data) -> None:
    if data.vector().ndim != 1:
        raise BadInputError(f"{data.file} has shape {data.values.shape}; needed is one weight for each row")
    negative = np.argwhere(data.values < 0)
    if len(negative):
        index = tuple(int(i) for i in negative[0])
        raise BadInputError(
            f"{data.file}: {data.place(index)} is {data.values[index]}; a weight must not be negative"
        )
