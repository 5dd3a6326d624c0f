"""The fastest plan that fits: every mesh of N devices, with micro-batch, recomputation and split of the optimizer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Dict, Iterator, List, Sequence, Tuple

from mindformers.errors import UsageError
from mindformers.parallel import limits
from mindformers.parallel.communication import Kinds
from mindformers.parallel.cost import StepTime, step_time
from mindformers.parallel.hardware import Hardware
from mindformers.parallel.job import Job, Recompute
from mindformers.parallel.limits import divisors
from mindformers.parallel.memory import RESERVE, Elements, elements, memory, usable
from mindformers.parallel.mesh import Mesh
from mindformers.parallel.placement import alike, place

LARGEST_BATCH = 16
"""Samples of a micro-batch that are tried."""
RECOMPUTE: Tuple[Recompute, ...] = ("none", "selective", "full")
ALTERNATIVES = 5
"""Plans that a report shows."""
LEVELS = (0, 1, 2, 3)


@dataclass(frozen=True)
class Candidate:
    """One plan that fits."""

    job: Job
    time: StepTime
    bytes: int
    """Memory of the fullest device."""


@dataclass(frozen=True)
class Found:
    """What a search found."""

    candidates: Tuple[Candidate, ...]
    """Plans that fit, the fastest first."""
    tried: int
    """Plans that were reckoned through."""
    reasons: Tuple[str, ...]
    """Why the first is as it is."""


def search(job: Job, devices: int, device_memory: int, hardware: Hardware) -> Found:
    """Return the plans for `devices` devices of `device_memory` bytes that train `job` with its global batch.

    A plan fits when it leaves `memory.RESERVE` of a device. Architecture, samples of a step, types and the split of the
    vocabulary are kept; the rest of `job` is chosen anew. Raises UsageError when no plan fits.
    """
    job = _bare(job)
    found: List[Candidate] = []
    tried = 0
    least: Dict[Mesh, int] = {}
    for mesh in meshes(job, devices):
        held = {
            splits: _holding(dataclasses.replace(job, mesh=mesh, shard_level=int(splits))) for splits in (False, True)
        }
        # A decoder's layers need more than an encoder's; else the first stage or the last has most.
        fullest = range(mesh.stage) if any(job.crosses) else {0, mesh.stage - 1}
        for shape in _shapes(job, mesh):
            for candidate, level in _savings(shape):
                kinds, counts = held[level > 0]
                tried += 1
                needed = max(memory(candidate, stage, counts[stage]).total for stage in fullest)
                least[mesh] = min(needed, least.get(mesh, needed))
                if needed <= usable(device_memory):
                    found.append(Candidate(candidate, step_time(candidate, kinds, hardware), needed))
    if not found:
        raise UsageError(_nothing(job, devices, device_memory, least))
    found.sort(key=lambda item: (item.time.total, _effort(item.job)))
    return Found(tuple(found), tried, tuple(_reasons(found)))


def _bare(job: Job) -> Job:
    """Return `job` without what a search chooses, or leaves alone."""
    return dataclasses.replace(
        job,
        chunks=1,
        stage_layers=None,
        schedule="1f1b",
        splits_sequence=False,
        recompute="none",
        recomputed_layers=None,
        slices_checkpoints=False,
        repeats_weight_gathers=False,
        shard_level=0,
        shard_size=None,
    )


def alternatives(found: Found) -> List[Candidate]:
    """Return the fastest plan of each mesh, a few."""
    best: Dict[Mesh, Candidate] = {}
    for item in found.candidates:
        best.setdefault(item.job.mesh, item)
    return list(best.values())[:ALTERNATIVES]


def meshes(job: Job, devices: int) -> Iterator[Mesh]:
    """Yield the meshes of `devices` devices that the model and its global batch can be placed on."""
    for tensor in divisors(devices):
        for stage in divisors(devices // tensor):
            mesh = Mesh(devices // tensor // stage, tensor, stage)
            if job.global_batch % mesh.data == 0:
                micro_batches = job.global_batch // mesh.data
                bare = dataclasses.replace(job, mesh=mesh, batch=1, micro_batches=micro_batches)
                if not limits.problems(bare):
                    yield mesh


def _holding(job: Job) -> Tuple[Kinds, Sequence[Elements]]:
    placements = place(job)
    return alike(placements), elements(placements, job.mesh.stage)


def _shapes(job: Job, mesh: Mesh) -> Iterator[Job]:
    """Yield the jobs on `mesh` with each size of micro-batch, with and without split sequences."""
    share = job.global_batch // mesh.data
    for batch in divisors(share):
        for splits in (False, True) if mesh.tensor > 1 else (False,):
            shape = dataclasses.replace(job, mesh=mesh, batch=batch, micro_batches=share // batch)
            shape = dataclasses.replace(shape, splits_sequence=splits)
            if batch <= LARGEST_BATCH and not limits.problems(shape):
                yield shape


def _savings(shape: Job) -> Iterator[Tuple[Job, int]]:
    """Yield `shape` with each way to save memory, and its level of split."""
    levels = LEVELS if shape.mesh.stage_devices > 1 else LEVELS[:1]
    for recompute in RECOMPUTE:
        for level in levels:
            yield dataclasses.replace(shape, recompute=recompute, shard_level=level), level


def _effort(job: Job) -> Tuple[int, ...]:
    """Return what to prefer among plans of the same time: the simpler one."""
    mesh = job.mesh
    saved = (job.shard_level, RECOMPUTE.index(job.recompute), int(job.splits_sequence))
    return (mesh.stage, mesh.tensor, *saved, job.micro_batches)


def _reasons(found: Sequence[Candidate]) -> Iterator[str]:
    """Yield for each choice of the best plan what the next simpler choice would cost."""
    best = found[0]
    for words, choice in _CHOICES.items():
        own = choice(best.job)
        if own == 0:
            continue
        simpler = next((item for item in found if choice(item.job) < own), None)
        if simpler is None:
            yield f"{words}: nothing with less of it fits"
        else:
            yield f"{words}: the best plan with less of it takes {simpler.time.total / best.time.total - 1:.1%} longer"


_CHOICES = {
    "a split layer": lambda job: job.mesh.tensor - 1,
    "a pipeline": lambda job: job.mesh.stage - 1,
    "recomputation": lambda job: RECOMPUTE.index(job.recompute),
    "a split optimizer": lambda job: job.shard_level,
    "split sequences": lambda job: int(job.splits_sequence),
}


def _nothing(job: Job, devices: int, device_memory: int, least: Dict[Mesh, int]) -> str:
    if not least:
        return (
            f"no mesh of {devices} devices carries this model with {job.global_batch} samples a step: data, tensor and "
            f"stage ways must divide the samples, the {job.arch.num_heads} heads and the {job.num_layers} layers; "
            "change --global-batch or --devices"
        )
    mesh = min(least, key=lambda item: least[item])
    return (
        f"nothing fits {devices} devices of {device_memory / 2**30:.1f} GiB with {RESERVE:.0%} of it left over; "
        f"the leanest plan (data {mesh.data}, tensor {mesh.tensor}, stage {mesh.stage}) needs "
        f"{least[mesh] / 2**30:.1f} GiB; take more devices or memory"
    )
