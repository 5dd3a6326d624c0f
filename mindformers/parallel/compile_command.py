"""What `mindformers plan --compile` does: a rank of each asked stage is compiled, and compared with its plan."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

from mindformers.config.check import Checked
from mindformers.errors import UsageError, counted
from mindformers.listing import table
from mindformers.parallel.communication import Traffic
from mindformers.parallel.compile_order import CompileOrder
from mindformers.parallel.compile_process import compile_in_process, compile_target
from mindformers.parallel.compiled_graph import Operation
from mindformers.parallel.job import Job
from mindformers.parallel.mesh import GROUPS, Group
from mindformers.parallel.placement import Placement
from mindformers.parallel.plan import Plan

PEERS: Group = ()
"""Stands for the two ranks of a message between stages, whichever they are."""
POINT_TO_POINT = ("send", "receive")


@dataclass(frozen=True)
class Compiled:
    """What came of one rank."""

    rank: int
    stage: int
    seconds: float
    """Time of the compiler alone."""
    memory: int
    """Bytes of the process at its peak."""
    parameters: int
    """Parameters of the stage."""
    layouts: List[str]
    """Parameters that lie otherwise than planned, each with both layouts."""
    operations: List[Tuple[str, Group, int, int]]
    """Kind, ranks (none for messages between stages), operations that are planned, and compiled."""

    @property
    def as_planned(self) -> bool:
        """Whether nothing differs."""
        return not self.layouts and all(planned == found for _, _, planned, found in self.operations)


def compile_plan(checked: Checked, plan: Plan, rank: Optional[int], stages: bool) -> List[Compiled]:
    """Compile `rank` of a planned job, by default 0, or with `stages` the first rank of each stage.

    Raises UsageError for a rank that is not there, and with the reason for a job that does not compile.
    """
    mesh = plan.job.mesh
    if rank is not None and (stages or not 0 <= rank < mesh.devices):
        raise UsageError(f"--rank {rank}: give a rank from 0 to {mesh.devices - 1}, without --stages")
    if mesh.devices == 1:
        raise UsageError("--compile: the job has one device; give --devices, or a layout of several")
    if checked.run.model.arch is None or plan.job.arch.head in ("none", "pooler"):
        raise UsageError("--compile: the model has no loss; let model.arch name a class with one, e.g. GPT2LMHeadModel")
    ranks = [mesh.stage_ranks(stage)[0] for stage in range(mesh.stage)] if stages else [rank or 0]
    return [compile_rank(checked, plan, item) for item in ranks]


def compile_rank(checked: Checked, plan: Plan, rank: int) -> Compiled:
    """Compile one rank and compare it with the plan."""
    job, target = plan.job, compile_target()
    half = "bfloat16" if target == "Ascend" else "float16"  # stub libraries know no bfloat16; sizes are the same
    types = {4: "float32", 2: half}
    result = compile_in_process(CompileOrder(checked, job, rank, target, types[job.compute_bytes]))
    stage = job.mesh.place(rank).stage
    own = [item for item in plan.placements if item.stages[0] == stage]
    found = Counter({(kind, _peers(kind, ranks)): 0 for kind, ranks, _ in result["operations"]})
    for kind, ranks, count in result["operations"]:
        found[(kind, _peers(kind, ranks))] += count
    planned = _planned(job, plan.communication[stage], rank)
    operations = [(*key, planned[key], found[key]) for key in sorted({*planned, *found})]
    return Compiled(
        rank=rank,
        stage=stage,
        seconds=result["seconds"]["compiling"],
        memory=result["memory"],
        parameters=len(own),
        layouts=[text for item in own for text in _differences(item, result["layouts"].get(item.path), job)],
        operations=operations,
    )


def _peers(kind: str, ranks: Sequence[int]) -> Group:
    return PEERS if kind in POINT_TO_POINT else tuple(ranks)


def _planned(job: Job, traffic: Sequence[Traffic], rank: int) -> Dict[Operation, int]:
    """Return the operations of a plan by the ranks that take part; groups of the same ranks are one."""
    counts: Dict[Operation, int] = Counter()
    for item in traffic:
        group = PEERS if item.kind in POINT_TO_POINT else _group(job, item, rank)
        counts[(item.kind, group)] += item.count
    return counts


def _group(job: Job, item: Traffic, rank: int) -> Group:
    (group,) = (ranks for ranks in job.mesh.groups(item.group) if rank in ranks)
    if item.size == len(group):
        return group
    # A smaller share of the optimizer: neighbours in the group share, those at the same place in each share add up.
    place, shards = group.index(rank), job.shard_size or len(group)
    if item.size == shards:
        first = place // shards * shards
        return group[first : first + shards]
    return group[place % shards :: shards]


def _differences(placement: Placement, layout: Optional[Dict[str, Any]], job: Job) -> List[str]:
    """Return how a compiled layout differs from the planned one, nothing when it does not."""
    if layout is None:
        return [f"{placement.path}: planned, and not in the graph"]
    axes = tuple(_axis(layout["devices"], number, job) for number in layout["axes"])
    shards = _shards(layout["shared_by"], job)
    planned, found = (placement.axes, placement.slice_shape, placement.shards), (axes, tuple(layout["slice"]), shards)
    if planned == found:
        return []
    texts = [f"{list(shape)} split by {_names(names)}, shared by {number}" for names, shape, number in (planned, found)]
    return [f"{placement.path}: planned {texts[0]}; compiled {texts[1]}"]


def _axis(devices: Sequence[int], number: int, job: Job) -> Optional[str]:
    """Return the axis of the mesh that an axis of MindSpore's device matrix is, counted from its end; -1 is none."""
    if number < 0:
        return None
    ways, stride = devices[-1 - number], math.prod(devices[len(devices) - number :])
    if ways == 1:
        return None
    known = {(job.mesh.tensor, 1): "tensor", (job.mesh.data, job.mesh.tensor): "data"}
    return known.get((ways, stride), f"{ways} devices, every {stride}th")


