"""A plan in words and tables."""

from __future__ import annotations

import dataclasses
import re
from typing import Dict, Iterator, List, Sequence, Tuple

from mindformers.arch.paths import count, parameter_table
from mindformers.listing import rounded, table
from mindformers.parallel.memory import RESERVE, Memory, usable
from mindformers.parallel.mesh import GROUPS
from mindformers.parallel.placement import Placement
from mindformers.parallel.plan import Plan
from mindformers.parallel.search import Candidate, Found, alternatives

GROUPS_SHOWN = 4
STAGES_SHOWN = 16

_LAYER = re.compile(r"layers\.\d+\.")
_MESH = ("data", "tensor", "stage")
_MEMORY = [item.name for item in dataclasses.fields(Memory)]


def plan_text(plan: Plan) -> str:
    """Return a plan as text; memory in GiB."""
    parts = (_mesh(plan), _parameters(plan), _memory(plan), _pipeline(plan), _communication(plan), _end(plan))
    return "\n\n".join(parts)


def search_text(found: Found, plan: Plan) -> str:
    """Return what a search found, and the plan that it proposes."""
    rows: List[Sequence[str]] = [
        (*_MESH, "micro-batch", "number", "recompute", "split optimizer", "split sequence", "seconds", "GiB")
    ]
    rows += [_candidate(item) for item in alternatives(found)]
    reasons = "\n".join(f"  {reason}" for reason in found.reasons)
    return "\n\n".join(
        (
            f"{len(found.candidates)} of {found.tried} plans fit; the fastest of each mesh:",
            table(rows, right=(0, 1, 2, 3, 4, 8, 9)),
            *([f"Why the first:\n{reasons}"] if reasons else []),
            "Write it down:\n" + "\n".join(f"  {line}" for line in settings(found.candidates[0])),
            plan_text(plan),
        )
    )


def settings(candidate: Candidate) -> List[str]:
    """Return the lines of a run file that make a plan, whatever the files below it say.

    A plan of data parallelism alone gets the mode and the accumulation that a run carries out.
    """
    job, mesh = candidate.job, candidate.job.mesh
    splits, again = _yes(job.shard_level > 0), job.recompute
    compiled = mesh.tensor * mesh.stage > 1 or job.shard_level > 0 or again != "none"
    portions, accumulation = (job.micro_batches, 1) if mesh.stage > 1 else (1, job.micro_batches)
    return [
        f"use_parallel: {_yes(mesh.devices > 1)}",
        f"parallel: {{parallel_mode: {int(compiled)}, full_batch: {_yes(compiled)}, "
        f"enable_parallel_optimizer: {splits}, "
        f"parallel_optimizer_config: {{optimizer_level: level{max(job.shard_level, 1)}, "
        "optimizer_weight_shard_size: -1}, pipeline_config: {pipeline_scheduler: 1f1b}}",
        f"parallel_config: {{data_parallel: {mesh.data}, model_parallel: {mesh.tensor}, pipeline_stage: {mesh.stage}, "
        f"micro_batch_num: {portions}, use_seq_parallel: {_yes(job.splits_sequence)}, "
        f"optimizer_shard: {splits}, stage_layers: null, pp_interleave_num: 1}}",
        f"recompute_config: {{recompute: {_yes(again != 'none')}, select_recompute: {_yes(again == 'selective')}, "
        "recompute_slice_activation: false, parallel_optimizer_comm_recompute: false}",
        f"runner_config: {{batch_size: {job.batch}, gradient_accumulation_steps: {accumulation}}}",
        "micro_batch_interleave_num: 1",
    ]


def _yes(value: bool) -> str:
    return "true" if value else "false"


def _candidate(item: Candidate) -> Tuple[str, ...]:
    job = item.job
    numbers = (job.mesh.data, job.mesh.tensor, job.mesh.stage, job.batch, job.micro_batches)
    level = f"level {job.shard_level}" if job.shard_level else "no"
    words = (job.recompute, level, "yes" if job.splits_sequence else "no")
    return (*map(str, numbers), *words, f"{item.time.total:.3g}", _gib(item.bytes))


def _gib(number: float) -> str:
    return "<0.01" if 0 < number < 0.005 * 2**30 else f"{number / 2**30:.2f}"


def _mesh(plan: Plan) -> str:
    job, mesh = plan.job, plan.job.mesh
    rows: List[Sequence[str]] = [("group", "devices", "groups", "ranks")]
    for kind in GROUPS:
        groups = mesh.groups(kind)
        shown = "  ".join(_ranks(group) for group in groups[:GROUPS_SHOWN])
        more = len(groups) - GROUPS_SHOWN
        shown += f"  and {more} more" if more > 0 else ""
        rows.append((kind, str(len(groups[0])), str(len(groups)), shown))
    return (
        f"{mesh.devices} devices: data {mesh.data} x tensor {mesh.tensor} x stage {mesh.stage}; "
        f"rank = (stage * {mesh.data} + data) * {mesh.tensor} + tensor\n"
        f"{job.global_batch} samples a step: {job.micro_batches} micro-batches of {job.batch} on each of {mesh.data} "
        f"ways, {job.seq_length} tokens a sample\n\n" + table(rows, right=(1, 2))
    )


