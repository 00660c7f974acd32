"""How much memory a job may take, and how much of it one batch."""

import re
import sys
from contextlib import suppress
from pathlib import Path

from ..errors import ArgumentError

MOST_BATCH_BYTES = 1 << 27  # some segments of rows for each thread; larger ones make nothing faster
LEAST_BATCH_BYTES = 1 << 20  # below it, calls and not bytes would set the pace

_UNITS = {"": 1, "B": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("KMGTP", start=1)
    for suffix, base in (("", 1000), ("B", 1000), ("IB", 1024))
}


def parse_memory(text: str | int) -> int:
    """Bytes of an amount of memory.

    Parameters
    ----------
    text : str or int
        A number with a unit, ``kB`` or ``KiB`` to ``PB`` or ``PiB`` in any case; ``k`` is ``kB``. Numbers
        without one, and ints, are bytes.

    Returns
    -------
    int
        Bytes, above 0.

    Raises
    ------
    ArgumentError
        If the text is no such number.

    Examples
    --------
    >>> parse_memory("1GB"), parse_memory("1.5 MiB"), parse_memory(4096)
    (1000000000, 1572864, 4096)
    """
    number = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(text))
    unit = number and _UNITS.get(number[2].upper())
    nbytes = int(float(number[1]) * unit) if number and unit and "." in number[1] else 0
    if number and unit and not nbytes:
        nbytes = int(number[1].partition(".")[0]) * unit
    if nbytes < 1:
        raise ArgumentError(f"memory is {text!r}; needed is a number of bytes, as 1GB or 512MiB")
    return nbytes


def resident_bytes() -> int:
    """What the process holds in memory now; 0 where the system does not say."""
    with suppress(OSError):
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        import resource

        return int(pages) * resource.getpagesize()
    with suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return 0


def batch_bytes(
    memory: int | None, copies: int, beside: int = 0, most: int | None = None, why: str = ""
) -> int:
    """What one batch may take, so that all that is held at a time fits.

    Parameters
    ----------
    memory : int or None
        Bytes that the process may hold, what it holds already included; without it, batches have the
        size that is fastest.
    copies : int
        How many batches, or what takes as much, are held at a time.
    beside : int, default 0
        What is held beside them.
    most : int, optional
        The size that is fastest, where it is another one than on the host.
    why : str, optional
        Why so much is held beside them, and what would make it less.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    ArgumentError
        If the memory does not suffice for batches at all.
    """
    if memory is None:
        return most or MOST_BATCH_BYTES
    held = resident_bytes()
    share = (memory - held - beside) // copies
    if share < LEAST_BATCH_BYTES:
        needed = held + beside + copies * LEAST_BATCH_BYTES
        raise ArgumentError(
            f"memory is {memory} bytes, of which {held} are taken already; needed are {needed} or more"
            + (f": {why}" if why else "")
        )
    return min(share, most or MOST_BATCH_BYTES)