def _names(axes: Sequence[Optional[str]]) -> str:
    return ", ".join(axis or "-" for axis in axes)


def _shards(shared_by: str, job: Job) -> int:
    """Return among how many devices the optimizer splits a slice; the group's name begins with it."""
    if not shared_by:
        return 1
    size = shared_by.partition("-")[0]
    return int(size) if size.isdigit() else job.mesh.stage_devices


def compiled_text(plan: Plan, compiled: Sequence[Compiled]) -> str:
    """Return what came of the ranks as text."""
    rows: List[Sequence[str]] = [("rank", "stage", "seconds", "GiB", "parameters as planned", "communication")]
    for item in compiled:
        good = item.parameters - len(item.layouts)
        right = sum(planned == found for _, _, planned, found in item.operations)
        rows.append(
            (
                str(item.rank),
                str(item.stage),
                f"{item.seconds:.1f}",
                f"{item.memory / 2**30:.2f}",
                f"{good} of {item.parameters}",
                f"{right} of {counted(len(item.operations), 'kind')}",
            )
        )
    parts = [f"Compiled for {plan.job.mesh.devices} devices:\n\n{table(rows, right=(0, 1, 2, 3))}"]
    parts += [_operations(plan.job, item) for item in compiled]
    differing = [f"rank {item.rank}: {text}" for item in compiled for text in item.layouts]
    parts += ["Layouts that differ from the plan:\n" + "\n".join(differing)] if differing else []
    return "\n\n".join(parts)


def _operations(job: Job, item: Compiled) -> str:
    rows: List[Sequence[str]] = [(f"rank {item.rank}", "ranks", "planned", "compiled", "")]
    for kind, group, planned, found in item.operations:
        where = f"{_kinds(job, group, item.rank)}: {', '.join(map(str, group))}" if group else "next stages"
        rows.append((kind, where, str(planned), str(found), "" if planned == found else "differs"))
    return table(rows, right=(2, 3))


def _kinds(job: Job, group: Group, rank: int) -> str:
    """Return the kinds of group that have these ranks."""
    return " or ".join(kind for kind in GROUPS if group in job.mesh.groups(kind)) or "others"


def compiled_data(compiled: Sequence[Compiled]) -> Dict[str, Any]:
    """Return what came of the ranks as plain data."""
    return {"compiled": [{**asdict(item), "as_planned": item.as_planned} for item in compiled]}
