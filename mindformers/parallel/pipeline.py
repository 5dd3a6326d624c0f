"""How evenly the stages of a pipeline work, and how long they wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

from mindformers.parallel.flops import head_flops, layer_flops
from mindformers.parallel.job import Job


@dataclass(frozen=True)
class Pipeline:
    """The stages of one job."""

    layers: Tuple[int, ...]
    """Layers of each stage."""
    work: Tuple[float, ...]
    """Share of a forward pass that each stage does."""
    bubble: float
    """Share of a step in which a stage waits for the pipeline to fill and to drain, were all stages alike: (p - 1) /
    (v m + p - 1) for p stages, m micro-batches and v chunks (Narayanan et al. 2021, arXiv:2104.04473, section 2.2)."""
    idle: float
    """Share of a step in which an average stage waits, for the slower ones too."""


def pipeline(job: Job) -> Pipeline:
    """Return how the stages share the work."""
    stages = job.mesh.stage
    flops = [0] * stages
    for stage, layer in zip(job.layer_stages, layer_flops(job)):
        flops[stage] += layer
    flops[-1] += head_flops(job)
    rounds = rounds_of(job)
    return Pipeline(
        layers=tuple(job.layers_of(stage) for stage in range(stages)),
        work=tuple(part / sum(flops) for part in flops),
        bubble=1 - job.micro_batches / rounds,
        idle=1 - sum(flops) / stages * job.micro_batches / (max(flops) * rounds),
    )


def rounds_of(job: Job) -> float:
    """Return how many micro-batches' time a step takes."""
    return job.micro_batches + (job.mesh.stage - 1) / job.chunks
