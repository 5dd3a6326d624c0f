"""GPT-2's names in Hugging Face's checkpoints, which hold matrices as [in, out] and q, k, v in one."""

from __future__ import annotations

from mindformers.weights.mapping import Ignore, Pack, Rename, WeightMap

_OURS, _LAYER = "layers.{i}", "h.{i}"

WEIGHTS = WeightMap(
    prefix="transformer.",
    entries=(
        Rename("embed.tokens.weight", "wte.weight"),
        Rename("embed.positions.weight", "wpe.weight"),
        Rename(f"{_OURS}.norm_attn.*", f"{_LAYER}.ln_1.*"),
        Pack(
            (f"{_OURS}.attention.q.*", f"{_OURS}.attention.k.*", f"{_OURS}.attention.v.*"),
            f"{_LAYER}.attn.c_attn.*",
            transposed=True,
        ),
        Rename(f"{_OURS}.attention.o.*", f"{_LAYER}.attn.c_proj.*", transposed=True),
        Rename(f"{_OURS}.norm_mlp.*", f"{_LAYER}.ln_2.*"),
        Rename(f"{_OURS}.mlp.up.*", f"{_LAYER}.mlp.c_fc.*", transposed=True),
        Rename(f"{_OURS}.mlp.down.*", f"{_LAYER}.mlp.c_proj.*", transposed=True),
        Rename("norm_out.*", "ln_f.*"),
        Rename("head.weight", "lm_head.weight", optional=True),
        Rename("head.score.weight", "score.weight", optional=True),
        Rename("head.classifier.*", "classifier.*", optional=True),
    ),
    ignored=(
        Ignore("h.{i}.attn.bias", "the causal mask is computed, not stored"),
        Ignore("h.{i}.attn.masked_bias", "the causal mask is computed, not stored"),
    ),
)