def _ranks(group: Sequence[int]) -> str:
    if len(group) < 3:
        return ",".join(map(str, group))
    step = group[1] - group[0]
    return f"{group[0]}-{group[-1]}" + (f" by {step}" if step > 1 else "")


def _parameters(plan: Plan) -> str:
    kinds: Dict[Tuple[object, ...], List[Placement]] = {}
    for item in plan.placements:
        key = (_LAYER.sub("layers.*.", item.path), item.axes, item.stored_shape)
        kinds.setdefault(key, []).append(item)
    rows: List[Sequence[str]] = [("parameter", "number", "whole", "split by", "on a device", "kept", "stages")]
    for items in kinds.values():
        first = items[0]
        stages = sorted({stage for item in items for stage in item.stages})
        split = ", ".join(axis or "-" for axis in first.axes)
        shapes = (first.slice_shape, first.stored_shape)
        name = _LAYER.sub("layers.*.", first.path)
        where = _stages(stages, plan.job.mesh.stage)
        rows.append((name, str(len(items)), _shape(first.shape), split, *map(_shape, shapes), where))
    number = rounded(count(parameter_table(plan.job.arch)))
    return f"{number} parameters; the optimizer splits what is kept\n\n" + table(rows, right=(1,))


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _stages(stages: Sequence[int], number: int) -> str:
    if len(stages) == number:
        return "all" if number > 1 else "0"
    return f"{stages[0]}-{stages[-1]}" if len(stages) > 2 else ", ".join(map(str, stages))


def _memory(plan: Plan) -> str:
    rows: List[Sequence[str]] = [("stage", "ranks", "layers", *_MEMORY, "GiB")]
    for stage in _shown(plan):
        memory = plan.memory[stage]
        ranks = plan.job.mesh.stage_ranks(stage)
        cells = [_gib(getattr(memory, name)) for name in _MEMORY]
        rows.append((str(stage), _ranks(ranks), str(plan.pipeline.layers[stage]), *cells, _gib(memory.total)))
    return "Memory of a device\n\n" + table(rows, right=range(2, len(rows[0])))


def _shown(plan: Plan) -> List[int]:
    """Return the stages that tables show: all of a few, else the first and the last ones."""
    stages = list(range(plan.job.mesh.stage))
    half = STAGES_SHOWN // 2
    return stages if len(stages) <= STAGES_SHOWN else stages[:half] + stages[-half:]


def _pipeline(plan: Plan) -> str:
    pipe, mesh = plan.pipeline, plan.job.mesh
    if mesh.stage == 1:
        return "No pipeline: one stage"
    return (
        f"Pipeline ({plan.job.schedule}): {pipe.bubble:.1%} of a step waits for it to fill and to drain, "
        f"{pipe.idle:.1%} with uneven stages; the busiest one does {max(pipe.work) * mesh.stage:.2f} of an even share"
    )


def _communication(plan: Plan) -> str:
    stages = sorted({0, plan.job.mesh.stage - 1})
    rows: List[Sequence[str]] = [("stage", "operation", "group", "devices", "of", "number", "GiB")]
    for stage in stages:
        for item in plan.communication[stage]:
            cells = (item.kind, item.group, str(item.size), item.purpose, f"{item.count:,}", _gib(item.bytes))
            rows.append((str(stage), *cells))
    if len(rows) == 1:
        return "No communication: one device"
    return "Communication of a device in a step\n\n" + table(rows, right=(3, 5, 6))


def _end(plan: Plan) -> str:
    return "\n".join(_verdict(plan))


def _verdict(plan: Plan) -> Iterator[str]:
    share = plan.flops.hardware / plan.flops.model - 1
    yield (
        f"{plan.flops.model:.3e} floating-point operations a step for the model"
        + (f", {share:.1%} more for what is worked out again" if share else "")
        + f"; {plan.flops.model / plan.job.mesh.devices:.3e} a device"
    )
    needed, stage = plan.memory[plan.fullest].total, plan.fullest
    if plan.device_memory is None:
        yield f"Needs {_gib(needed)} GiB of each device; --memory or context.max_device_memory says what there is"
    else:
        verdict = "Fits" if plan.fits else "Does not fit"
        there = f"{_gib(usable(plan.device_memory))} ({1 - RESERVE:.0%} of {_gib(plan.device_memory)})"
        yield f"{verdict}: {_gib(needed)} GiB of {there} on the fullest device (stage {stage})"
