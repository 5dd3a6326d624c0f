"""T5's names in Hugging Face's checkpoints."""

from __future__ import annotations

from typing import Tuple

from mindformers.weights.mapping import Ignore, Rename, WeightMap


def _half(side: str, mlp: int) -> Tuple[Rename, ...]:
    """Return the names of one stack; `mlp` is the number of the feed-forward among the sub-layers."""
    ours, theirs = f"{side}.layers.{{i}}", f"{side}.block.{{i}}.layer"
    gate = f"{ours}.mlp.gate.weight"
    return (
        Rename(f"{side}.relative.weight", f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"),
        Rename(f"{ours}.attention.q.*", f"{theirs}.0.SelfAttention.q.*"),
        Rename(f"{ours}.attention.k.*", f"{theirs}.0.SelfAttention.k.*"),
        Rename(f"{ours}.attention.v.*", f"{theirs}.0.SelfAttention.v.*"),
        Rename(f"{ours}.attention.o.*", f"{theirs}.0.SelfAttention.o.*"),
        Rename(f"{ours}.norm_attn.*", f"{theirs}.0.layer_norm.*"),
        Rename(gate, f"{theirs}.{mlp}.DenseReluDense.wi_0.weight"),
        Rename(f"{ours}.mlp.up.weight", f"{theirs}.{mlp}.DenseReluDense.wi_1.weight", beside=gate),
        Rename(f"{ours}.mlp.up.weight", f"{theirs}.{mlp}.DenseReluDense.wi.weight"),
        Rename(f"{ours}.mlp.down.*", f"{theirs}.{mlp}.DenseReluDense.wo.*"),
        Rename(f"{ours}.norm_mlp.*", f"{theirs}.{mlp}.layer_norm.*"),
        Rename(f"{side}.norm_out.*", f"{side}.final_layer_norm.*"),
    )


_CROSS = tuple(
    Rename(f"decoder.layers.{{i}}.cross.{part}.*", f"decoder.block.{{i}}.layer.1.EncDecAttention.{part}.*")
    for part in ("q", "k", "v", "o")
)

WEIGHTS = WeightMap(
    prefix="",
    entries=(
        Rename("embed.tokens.weight", "shared.weight"),
        *_half("encoder", mlp=1),
        *_half("decoder", mlp=2),
        *_CROSS,
        Rename("decoder.layers.{i}.norm_cross.*", "decoder.block.{i}.layer.1.layer_norm.*"),
        Rename("head.weight", "lm_head.weight", optional=True),
    ),
    ignored=(
        Ignore("encoder.embed_tokens.weight", "the same numbers as shared.weight"),
        Ignore("decoder.embed_tokens.weight", "the same numbers as shared.weight"),
        Ignore(
            "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
            "attention to the encoder has no positions; an old release stored an unused table",
        ),
    ),
)
