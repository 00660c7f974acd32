"""What the host and a GPU do in a second: assumed, or measured here and kept among the user's caches."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import _replace, _user_cache

VERSION = 1
"""Of the file; one of another version is not read."""

DTYPES = ("float32", "float64")
"""That rates are measured for; others are taken for the wider of them."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What the choice between the host and a GPU reckons with.

    Attributes
    ----------
    host_bytes, device_bytes : float
        Bytes a second that a pass over data reads in the memory of the host, and of the GPU.
    host_flops, device_flops : float
        Operations a second where there is much arithmetic for each byte.
    transfer_bytes : float
        Bytes a second between the two.
    latency : float
        Seconds of a call on a GPU for host arrays that hold next to nothing.
    origin : str
        Where the numbers come from.
    """

    host_bytes: float
    host_flops: float
    device_bytes: float
    device_flops: float
    transfer_bytes: float
    latency: float
    origin: str

    def __str__(self) -> str:
        return (
            f"host {_giga(self.host_bytes)}B/s and {_giga(self.host_flops)}flop/s, "
            f"GPU {_giga(self.device_bytes)}B/s and {_giga(self.device_flops)}flop/s, "
            f"transfers {_giga(self.transfer_bytes)}B/s, {self.latency * 1e6:.3g} µs a call; {self.origin}"
        )


ASSUMED = Rates(15e9, 20e9, 400e9, 5e12, 10e9, 100e-6, "assumed")
"""Cautious round numbers: a two-core laptop, a mid-range GPU, pageable host memory over PCIe 4."""

_NUMBERS = tuple(field.name for field in fields(Rates) if field.name != "origin")


def file() -> Path:
    """Where measured rates are kept."""
    return _user_cache.folder() / "rates.json"


def save(measured: Mapping[str, Mapping[str, float]]) -> None:
    """Keep rates of this machine by dtype; those of a GPU may be missing."""
    document = {
        "format": "vecprod-rates",
        "version": VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "rates": measured,
    }
    path = file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replace.replaced(path) as stream:
        stream.write(json.dumps(document, indent=1, allow_nan=False).encode() + b"\n")


def load() -> dict[str, Rates]:
    """The rates that were measured on this machine, by dtype; none where the file cannot be used."""
    try:
        document = json.loads(file().read_bytes())
        if document["version"] != VERSION or document["machine"] != machine():
            return {}
        return {dtype: _checked(document["rates"][dtype], document["created"]) for dtype in DTYPES}
    except (OSError, ValueError, TypeError, LookupError):
        return {}


def machine() -> dict[str, Any]:
    """What rates belong to: the hardware, and nothing that a process chooses, such as its threads."""
    from ._machine import cpu_name
    from .backends._driver import device_names

    return {"cpu": cpu_name(), "processors": os.cpu_count(), "gpus": device_names()}


def _checked(numbers: Mapping[str, Any], created: str) -> Rates:
    """Rates from a file; ValueError where one of them is no rate."""
    given = {name: float(numbers[name]) for name in _NUMBERS if name in numbers}
    if not given or not all(math.isfinite(number) and number > 0 for number in given.values()):
        raise ValueError
    assumed = "" if len(given) == len(_NUMBERS) else " without a GPU, whose rates are assumed"
    return Rates(**(asdict(ASSUMED) | given | {"origin": f"measured {created}{assumed}"}))


def _giga(rate: float) -> str:
    return f"{rate / 1e9:.3g} G"
