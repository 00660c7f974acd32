"""Every exception that the package raises of its own; each subclasses the built-in that fits."""

from typing import Self

from numpy.linalg import LinAlgError


class VecprodError(Exception):
    """Base of all errors of this package."""


class ShapeError(VecprodError, ValueError):
    """An argument's shape does not fit; the message names it, its shape and the one needed."""


class DTypeError(VecprodError, TypeError):
    """An argument's dtype cannot be taken where its data lives."""


class DeviceError(VecprodError, TypeError):
    """The arguments of one call live on different devices."""


class WeightShapeError(ShapeError, RuntimeError):
    """Weights do not fit the observations; also a RuntimeError, as `numpy.cov` raises."""


class IndexRangeError(VecprodError, IndexError):
    """An index points outside of what it indexes; the message names where it stands."""


class ArgumentError(VecprodError, ValueError):
    """A scalar argument is out of its range."""


class NotFiniteError(ArgumentError):
    """Data hold NaN or infinity; the message names the first row and column.

    Attributes
    ----------
    argument : str or None
        The array that holds it; None where it is not known, as of sums that overflow.
    row : int or None
        Its row, counted from the first one ever read.
    column : int or None
        Its column; None in an array that has none.
    value : float or None
        NaN or infinity.
    """

    argument: str | None = None
    row: int | None = None
    column: int | None = None
    value: float | None = None

    @classmethod
    def at(cls, argument: str, row: int, column: int | None, value: float, message: str) -> Self:
        """The error of an element whose place is known."""
        error = cls(message)
        error.argument, error.row, error.column, error.value = argument, row, column, value
        return error


class DivergenceError(VecprodError, ArithmeticError):
    """A learning rate at which the descent runs away; the message names it and the largest stable one."""


class SingularError(VecprodError, LinAlgError):
    """Columns depend on each other where a solver needs them not to; the message names others."""


class ArchiveError(VecprodError, ValueError):
    """A file holds nothing that can be loaded; the message says what is wrong with it."""


class WeightSumError(ArgumentError, ZeroDivisionError):
    """Weights add up to nothing; also a ZeroDivisionError, as `numpy.average` raises."""


class BackendError(VecprodError):
    """Base of the errors about choosing a backend."""


class UnknownBackendError(BackendError, ValueError):
    """No backend has that name; the message lists those there are."""


class BackendUnavailableError(BackendError, RuntimeError):
    """The backend exists but cannot run here; the message says why and how to mend it."""


class BadInputError(VecprodError):
    """What a command was asked for cannot be done; the message is one line."""
