"""Floating-point operations of a training step; a multiplication with its addition counts as two."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Iterable, List

from mindformers.arch.paths import Row, block, head
from mindformers.parallel.job import Job
from mindformers.parallel.placement import reads_table

PASSES = 3
"""A forward pass, and a backward pass of twice the work (Kaplan et al. 2020, arXiv:2001.08361, section 2.1)."""


@dataclass(frozen=True)
class Flops:
    """Operations of one step on all devices; element-wise work is not counted."""

    model: int
    """What the model needs: Chowdhery et al. 2022 (arXiv:2204.02311, appendix B), scores of all keys counted."""
    hardware: int
    """What is carried out: with the layers, or their scores, that are worked out again."""


def flops(job: Job) -> Flops:
    """Return the operations of a step."""
    tokens = job.global_batch * job.seq_length
    layers = layer_flops(job)
    model = PASSES * tokens * (sum(layers) + head_flops(job))
    again = 0
    for stage in range(job.mesh.stage) if job.recompute != "none" else ():
        own = [number for number, owner in enumerate(job.layer_stages) if owner == stage]
        for number in own[: job.recomputed_of(stage)]:
            again += layers[number] if job.recompute == "full" else scores_flops(job, job.crosses[number])
    return Flops(model, model + tokens * again)


def layer_flops(job: Job) -> List[int]:
    """Return the operations of each layer's forward pass, a token."""
    kinds = {
        cross: 2 * _matrices(block("layers.0", job.arch, cross)) + scores_flops(job, cross)
        for cross in set(job.crosses)
    }
    return [kinds[cross] for cross in job.crosses]


def scores_flops(job: Job, cross: bool) -> int:
    """Return the operations of a layer's scores and their products with the values, a token."""
    return (8 if cross else 4) * job.seq_length * job.arch.num_heads * job.arch.head_size


def head_flops(job: Job) -> int:
    """Return the operations of the head's forward pass, a token; heads that read one token only count as all do."""
    tied = job.arch.vocab_size * job.arch.table_size if reads_table(job) else 0
    return 2 * (_matrices(head(job.arch)) + tied)


def _matrices(rows: Iterable[Row]) -> int:
    return sum(math.prod(spec.shape) for _, spec in rows if len(spec.shape) == 2)
