"""Bytes on a device of each stage: weights, gradients, optimizer state, activations."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Dict, List, Sequence

from mindformers.parallel.activations import again_bytes, head_bytes, in_flight, stage_layer_bytes
from mindformers.parallel.job import FLOAT32, Job
from mindformers.parallel.placement import Placement

MOMENTS = 2
"""States that AdamW keeps for an element of a parameter, in float32; of half precision there is a float32 copy too."""
RESERVE = 0.1
"""Share of a device's memory that a plan leaves for what `Memory` does not count: workspace of operators, buffers of
communication, gaps of the allocator."""


@dataclass(frozen=True)
class Memory:
    """Bytes on one device."""

    weights: int
    """What is kept between steps."""
    copies: int
    """Weights in the type of activations, gathered from the devices that share them or received from another stage."""
    gradients: int
    optimizer: int
    activations: int
    """What layers keep of all micro-batches under way, and what is worked out again at one time."""
    logits: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return sum(getattr(self, item.name) for item in fields(self))


def usable(device_memory: int) -> int:
    """Return the bytes that a plan may fill of a device with `device_memory` bytes."""
    return int(device_memory * (1 - RESERVE))


@dataclass(frozen=True)
class Elements:
    """Elements of parameters on one device of a stage, counted for `Memory`."""

    used: int = 0
    """Elements that it computes with."""
    owned: int = 0
    """Those of them that the stage owns: their gradients are added up here."""
    stored: int = 0
    """Elements that it keeps and updates."""
    gathered: int = 0
    """Elements that it computes with but does not keep."""
    largest_layer: int = 0
    """Elements of the largest layer."""


def elements(placements: Sequence[Placement], stages: int) -> List[Elements]:
    """Return what a device of each stage holds."""
    counts: List[Dict[str, int]] = [dict.fromkeys(("used", "owned", "stored", "gathered"), 0) for _ in range(stages)]
    layers: List[Dict[str, int]] = [{} for _ in range(stages)]
    for placement in placements:
        size, stored = placement.slice_size, placement.stored_size
        for stage in placement.stages:
            count = counts[stage]
            owns = stage == placement.stages[0]
            count["used"] += size
            count["owned"] += size if owns else 0
            count["stored"] += stored if owns else 0
            count["gathered"] += size if not owns or stored < size else 0
            layer = placement.path.partition("layers.")[2].partition(".")[0]
            layers[stage][layer] = layers[stage].get(layer, 0) + size
    return [
        Elements(**count, largest_layer=max((size for name, size in known.items() if name), default=0))
        for count, known in zip(counts, layers)
    ]


def memory(job: Job, stage: int, count: Elements) -> Memory:
    """Return the bytes on a device of `stage`, which holds the parameters that `count` says."""
    copied = count.used if job.compute_bytes != job.param_bytes else count.gathered
    if job.lets_weights_go(stage):
        copied = min(copied, 2 * count.largest_layer)  # one layer in use, the next one on its way
    received = count.used - count.owned
    return Memory(
        weights=count.stored * job.param_bytes,
        copies=copied * job.compute_bytes,
        gradients=(received + (count.stored if job.shard_level >= 2 else count.owned)) * job.param_bytes,
        optimizer=(MOMENTS + (job.param_bytes < FLOAT32)) * count.stored * FLOAT32,
        activations=int(in_flight(job, stage) * stage_layer_bytes(job, stage)) + again_bytes(job, stage),
        logits=head_bytes(job) if stage == job.mesh.stage - 1 else 0,
    )
