"""LLaMA's names in Hugging Face's checkpoints."""

from __future__ import annotations

from mindformers.weights.mapping import Ignore, Rename, WeightMap

_OURS = _LAYER = "layers.{i}"

WEIGHTS = WeightMap(
    prefix="model.",
    entries=(
        Rename("embed.tokens.weight", "embed_tokens.weight"),
        Rename(f"{_OURS}.norm_attn.*", f"{_LAYER}.input_layernorm.*"),
        Rename(f"{_OURS}.attention.q.*", f"{_LAYER}.self_attn.q_proj.*"),
        Rename(f"{_OURS}.attention.k.*", f"{_LAYER}.self_attn.k_proj.*"),
        Rename(f"{_OURS}.attention.v.*", f"{_LAYER}.self_attn.v_proj.*"),
        Rename(f"{_OURS}.attention.o.*", f"{_LAYER}.self_attn.o_proj.*"),
        Rename(f"{_OURS}.norm_mlp.*", f"{_LAYER}.post_attention_layernorm.*"),
        Rename(f"{_OURS}.mlp.gate.*", f"{_LAYER}.mlp.gate_proj.*"),
        Rename(f"{_OURS}.mlp.up.*", f"{_LAYER}.mlp.up_proj.*"),
        Rename(f"{_OURS}.mlp.down.*", f"{_LAYER}.mlp.down_proj.*"),
        Rename("norm_out.*", "norm.*"),
        Rename("head.weight", "lm_head.weight", optional=True),
        Rename("head.score.weight", "score.weight", optional=True),
        Rename("head.classifier.*", "score.*", optional=True),
    ),
    ignored=(Ignore("layers.{i}.self_attn.rotary_emb.inv_freq", "angles are computed, not stored"),),
)
