"""Whether host arrays are worth sending to a GPU: transfer and kernel against the time on the host.

The rates behind it are those that ``vecprod bench --calibrate`` measured on this machine, or else assumed.
With the assumed ones a product, which touches each element once, never pays; much arithmetic per byte does.

Measured rates change which backend takes a call, and with it the last bits of sums, as the presence of a GPU
does. They are read once, so that within a process, and on a machine until it is calibrated again, the
choice depends on the shapes and the dtype alone: not on load, on the number of threads or on earlier calls.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from . import _rates
from ._rates import ASSUMED, Rates


@dataclass(frozen=True, slots=True)
class Work:
    """What one call moves and computes."""

    bytes: int
    flops: int = 0


def cross_work(vectors: int, dtype: np.dtype[Any]) -> Work:
    """Of so many cross products."""
    return Work(bytes=9 * vectors * dtype.itemsize, flops=9 * vectors)


def outer_work(elements: int, moved_elements: int, dtype: np.dtype[Any]) -> Work:
    """Of outer products with so many elements."""
    return Work(bytes=moved_elements * dtype.itemsize, flops=elements)


def device_pays(work: Work, dtype: np.dtype[Any]) -> bool:
    """Whether a GPU, transfers included, would be expected to end first.

    What the host ends, by the assumed rates, before a GPU would have begun is not weighed any further: no
    small call looks for measured rates.
    """
    if host_seconds(work, ASSUMED) <= ASSUMED.latency:
        return False
    rates = rates_of(dtype)
    return device_seconds(work, rates) < host_seconds(work, rates)


def device_seconds(work: Work, rates: Rates) -> float:
    """Time to send everything to a GPU and compute there."""
    computing = max(work.bytes / rates.device_bytes, work.flops / rates.device_flops)
    return rates.latency + work.bytes / rates.transfer_bytes + computing


def host_seconds(work: Work, rates: Rates) -> float:
    """Time to compute where the arrays are."""
    return max(work.bytes / rates.host_bytes, work.flops / rates.host_flops)


def comparison(work: Work, dtype: np.dtype[Any]) -> str:
    """The two estimates in words, and the rates that they come from."""
    rates = rates_of(dtype)
    return (
        f"{work.bytes / 1e6:.3g} MB and {work.flops / 1e6:.3g} Mflop are expected to take "
        f"{host_seconds(work, rates) * 1e3:.3g} ms on the host, {device_seconds(work, rates) * 1e3:.3g} ms "
        f"on a GPU with the transfers (rates: {rates})"
    )


def rates_of(dtype: np.dtype[Any]) -> Rates:
    """The rates of this machine for arrays of a dtype, measured if they have been."""
    return _measured().get("float32" if dtype.char in "efF" else "float64", ASSUMED)


@cache
def _measured() -> Mapping[str, Rates]:
    return _rates.load()
