"""Everything that can be said of a job before it runs: pure arithmetic on the architecture and the mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from mindformers.errors import ConfigError, Problem
from mindformers.parallel import limits
from mindformers.parallel.communication import Traffic, communication
from mindformers.parallel.flops import Flops, flops
from mindformers.parallel.job import Job
from mindformers.parallel.memory import Memory, elements, memory, usable
from mindformers.parallel.pipeline import Pipeline, pipeline
from mindformers.parallel.placement import Placement, alike, place


@dataclass(frozen=True)
class Plan:
    """One job, placed."""

    job: Job
    placements: Tuple[Placement, ...]
    memory: Tuple[Memory, ...]
    """Bytes on a device of each stage."""
    communication: Tuple[Tuple[Traffic, ...], ...]
    """What a device of each stage sends in a step."""
    pipeline: Pipeline
    flops: Flops
    device_memory: Optional[int] = None
    """Bytes that the job may take of a device, its reserve among them; None when nobody says."""

    @property
    def fullest(self) -> int:
        """The stage whose devices need most memory."""
        return max(range(len(self.memory)), key=lambda stage: self.memory[stage].total)

    @property
    def fits(self) -> Optional[bool]:
        """Whether every device has the memory and its reserve left; None when nobody says how much there is."""
        return None if self.device_memory is None else self.memory[self.fullest].total <= usable(self.device_memory)


def make_plan(job: Job, device_memory: Optional[int] = None) -> Plan:
    """Return the plan of a job; raises ConfigError with every reason why it cannot be placed."""
    found = limits.problems(job)
    if found:
        raise ConfigError([Problem(key, message) for key, message in found])
    placements = place(job)
    kinds = alike(placements)
    stages = range(job.mesh.stage)
    return Plan(
        job=job,
        placements=tuple(placements),
        memory=tuple(memory(job, stage, count) for stage, count in enumerate(elements(placements, job.mesh.stage))),
        communication=tuple(tuple(communication(job, kinds, stage)) for stage in stages),
        pipeline=pipeline(job),
        flops=flops(job),
        device_memory=device_memory,
    )
