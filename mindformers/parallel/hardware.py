"""Devices that a search reckons with: what they do at best, by their makers' public figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict

GB = 10**9


@dataclass(frozen=True)
class Hardware:
    """One kind of device; rates are a device's own, in one direction."""

    half_flops: float
    """Floating-point operations a second in half precision."""
    single_flops: float
    """The same in single precision."""
    memory: int
    """Bytes."""
    node_bandwidth: float
    """Bytes a second to the other devices of its node."""
    net_bandwidth: float
    """Bytes a second to other nodes."""
    node_devices: int = 8
    """Devices of a node."""


HARDWARE: Dict[str, Hardware] = {
    # Hot Chips 31 (2019): 256 TFLOPS, 32 GB, three HCCS links of 240 Gbit/s, two RoCE ports of 100 Gbit/s.
    "910A": Hardware(256e12, 128e12, 32 * GB, 90e9, 25e9),
    # Atlas 800T A2: 313 TFLOPS, 64 GB, HCCS to seven neighbours at 28 GB/s each way, one RoCE port of 200 Gbit/s.
    "910B": Hardware(313e12, 75e12, 64 * GB, 196e9, 25e9),
    # A core or two of a server: for small jobs of processes on one machine; the order of magnitude.
    "CPU": Hardware(1e11, 1e11, 8 * GB, 5e9, 1e9),
}

DEFAULT_HARDWARE = "910A"

EFFICIENCY = 0.5
"""Share of its peak that a device reaches in matrix products of a large model; assumed."""

LATENCY = 2e-5
"""Seconds that an operation of communication takes beside its bytes; assumed."""
