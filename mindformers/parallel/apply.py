"""Put a plan on the cells of a built model, from outside: layouts, stages of the pipeline, recomputation.

For MindSpore's `auto_parallel` mode with `sharding_propagation`: the operators of `rules.OPERATORS` decide, the others
follow. The model must have been built in that mode (`nn.functional.is_placed`).
"""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from typing import Dict, Iterator, Optional, Tuple

from mindspore import nn

from mindformers.errors import UsageError
from mindformers.parallel.job import Job
from mindformers.parallel.placement import place
from mindformers.parallel.rules import OPERATORS, SEQUENCE_OUTPUTS, TOKENS, Dims

Strategy = Tuple[Tuple[int, ...], ...]
"""Parts of each dimension of each input."""

OPERATOR_NAMES = sorted({pattern.rpartition(".")[2] for pattern, _ in OPERATORS})


def apply(model: nn.Cell, job: Job) -> Dict[str, Strategy]:
    """Place `model` as `job` says; returns operator -> strategy.

    Raises UsageError when the product with a split parameter is not among them: rules and cells disagree; and for a
    pipeline of a model that is no single stack of layers of its own.
    """
    placed: Dict[str, Strategy] = {}
    for path, cell in model.cells_and_names():
        for name in OPERATOR_NAMES:
            strategy = strategy_of(f"{path}.{name}", job)
            if strategy is not None and hasattr(cell, name):
                getattr(cell, name).shard(strategy, output_of(f"{path}.{name}", job))
                placed[f"{path}.{name}"] = strategy
    missing = [
        item.path
        for item in place(job)
        if item.splits_layer
        and "layers." in item.path
        and item.path.endswith(".weight")
        and item.path.replace(".weight", ".product.matmul") not in placed
    ]
    if missing:
        raise UsageError(f"no operator is placed for {missing[0]}: parallel/rules.py and the model's cells disagree")
    _share_optimizer(model, job)
    if job.mesh.stage > 1:
        _stage(model, job)
    _recompute(model, job)
    # One graph of the model, called for every micro-batch, instead of a copy for each: what `lazy_inline` does.
    model.cell_init_args = f"lazy_inline_{type(model).__name__}"
    return placed


def strategy_of(operator: str, job: Job) -> Optional[Strategy]:
    """Return how the inputs of an operator are split, None for one that no rule places."""
    for pattern, inputs in OPERATORS:
        if fnmatchcase(operator, pattern):
            return tuple(_parts(dims, job) for dims in inputs)
    return None


def _parts(dims: Dims, job: Job) -> Tuple[int, ...]:
    """Return the parts of each dimension.

    Where rows of [batch, sequence] lie one after the other, parts of them hold whole samples before they cut one.
    """
    parts = [job.ways(dim) for dim in dims]
    if dims == TOKENS and job.splits_sequence:
        whole = math.gcd(job.batch, parts[1])
        parts = [parts[0], 1] if job.splits_vocab else [parts[0] * whole, parts[1] // whole]
    return tuple(parts)


def output_of(operator: str, job: Job) -> Optional[Strategy]:
    """Return how the output of an operator is split where its inputs do not say it, as with split sequences."""
    if job.splits_sequence and any(fnmatchcase(operator, pattern) for pattern in SEQUENCE_OUTPUTS):
        return ((job.ways("batch") * job.ways("sequence"), 1),)
    return None


def _share_optimizer(model: nn.Cell, job: Job) -> None:
    """Let the optimizer split what the plan splits, and no other parameter.

    MindSpore (2.10) refuses to split one that several stages use, and mixes up one whose whole is as large as its
    threshold and whose slice is not.
    """
    placements = {item.path: item for item in place(job)}
    for path, parameter in model.parameters_and_names():
        placement = placements.get(path)
        if placement is None or placement.shards > 1:
            continue
        parameter.parallel_optimizer = False
        if len(placement.stages) > 1:
            for stage in placement.stages:
                parameter.add_pipeline_stage(stage)


def _stage(model: nn.Cell, job: Job) -> None:
    """Give every cell with parameters its stage, and its group of layers where a stage visits several in turn."""
    layers = getattr(model, "layers", None)
    if layers is None or len(layers) != job.num_layers:
        raise UsageError(
            f"parallel_config.pipeline_stage is {job.mesh.stage}: {type(model).__name__} cannot be cut into stages; "
            "decoders, and encoders that share no layers, can; set it to 1"
        )
    for index, layer in enumerate(layers):
        layer.pipeline_stage = job.layer_stages[index]
        if job.chunks > 1:
            layer.pipeline_segment = index * job.chunks // job.num_layers
    for name, cell in _ends(model):
        first = name == "embed"
        cell.pipeline_stage = 0 if first else job.mesh.stage - 1
        if job.chunks > 1:
            cell.pipeline_segment = 0 if first else job.chunks - 1


def _ends(model: nn.Cell) -> Iterator[Tuple[str, nn.Cell]]:
    """Yield the cells before and behind the layers."""
    for name in ("embed", "norm_out", "pooler", "head"):
        if hasattr(model, name):
            yield name, getattr(model, name)


def _recompute(model: nn.Cell, job: Job) -> None:
    """Mark what is worked out again: the first layers of each stage, or what attention does with scores."""
    left = [job.recomputed_of(stage) for stage in range(job.mesh.stage)]
    for stage, layer in zip(job.layer_stages, model.layers if any(left) else ()):
        if left[stage] == 0:
            continue
        left[stage] -= 1
        if job.recompute == "full":
            layer.recompute(
                mp_comm_recompute=job.repeats_layer_sums,
                parallel_optimizer_comm_recompute=job.repeats_weight_gathers,
                recompute_slice_activation=job.slices_checkpoints,
            )
        else:
            layer.attention.attend.recompute()
            layer.attention.attend_with_dropout.recompute()
