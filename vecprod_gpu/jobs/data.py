"""Numbers that a job read, together with what a message or a header calls them."""

from dataclasses import dataclass

from ..stream._reader import Host, Names, unnamed

__all__ = ["Data", "Host", "Names", "unnamed"]


@dataclass(frozen=True)
class Data:
    """Numbers of one file, or of some of its columns.

    Attributes
    ----------
    file : str
        The file as it was named on the command line.
    values : ndarray
        The numbers; for a table ``(rows, columns)``.
    names : tuple of str, optional
        What the columns are called, where the file says so.
    """

    file: str
    values: Host
    names: Names | None = None

    def vector(self) -> Host:
        """The numbers without the second axis of a table that has a single column."""
        single = self.values.ndim == 2 and self.values.shape[1] == 1
        return self.values[:, 0] if single else self.values
