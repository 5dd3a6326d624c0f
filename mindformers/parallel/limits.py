"""Which jobs can be placed: every broken rule at once, each with what would be accepted."""

from __future__ import annotations

import math
from typing import Callable, Iterator, List, Tuple

from mindformers.parallel.job import Job

Problem = Tuple[str, str]
"""Key of the configuration, and what is wrong with its value."""

TENSOR, STAGES = "parallel_config.model_parallel", "parallel_config.pipeline_stage"
SHOWN = 16
"""How many accepted values a message lists."""


def problems(job: Job) -> List[Problem]:
    """Return why `job` cannot be placed; empty when it can."""
    return [problem for rule in (_tensor, _sequence, _stages, _chunks, _recompute, _shards) for problem in rule(job)]


def accepted(limit: int, fits: Callable[[int], bool]) -> str:
    """Return the numbers from 1 to `limit` that fit, as text."""
    found = [number for number in range(1, limit + 1) if fits(number)]
    rest = len(found) - SHOWN
    return ", ".join(map(str, found[:SHOWN])) + (f" and {rest} more" if rest > 0 else "")


def _tensor(job: Job) -> Iterator[Problem]:
    arch, ways = job.arch, job.mesh.tensor
    sizes = {"num_heads": arch.num_heads, "intermediate_size": arch.intermediate_size}
    if job.splits_vocab:
        sizes["vocab_size"] = arch.vocab_size
    reasons = [f"does not divide {name} {size}" for name, size in sizes.items() if size % ways]
    if arch.kv_heads % ways and ways % arch.kv_heads:
        reasons.append(f"neither divides num_kv_heads {arch.kv_heads} nor is a multiple of it")
    if reasons:
        able = accepted(arch.num_heads, lambda number: _fits_layer(job, number))
        advice = "; or set vocab_emb_dp true, or pad the vocabulary" if "vocab_size" in reasons[-1] else ""
        yield TENSOR, f"{ways} {' and '.join(reasons)}; accepted: {able}{advice}"


def _fits_layer(job: Job, ways: int) -> bool:
    arch = job.arch
    sizes = (arch.num_heads, arch.intermediate_size, arch.vocab_size if job.splits_vocab else ways)
    shares_keys = arch.kv_heads % ways == 0 or ways % arch.kv_heads == 0
    return shares_keys and not any(size % ways for size in sizes)


def _sequence(job: Job) -> Iterator[Problem]:
    key = "parallel_config.use_seq_parallel"
    if job.splits_sequence and job.mesh.tensor == 1:
        yield key, "splits tokens over the devices of a layer, and model_parallel is 1; set it to false"
    elif job.splits_sequence and job.seq_length % job.mesh.tensor:
        able = accepted(job.arch.num_heads, lambda ways: job.seq_length % ways == 0 and _fits_layer(job, ways))
        yield key, f"model_parallel {job.mesh.tensor} does not divide {job.seq_length} tokens; accepted: {able}"


def _stages(job: Job) -> Iterator[Problem]:
    layers, stages = job.num_layers, job.mesh.stage
    if job.stage_layers is not None:
        key, given = "parallel_config.stage_layers", job.stage_layers
        if len(given) != stages or sum(given) != layers or min(given, default=0) < 1:
            yield (
                key,
                f"gives {len(given)} stages {sum(given)} layers: {list(given)}; it must give each of the {stages} "
                f"stages at least 1 of {layers} layers",
            )
    elif layers % stages:
        yield (
            STAGES,
            f"{layers} layers do not share out over {stages} stages; accepted: "
            f"{accepted(layers, lambda number: layers % number == 0)}; or give parallel_config.stage_layers",
        )
    if stages > 1 and job.micro_batches < stages:
        yield (
            "parallel_config.micro_batch_num",
            f"{job.micro_batches} cannot fill {stages} stages; it must be at least {stages}",
        )


def _chunks(job: Job) -> Iterator[Problem]:
    key, stages, chunks = "parallel_config.pp_interleave_num", job.mesh.stage, job.chunks
    if chunks == 1:
        return
    if stages == 1:
        yield key, f"is {chunks}, but there is one stage only; it must be 1"
    elif job.stage_layers is not None:
        yield key, f"is {chunks}, and stage_layers gives the stages layers in one piece; give one of them"
    elif job.num_layers % stages == 0 and job.num_layers % (stages * chunks):
        able = accepted(job.num_layers // stages, lambda number: job.num_layers % (stages * number) == 0)
        yield key, f"{chunks} groups of layers on {stages} stages do not divide {job.num_layers}; accepted: {able}"
    if job.schedule != "1f1b":
        yield key, f"is {chunks}; groups of layers in turn need the schedule 1f1b, it is {job.schedule}"


def _recompute(job: Job) -> Iterator[Problem]:
    given, stages = job.recomputed_layers, job.mesh.stage
    if given is None:
        return
    key = "recompute_config.recompute"
    if job.stage_layers is None:
        share_out = job.num_layers % (stages * job.chunks) == 0
    else:
        share_out = len(job.stage_layers) == stages
    if len(given) != stages:
        yield key, f"gives {len(given)} numbers for {stages} stages; give one number of layers a stage"
    elif share_out:
        for stage, count in enumerate(given):
            if not 0 <= count <= job.layers_of(stage):
                yield key, f"is {count} for stage {stage}; accepted: 0 to its {job.layers_of(stage)} layers"


def _shards(job: Job) -> Iterator[Problem]:
    size = job.shard_size
    if job.shard_level and size is not None and (size < 1 or job.mesh.data % size):
        able = accepted(job.mesh.data, lambda number: job.mesh.data % number == 0)
        yield (
            "parallel.parallel_optimizer_config.optimizer_weight_shard_size",
            f"{size} does not divide data_parallel {job.mesh.data}; accepted: -1 (all), {able}",
        )


def divisors(number: int) -> List[int]:
    """Return the divisors of `number` in order."""
    small = [part for part in range(1, math.isqrt(number) + 1) if number % part == 0]
    return sorted({*small, *(number // part for part in small)})
