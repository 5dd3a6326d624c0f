"""The canonical parameter paths of an architecture: what exists, how large, and how it starts.

One table serves initialization, weight maps, optimizer groups and plans, so that none of them needs a built model.
Each component is one small function that yields rows below a prefix; a stack is a concatenation of components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, Iterator, Literal, Mapping, Tuple

from mindformers.arch.stacks import EncoderDecoderArch, StackArch

Init = Literal["normal", "zeros", "ones"]
Row = Tuple[str, "ParameterSpec"]


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter of a model, before any tensor exists."""

    shape: Tuple[int, ...]
    init: Init
    std: float = 0.0
    """Standard deviation of a `normal` start."""


def parameter_table(arch: StackArch) -> Dict[str, ParameterSpec]:
    """Return path -> spec of every trainable parameter of `arch`, from input to output; matrices are [out, in]."""
    rows = [*embeddings("embed", arch)]
    if isinstance(arch, EncoderDecoderArch):
        rows += stack("encoder.", arch, arch.num_layers)
        rows += stack("decoder.", arch, arch.num_decoder_layers, cross=True)
    else:
        rows += stack("", arch, arch.num_layers if arch.distinct_layers is None else arch.distinct_layers)
    rows += head(arch)
    return dict(rows)


def count(table: Mapping[str, ParameterSpec]) -> int:
    """Return the number of scalars in `table`."""
    return sum(math.prod(spec.shape) for spec in table.values())


def embeddings(path: str, arch: StackArch) -> Iterator[Row]:
    """Yield the tables, the norm over their sum and the projection to the hidden size."""
    size = arch.table_size
    yield from table(f"{path}.tokens", arch.vocab_size, size, arch.init_std)
    if arch.positions == "learned":
        yield from table(f"{path}.positions", arch.max_positions, size, arch.init_std)
    if arch.type_vocab_size:
        yield from table(f"{path}.types", arch.type_vocab_size, size, arch.init_std)
    if arch.embedding_norm:
        yield from norm(f"{path}.norm", size, arch)
    if arch.embedding_size is not None:
        yield from linear(f"{path}.project", arch.hidden_size, size, arch)


def stack(prefix: str, arch: StackArch, num_layers: int, cross: bool = False) -> Iterator[Row]:
    """Yield the layers and what belongs to all of them."""
    if arch.positions == "relative":
        std = arch.init_std / math.sqrt(arch.hidden_size)
        yield from table(f"{prefix}relative", arch.num_buckets, arch.num_heads, std)
    for layer in range(num_layers):
        yield from block(f"{prefix}layers.{layer}", arch, cross)
    if arch.pre_norm:
        yield from norm(f"{prefix}norm_out", arch.hidden_size, arch)


def block(path: str, arch: StackArch, cross: bool) -> Iterator[Row]:
    """Yield one layer: attention, attention to an encoder's output, feed-forward, and their norms."""
    yield from attention(f"{path}.attention", arch)
    yield from norm(f"{path}.norm_attn", arch.hidden_size, arch)
    if cross:
        yield from attention(f"{path}.cross", arch)
        yield from norm(f"{path}.norm_cross", arch.hidden_size, arch)
    if arch.gated:
        yield from linear(f"{path}.mlp.gate", arch.intermediate_size, arch.hidden_size, arch, arch.mlp_bias)
    yield from linear(f"{path}.mlp.up", arch.intermediate_size, arch.hidden_size, arch, arch.mlp_bias)
    yield from linear(
        f"{path}.mlp.down", arch.hidden_size, arch.intermediate_size, arch, arch.mlp_bias, into_residual=True
    )
    yield from norm(f"{path}.norm_mlp", arch.hidden_size, arch)


def attention(path: str, arch: StackArch) -> Iterator[Row]:
    """Yield the four projections; with `fan_in_init` the query's start also divides by sqrt(H) (T5 has no scale)."""
    queries, keys = arch.num_heads * arch.head_size, arch.kv_heads * arch.head_size
    extra = 1.0 / math.sqrt(arch.head_size) if arch.fan_in_init else 1.0
    yield from linear(f"{path}.q", queries, arch.hidden_size, arch, arch.qkv_bias, scale=extra)
    yield from linear(f"{path}.k", keys, arch.hidden_size, arch, arch.qkv_bias)
    yield from linear(f"{path}.v", keys, arch.hidden_size, arch, arch.qkv_bias)
    yield from linear(f"{path}.o", arch.hidden_size, queries, arch, arch.out_bias, into_residual=True)


def head(arch: StackArch) -> Iterator[Row]:
    """Yield what stands on the stack."""
    kind, size = arch.head, arch.hidden_size
    if has_pooler(arch):
        yield from linear("pooler", size, size, arch)
    if kind == "question_answering":
        yield from linear("head.span", 2, size, arch)
    elif kind == "token_classification":
        yield from linear("head.classifier", arch.num_labels, size, arch)
    elif kind == "sequence_classification":
        if arch.classifier == "dense":
            yield from linear("head.dense", size, size, arch)
        last = {"pooled": "head.classifier", "dense": "head.output", "last_token": "head.score"}[arch.classifier]
        yield from linear(last, arch.num_labels, size, arch, bias=arch.classifier != "last_token")
    elif kind in ("masked_lm", "pre_training"):
        yield from linear("head.transform", arch.table_size, size, arch)
        yield from norm("head.norm", arch.table_size, arch)
        if not arch.tied_head:
            yield from table("head", arch.vocab_size, arch.table_size, arch.init_std)
        yield "head.bias", ParameterSpec((arch.vocab_size,), "zeros")
        if kind == "pre_training":
            yield from linear("head.sentence", 2, size, arch)
    elif kind in ("causal_lm", "seq2seq_lm") and not arch.tied_head:
        yield from table("head", arch.vocab_size, size, arch.init_std)


def has_pooler(arch: StackArch) -> bool:
    """Return whether the first token goes through a dense layer before it is read."""
    return arch.head in ("pooler", "pre_training") or (
        arch.head == "sequence_classification" and arch.classifier == "pooled"
    )


def linear(
    path: str,
    out_size: int,
    in_size: int,
    arch: StackArch,
    bias: bool = True,
    into_residual: bool = False,
    scale: float = 1.0,
) -> Iterator[Row]:
    """Yield a dense layer."""
    std = arch.init_std * scale
    if arch.fan_in_init:
        std /= math.sqrt(in_size)
    elif into_residual and arch.scales_residual_init:
        std /= math.sqrt(2 * arch.num_layers)
    yield from table(path, out_size, in_size, std)
    if bias:
        yield f"{path}.bias", ParameterSpec((out_size,), "zeros")


def table(path: str, rows: int, columns: int, std: float) -> Iterator[Row]:
    """Yield a matrix that starts from a normal distribution."""
    yield f"{path}.weight", ParameterSpec((rows, columns), "normal", std=std)


def norm(path: str, size: int, arch: StackArch) -> Iterator[Row]:
    """Yield a norm's gain, and the offset that a layer norm also has."""
    yield f"{path}.weight", ParameterSpec((size,), "ones")
    if arch.norm == "layer_norm":
        yield f"{path}.bias", ParameterSpec((size,), "zeros")
