"""What devices send each other in a step: operations and bytes by kind and group.

Counted as MindSpore 2.10 compiles a decoder (its graphs were read for meshes of 4 and 8 devices): one operation for
each parameter and for each place where activations are summed. Bytes are those an operator is given on one device. Sums
of scalars (loss, gradient norm) are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Dict, Iterator, List, Sequence, Tuple

from mindformers.parallel.job import FLOAT32, Job
from mindformers.parallel.placement import TABLE, Placement, reads_table

Kinds = Sequence[Tuple[Placement, int]]
PAIR = 2
"""Devices that take part in sending: one of each of two stages."""
VOCAB_SUMS = 5
"""Float32 numbers a token that a split vocabulary's loss adds up: the row's greatest, the sum of exponentials and the
logit of the label; the gradients of the last two."""


@dataclass(frozen=True)
class Traffic:
    """Operations of one kind in one kind of group."""

    kind: str
    """all-reduce, all-gather, reduce-scatter, send or receive."""
    group: str
    """Kind of group, of `mesh.GROUPS`."""
    purpose: str
    """What is communicated: activations, gradients or weights."""
    size: int
    """Devices that take part: the group, or its part that shares the optimizer's work."""
    count: int
    """Operations of one device in one step."""
    bytes: int
    """Bytes given to them on one device in one step."""


def communication(job: Job, kinds: Kinds, stage: int) -> List[Traffic]:
    """Return what one device of `stage` communicates in a step; `kinds` are `placement.alike` of all parameters."""
    found: Dict[Tuple[str, str, str, int], List[int]] = {}
    activations = (_layers(job, stage), _vocabulary(job, stage), _pipeline(job, stage))
    parameters = (_shared(job, kinds, stage), _parameters(job, kinds, stage))
    for kind, group, purpose, devices, count, size in chain(*activations, *parameters):
        total = found.setdefault((kind, group, purpose, devices), [0, 0])
        total[0] += count
        total[1] += count * size
    return [Traffic(*key, *total) for key, total in sorted(found.items()) if total[0]]


Item = Tuple[str, str, str, int, int, int]
"""Kind, group, purpose, devices of the group, operations, bytes of each."""


def _layers(job: Job, stage: int) -> Iterator[Item]:
    """Sums behind the row-split products of a layer, and before its column-split ones in the backward pass."""
    if job.mesh.tensor == 1:
        return
    hidden = job.micro_tokens * job.arch.hidden_size * job.compute_bytes
    crosses = [cross for cross, owner in zip(job.crosses, job.layer_stages) if owner == stage]
    forward = sum(3 if cross else 2 for cross in crosses)
    # Recomputation stops before the last sum of a layer: no gradient needs it.
    repeats = job.recompute == "full" and job.repeats_layer_sums
    again = sum(2 if cross else 1 for cross in crosses[: job.recomputed_of(stage)]) if repeats else 0
    sums = (2 * forward + again) * job.micro_batches
    if not job.splits_sequence:
        yield "all-reduce", "tensor", "activations", job.mesh.tensor, sums, hidden
        return
    # A sum becomes a reduce-scatter behind the product and an all-gather before the next; the head has one of each.
    # What goes to another stage is gathered before; a split table's sum gives the first layer whole rows.
    into, out = _borders(job, stage)
    pairs = (stage == job.mesh.stage - 1) + out - into - (stage == 0 and job.splits_vocab)
    sums += pairs * job.micro_batches
    yield "all-gather", "tensor", "activations", job.mesh.tensor, sums, hidden // job.mesh.tensor
    yield "reduce-scatter", "tensor", "activations", job.mesh.tensor, sums, hidden


def _vocabulary(job: Job, stage: int) -> Iterator[Item]:
    """Sums over the parts of a split vocabulary, and of gradients behind them.

    MindSpore adds up the gradient where the forward pass had a sum, not in front of the product with the head.
    """
    if job.ways("vocab") == 1:
        return
    if stage == 0:  # rows of the table are float32
        rows = job.micro_tokens * job.arch.table_size * FLOAT32
        yield "all-reduce", "tensor", "activations", job.mesh.tensor, 2 * job.micro_batches, rows
    if stage == job.mesh.stage - 1 and job.has_vocabulary_head:
        sums = VOCAB_SUMS * job.micro_batches
        yield "all-reduce", "tensor", "activations", job.mesh.tensor, sums, job.micro_tokens * FLOAT32


def _borders(job: Job, stage: int) -> Tuple[int, int]:
    """Return the chunks of layers of `stage` whose input comes from another stage, and whose output goes to one."""
    return job.chunks - (stage == 0), job.chunks - (stage == job.mesh.stage - 1)


def _pipeline(job: Job, stage: int) -> Iterator[Item]:
    """Activations to the next chunk of layers, gradients to the one before."""
    if job.mesh.stage == 1:
        return
    into, out = _borders(job, stage)
    hidden = job.micro_tokens * job.arch.hidden_size * job.compute_bytes
    for kind, forward, backward in (("send", out, into), ("receive", into, out)):
        yield kind, "pipeline", "activations", PAIR, forward * job.micro_batches, hidden
        yield kind, "pipeline", "gradients", PAIR, backward * job.micro_batches, hidden


def _shared(job: Job, kinds: Kinds, stage: int) -> Iterator[Item]:
    """Parameters that their stage sends to the others that use them, and their gradients on the way back."""
    for placement, number in kinds:
        if stage in placement.stages and len(placement.stages) > 1:
            size = placement.slice_size * job.param_bytes
            owns = stage == placement.stages[0]
            count = number * (len(placement.stages) - 1 if owns else 1)
            yield "send", "pipeline", "weights" if owns else "gradients", PAIR, count, size
            yield "receive", "pipeline", "gradients" if owns else "weights", PAIR, count, size


def _parameters(job: Job, kinds: Kinds, stage: int) -> Iterator[Item]:
    """Gradients over the devices that hold the same slice, and weights that the optimizer split.

    Split gradients are added up part by part, so each micro-batch has its own reduce-scatter; so has each pass its own
    gather where weights are let go in between.
    """
    for placement, number in kinds:
        # Another stage that uses a parameter adds up its part of the gradient itself only beside a split optimizer.
        if stage not in placement.stages[: None if job.shard_level else 1]:
            continue
        group = "data" if placement.splits_layer or job.mesh.tensor == 1 else "stage"
        holders = job.mesh.data if placement.splits_layer else job.mesh.stage_devices
        if holders == 1:
            continue
        size = placement.slice_size * job.param_bytes
        uses = 2 if placement.path == TABLE and reads_table(job) else 1
        if placement.shards == 1:
            # Each use of a table has a sum of its own, unless micro-batches are added up in one place before.
            sums = uses if job.micro_batches == job.mesh.stage == 1 else 1
            yield "all-reduce", group, "gradients", holders, number * sums, size
            continue
        stored = placement.stored_size * job.param_bytes
        passes = 1 if placement.path.startswith("embed.") and uses == 1 else 2  # looking rows up needs no table twice
        gathers = passes * job.micro_batches if job.lets_weights_go(stage) else 1
        yield "all-gather", group, "weights", placement.shards, number * gathers, stored
        scatters = uses * job.micro_batches if job.shard_level >= 2 else 1
        yield "reduce-scatter", group, "gradients", placement.shards, number * scatters, size
        if placement.shards < holders:
            yield "all-reduce", group, "gradients", holders // placement.shards, number, stored
