"""A fitted linear model as a JSON file that other programs can read as well.

The fields of version 1::

    format      "vecprod-linear-model"
    version     1
    features    names of the columns to predict from, in order; null where they had none
    targets     names of what is predicted
    coef        for each target, a coefficient for each feature
    intercept   a number for each target
    dtype       in which predictions are computed: "float64", "float32" or "float16"
    penalties   l1 and l2; of a search, the best ones
    fit         solver and the reason why it was that one; learning_rate (null where no steps of such a length
                were taken), max_iter, tol (null with a search, which takes every step of a descent),
                fit_intercept; iterations, converged (null where there was no tol), rank (independent columns,
                null where that was not found out), loss for each target (penalties included) and backend
    search      only where there was a choice: cv (folds), scoring, seed, solver (as it was asked for),
                best_score, best_params; and lists with an entry for each point of the grid: param_l1,
                param_l2, param_learning_rate, param_max_iter, mean_test_score, std_test_score (null where a
                descent diverged)
    data        file, target, sample_weight; rows and columns that the model was fitted on
    versions    of vecprod-gpu, numpy and python
    created     when, in UTC

A prediction is ``coef · features + intercept``.  The first seven fields are needed to read a model.
"""

import json
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..errors import BadInputError
from .data import Host, Names
from .files import require_readable

FORMAT = "vecprod-linear-model"
VERSION = 1

DTYPES = ("float64", "float32", "float16")


@dataclass(frozen=True)
class Model:
    """A linear model with one or more targets.

    Attributes
    ----------
    features : tuple of str or None
        Names of the columns to predict from.
    targets : tuple of str
        Names of what is predicted.
    coef : (k, d) ndarray
        Coefficients of each target.
    intercept : (k,) ndarray
        Intercepts, of the same dtype.
    about : dict
        The other fields of the file: penalties, fit, search and data.
    """

    features: Names | None
    targets: Names
    coef: Host
    intercept: Host
    about: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of a model file."""
        fields = {
            "format": FORMAT,
            "version": VERSION,
            "features": self.features,
            "targets": self.targets,
            "coef": self.coef.tolist(),
            "intercept": self.intercept.tolist(),
            "dtype": str(self.coef.dtype),
            **self.about,
            "versions": {
                "vecprod-gpu": __version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        return json.dumps(fields, indent=2, allow_nan=False) + "\n"

    def predict(self, X: Host) -> Host:
        """Predictions for rows of features: ``(n,)`` for one target, else ``(n, k)``."""
        predictions = X @ self.coef.T + self.intercept
        return predictions[:, 0] if len(self.targets) == 1 else predictions


def plain(numbers: Any) -> list[Any]:
    """Numbers, or the word "auto" among them, as JSON takes them: null for those that are not finite."""
    return [
        None if isinstance(number, float) and not isfinite(number) else number
        for number in np.atleast_1d(numbers).tolist()
    ]


def read_model(file: str) -> Model:
    """Read a model file, checking all that a prediction needs."""
    require_readable(Path(file))
    try:
        fields = json.loads(Path(file).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise BadInputError(f"{file} is no JSON file: {error}") from None
    try:
        return _checked(fields)
    except ValueError as error:
        raise BadInputError(f"{file} is no model that can be read here: {error}") from None


def _checked(fields: Any) -> Model:
    """The model that the fields describe.

    Raises
    ------
    ValueError
        With the reason why they describe none.
    """
    if not isinstance(fields, dict):
        raise ValueError("it holds no JSON object")
    if (found := fields.get("format")) != FORMAT:
        raise ValueError(f"its format is {found!r}, not {FORMAT!r}")
    if type(found := fields.get("version")) is not int or found != VERSION:
        raise ValueError(f"its version is {found!r}; this program reads version {VERSION}")
    features = None if _needed(fields, "features") is None else _names(fields, "features")
    targets = _names(fields, "targets")
    if (dtype := _needed(fields, "dtype")) not in DTYPES:
        raise ValueError(f"its dtype is {dtype!r}; needed is one of {', '.join(DTYPES)}")
    intercept = _numbers("intercept", _needed(fields, "intercept"), dtype)
    rows = _needed(fields, "coef")
    if not isinstance(rows, list) or not len(rows) == len(intercept) == len(targets):
        raise ValueError(f"{len(targets)} targets need as many lists in 'coef' and numbers in 'intercept'")
    coef = [_numbers("coef", row, dtype) for row in rows]
    count = len(coef[0]) if features is None else len(features)
    for target, row in zip(targets, coef, strict=True):
        if len(row) != count:
            raise ValueError(f"it has {len(row)} coefficients for {target!r} and {count} features")
    return Model(features, targets, np.array(coef), intercept)


def _needed(fields: dict[str, Any], name: str) -> Any:
    if name not in fields:
        raise ValueError(f"the field {name!r} is missing")
    return fields[name]


def _names(fields: dict[str, Any], name: str) -> Names:
    names = _needed(fields, name)
    if not isinstance(names, list) or not names or not all(isinstance(entry, str) for entry in names):
        raise ValueError(f"{name!r} is no list of names")
    if len(set(names)) < len(names):
        raise ValueError(f"{name!r} holds a name twice")
    return tuple(names)


def _numbers(name: str, entries: Any, dtype: str) -> Host:
    if not isinstance(entries, list) or not entries or not {type(entry) for entry in entries} <= {int, float}:
        raise ValueError(f"{name!r} holds something other than numbers")
    most = float(np.finfo(dtype).max)
    if not all(abs(entry) <= most for entry in entries):
        raise ValueError(f"{name!r} holds a number that {dtype} does not")
    return np.array(entries, dtype)
