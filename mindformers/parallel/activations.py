"""What a layer keeps for its backward pass, after the cells of `nn`.

The counting is that of Korthikanti et al. 2022 (arXiv:2205.05198, section 4), tensor by tensor, with what differs here:
norms work in float32, the gradient of attention needs its output in both orders of dimensions, activations are made of
plain operators, and dropout of scores keeps what it has dropped from and what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Iterator, List, Optional, Tuple

from mindformers.arch.stacks import Activation, StackArch
from mindformers.parallel.job import FLOAT32, Job, Recompute
from mindformers.parallel.rules import Logical

KEPT_BY_ACTIVATION: Dict[Activation, int] = {"gelu": 3, "gelu_tanh": 4, "quick_gelu": 2, "relu": 1, "silu": 2}
"""Tensors of the activation's width that the gradient of `nn.functional.activation` needs, its input among them."""


@dataclass(frozen=True)
class Kept:
    """Tensors of one kind that a layer keeps."""

    what: str
    per_token: int
    """Elements a token, before anything is split."""
    split: Optional[Logical]
    """The logical axis that splits them among the devices of a layer."""
    bytes: int
    """Bytes of an element."""
    core: bool = False
    """Whether selective recomputation does without them."""


def kept_by_layer(job: Job, cross: bool = False) -> List[Kept]:
    """Return what one layer keeps a token; `cross` adds the attention to an encoder's output."""
    arch, size = job.arch, job.compute_bytes
    return [
        *_attention(arch, job.seq_length, size),
        *(_attention(arch, job.seq_length, size) if cross else ()),
        *_feed_forward(arch, size),
    ]


def _branch(arch: StackArch, size: int) -> Iterator[Kept]:
    """The norm of a branch, what it hands to the branch, and the dropout behind it."""
    # RMS norm: the input, 1 / rms and the gain, both spread, and the product of the first two; layer norm: its input.
    yield Kept("norm", arch.hidden_size * (4 if arch.norm == "rms_norm" else 1), "sequence", FLOAT32)
    yield Kept("input", arch.hidden_size, "sequence", size)
    if arch.hidden_dropout > 0:
        yield Kept("dropout", arch.hidden_size, "sequence", size)


def _attention(arch: StackArch, seq_length: int, size: int) -> Iterator[Kept]:
    yield from _branch(arch, size)
    width = arch.num_heads * arch.head_size
    yield Kept("query, key, value", 3 * width, "heads", size)
    yield Kept("context", 2 * width, "heads", size)
    copies = 2 if arch.attention_dropout > 0 else 1
    yield Kept("scores", copies * arch.num_heads * seq_length, "heads", size, core=True)


def _feed_forward(arch: StackArch, size: int) -> Iterator[Kept]:
    yield from _branch(arch, size)
    inner = KEPT_BY_ACTIVATION[arch.activation]
    if arch.gated:
        inner += 2  # both factors; the product is the input of the last projection
    last = 0 if arch.activation == "relu" and not arch.gated else 1  # the gradient of relu reads its output
    dropped = 1 if arch.mlp_dropout > 0 else 0
    yield Kept("feed-forward", (inner + last + dropped) * arch.intermediate_size, "mlp", size)


def layer_bytes(job: Job, recompute: Recompute, cross: bool = False) -> int:
    """Return the bytes that one layer keeps of one micro-batch on one device."""
    if recompute == "full":
        ways = job.mesh.tensor if job.splits_sequence or job.slices_checkpoints else 1
        return job.micro_tokens * job.arch.hidden_size * job.compute_bytes // ways
    return sum(_bytes(job, kept) for kept in kept_by_layer(job, cross) if recompute == "none" or not kept.core)


def _bytes(job: Job, kept: Kept) -> int:
    return job.micro_tokens * kept.per_token * kept.bytes // job.ways(kept.split)


def stage_layer_bytes(job: Job, stage: int) -> int:
    """Return the bytes that the layers of a stage keep of one micro-batch."""
    again = job.recomputed_of(stage)
    own = [cross for cross, owner in zip(job.crosses, job.layer_stages) if owner == stage]
    modes: Tuple[Recompute, Recompute] = ("none", job.recompute)
    whole, lean = ({cross: layer_bytes(job, mode, cross) for cross in set(own)} for mode in modes)
    return sum((lean if number < again else whole)[cross] for number, cross in enumerate(own))


def again_bytes(job: Job, stage: int) -> int:
    """Return the bytes of what a stage works out again at one time: its largest layer, or one attention's scores."""
    own = [cross for cross, owner in zip(job.crosses, job.layer_stages) if owner == stage]
    crosses = own[: job.recomputed_of(stage)]
    if job.recompute == "selective" and crosses:
        return max(_bytes(job, kept) for kept in kept_by_layer(job) if kept.core)
    return max((layer_bytes(job, "none", cross) for cross in crosses), default=0)


def in_flight(job: Job, stage: int) -> float:
    """Return how many micro-batches' activations of all its layers a stage holds at most.

    1F1B: as many as there are stages from it to the last; with chunks, Narayanan et al. 2021 (arXiv:2104.04473,
    section 2.2): 2 (p - s - 1) + (v - 1) p + 1 chunks of a v-th each. GPipe: all.
    """
    stages, chunks = job.mesh.stage, job.chunks
    if stages == 1:
        return 1.0
    if job.schedule == "gpipe":
        return float(job.micro_batches)
    if chunks == 1:
        return float(min(stages - stage, job.micro_batches))
    warm = 2 * (stages - stage - 1) + (chunks - 1) * stages + 1
    return min(warm, job.micro_batches * chunks) / chunks


def head_bytes(job: Job) -> int:
    """Return the bytes of the logits over the vocabulary at their peak.

    These are the log-probabilities of each micro-batch that is under way and two gradients of one of them. On the last
    stage GPipe has all of them under way, 1F1B one, also where a stage holds several groups of layers.
    """
    if not job.has_vocabulary_head:
        return 0
    under_way = int(in_flight(job, job.mesh.stage - 1)) if job.schedule == "gpipe" else 1
    return (under_way + 2) * (FLOAT32 * job.micro_tokens * job.arch.vocab_size // job.ways("vocab"))
