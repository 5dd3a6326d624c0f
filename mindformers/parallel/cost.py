"""The time of a step, roughly: to compare plans with each other, not to promise a speed.

Matrix products at a fixed share of the peak; rings for communication, over the node's links where the group lies in one
node and over the network otherwise; nothing overlaps; the slowest stage sets the pace of the pipeline.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Dict, Iterable, Tuple

from mindformers.parallel.communication import Kinds, Traffic, communication
from mindformers.parallel.flops import flops
from mindformers.parallel.hardware import EFFICIENCY, LATENCY, Hardware
from mindformers.parallel.job import Job
from mindformers.parallel.pipeline import pipeline, rounds_of


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step."""

    compute: float
    """Products of the slowest stage."""
    waiting: float
    """Waiting for the pipeline to fill and to drain."""
    layers: float
    """Communication within layers and between stages."""
    gradients: float
    """Communication of gradients and weights."""

    @property
    def total(self) -> float:
        """Seconds in all."""
        return self.compute + self.waiting + self.layers + self.gradients


def step_time(job: Job, kinds: Kinds, hardware: Hardware) -> StepTime:
    """Return the time of a step by its slowest stage; `kinds` are `placement.alike` of all parameters."""
    peak = hardware.half_flops if job.compute_bytes < 4 else hardware.single_flops
    whole = flops(job).hardware / job.mesh.stage_devices / (peak * EFFICIENCY)
    work = pipeline(job).work
    stretch = rounds_of(job) / job.micro_batches
    times = []
    for stage in _distinct(job, kinds, work):
        compute = whole * work[stage]
        traffic = communication(job, kinds, stage)
        inner = [item for item in traffic if item.purpose == "activations" or item.group == "pipeline"]
        within = sum(seconds(item, job, hardware) for item in inner)
        between = sum(seconds(item, job, hardware) for item in traffic if item not in inner)
        times.append(StepTime(compute, (compute + within) * (stretch - 1), within, between))
    return max(times, key=lambda time: time.total)


def _distinct(job: Job, kinds: Kinds, work: Tuple[float, ...]) -> Iterable[int]:
    """Return one stage of each sort: the same work, recomputation, place in the pipeline and number of parameters."""
    held: Counter[Tuple[int, bool]] = Counter()
    for placement, number in kinds:
        for stage in placement.stages:
            held[stage, stage == placement.stages[0]] += number
    last = job.mesh.stage - 1
    sorts: Dict[Tuple[object, ...], int] = {}
    for stage, share in enumerate(work):
        ends = (stage == 0, stage == last)
        sorts.setdefault((share, job.recomputed_of(stage), ends, held[stage, True], held[stage, False]), stage)
    return sorts.values()


def seconds(item: Traffic, job: Job, hardware: Hardware) -> float:
    """Return the time of one kind of communication in a ring (Thakur et al. 2005, IJHPCA 19(1))."""
    if item.kind == "receive":
        return 0.0  # its sender is counted
    factor = {
        "all-reduce": 2 * (item.size - 1) / item.size,
        "all-gather": item.size - 1.0,
        "reduce-scatter": (item.size - 1) / item.size,
        "send": 1.0,
    }[item.kind]
    return item.count * LATENCY + factor * item.bytes / bandwidth(item.group, job, hardware)


def bandwidth(group: str, job: Job, hardware: Hardware) -> float:
    """Return the bytes a second between the devices of a group; ranks of a node follow each other."""
    span = {
        "tensor": job.mesh.tensor,
        "data": job.mesh.stage_devices,
        "stage": job.mesh.stage_devices,
        "pipeline": job.mesh.devices,
    }[group]
    return hardware.node_bandwidth if span <= hardware.node_devices else hardware.net_bandwidth
