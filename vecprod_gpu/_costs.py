"""Whether host arrays are worth sending to a GPU: transfer and kernel against the time on the host.

The rates are cautious round numbers: pageable host memory over PCIe 4, a two-core laptop, a mid-range
GPU. With them a product, which touches each element once, never pays; much arithmetic per byte does.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """What one call moves and computes."""

    bytes: int
    flops: int = 0


TRANSFER_RATE = 10e9  # bytes a second between host and device
DEVICE_RATE = 400e9  # bytes a second in the device's memory
DEVICE_FLOPS = 5e12
DEVICE_LATENCY = 100e-6  # seconds: two copies and a launch
HOST_RATE = 15e9
HOST_FLOPS = 20e9


def device_seconds(work: Work) -> float:
    """Time to send everything to a GPU and compute there."""
    return (
        DEVICE_LATENCY + work.bytes / TRANSFER_RATE + max(work.bytes / DEVICE_RATE, work.flops / DEVICE_FLOPS)
    )


def host_seconds(work: Work) -> float:
    """Time to compute where the arrays are."""
    return max(work.bytes / HOST_RATE, work.flops / HOST_FLOPS)


def device_pays(work: Work) -> bool:
    """Whether a GPU, transfers included, would be expected to end first."""
    return device_seconds(work) < host_seconds(work)


def comparison(work: Work) -> str:
    """The two estimates in words."""
    return (
        f"{work.bytes / 1e6:.3g} MB and {work.flops / 1e6:.3g} Mflop are expected to take "
        f"{host_seconds(work) * 1e3:.3g} ms on the host, {device_seconds(work) * 1e3:.3g} ms on a GPU "
        "with the transfers"
    )
