"""Bloom's names in Hugging Face's checkpoints, which hold q, k and v head by head."""

from __future__ import annotations

from mindformers.weights.mapping import Pack, Rename, WeightMap

_OURS, _LAYER = "layers.{i}", "h.{i}"

WEIGHTS = WeightMap(
    prefix="transformer.",
    entries=(
        Rename("embed.tokens.weight", "word_embeddings.weight"),
        Rename("embed.norm.*", "word_embeddings_layernorm.*"),
        Rename(f"{_OURS}.norm_attn.*", f"{_LAYER}.input_layernorm.*"),
        Pack(
            (f"{_OURS}.attention.q.*", f"{_OURS}.attention.k.*", f"{_OURS}.attention.v.*"),
            f"{_LAYER}.self_attention.query_key_value.*",
            packing="heads",
        ),
        Rename(f"{_OURS}.attention.o.*", f"{_LAYER}.self_attention.dense.*"),
        Rename(f"{_OURS}.norm_mlp.*", f"{_LAYER}.post_attention_layernorm.*"),
        Rename(f"{_OURS}.mlp.up.*", f"{_LAYER}.mlp.dense_h_to_4h.*"),
        Rename(f"{_OURS}.mlp.down.*", f"{_LAYER}.mlp.dense_4h_to_h.*"),
        Rename("norm_out.*", "ln_f.*"),
        Rename("head.weight", "lm_head.weight", optional=True),
        Rename("head.score.weight", "score.weight", optional=True),
        Rename("head.classifier.*", "classifier.*", optional=True),
    ),
)
