"""T5 (Raffel et al. 2020, arXiv:1910.10683): field names as Hugging Face has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Dict, Optional, Tuple

from mindformers.arch.stacks import ACTIVATIONS, EncoderDecoderArch, Head
from mindformers.errors import suggestion
from mindformers.models.hf_config import HFConfig

GATED = "gated-"
"""Beginning of `feed_forward_proj` when the feed-forward is gated."""


@dataclass(frozen=True)
class T5Config(HFConfig):
    """Sizes and choices of a T5 encoder-decoder."""

    OLD_NAMES: ClassVar[Dict[str, str]] = {
        "num_hidden_layers": "num_layers",
        "hidden_act": "feed_forward_proj",
        "hidden_dropout_prob": "dropout_rate",
        "length_penalty_weight": "length_penalty",
    }
    UNUSED: ClassVar[Dict[str, str]] = {
        "batch_size": "the model takes any batch",
        "has_relative_bias": "T5 always has one",
        "is_encoder_decoder": "T5 always is one",
        "initializer_range": "T5 scales its start by initializer_factor",
        "scale_output": "tied tables scale their output",
        "max_position_embeddings": "relative positions have no table",
    }

    RATES: ClassVar[Tuple[str, ...]] = ("dropout_rate",)
    model_type: ClassVar[str] = "t5"

    vocab_size: int = 32128
    d_model: int = 512
    """Width of the residual stream."""
    d_kv: int = 64
    """Width of one attention head."""
    d_ff: int = 2048
    num_layers: int = 6
    num_decoder_layers: Optional[int] = None
    """As many as `num_layers` when absent."""
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dropout_rate: float = 0.1
    layer_norm_epsilon: float = 1e-6
    initializer_factor: float = 1.0
    feed_forward_proj: str = "relu"
    """Activation of the feed-forward; `gated-` before it for a gated one."""
    tie_word_embeddings: bool = True
    """Whether the output shares the token table."""
    scale_decoder_outputs: Optional[bool] = None
    """Whether hidden states are multiplied by d_model^-0.5 before the output; as `tie_word_embeddings` when absent."""
    pad_token_id: int = 0
    eos_token_id: int = 1
    decoder_start_token_id: int = 0
    use_cache: bool = True
    seq_length: int = 1024
    """Tokens of a source text."""
    max_length: int = 32
    max_decode_length: int = 128
    """Tokens of a target text."""
    param_init_type: str = "float32"
    compute_dtype: str = "float32"
    checkpoint_name_or_path: Optional[str] = None
    """Weights to start from when the run names none."""
    repetition_penalty: float = 1.0
    length_penalty: float = 1.0
    top_k: int = 1
    top_p: float = 0.95
    do_sample: bool = False

    def problem(self) -> Optional[str]:
        """Return what is wrong with the configuration, or None."""
        if self._activation() not in ACTIVATIONS:
            known = sorted([*ACTIVATIONS, *(GATED + name for name in ACTIVATIONS)])
            return f"feed_forward_proj is '{self.feed_forward_proj}'.{suggestion(self.feed_forward_proj, known)}"
        return super().problem()

    def _activation(self) -> str:
        name = self.feed_forward_proj[len(GATED) :] if self._is_gated() else self.feed_forward_proj
        return "gelu_new" if self._is_gated() and name == "gelu" else name  # what released T5 1.1 was trained with

    def _is_gated(self) -> bool:
        return self.feed_forward_proj.startswith(GATED)

    def arch(self, head: Head) -> EncoderDecoderArch:
        """Return the stacks that this configuration describes, with a head on them."""
        return EncoderDecoderArch(
            vocab_size=self.vocab_size,
            hidden_size=self.d_model,
            num_layers=self.num_layers,
            num_decoder_layers=self.num_layers if self.num_decoder_layers is None else self.num_decoder_layers,
            num_heads=self.num_heads,
            size_per_head=self.d_kv,
            intermediate_size=self.d_ff,
            max_positions=self.seq_length,
            positions="relative",
            num_buckets=self.relative_attention_num_buckets,
            max_distance=self.relative_attention_max_distance,
            norm="rms_norm",
            pre_norm=True,
            norm_eps=self.layer_norm_epsilon,
            activation=ACTIVATIONS[self._activation()],
            gated=self._is_gated(),
            qkv_bias=False,
            out_bias=False,
            mlp_bias=False,
            scales_scores=False,
            embedding_dropout=self.dropout_rate,
            hidden_dropout=self.dropout_rate,
            attention_dropout=self.dropout_rate,
            mlp_dropout=self.dropout_rate,
            init_std=self.initializer_factor,
            fan_in_init=True,
            pad_token_id=self.pad_token_id,
            decoder_start_token_id=self.decoder_start_token_id,
            head=head,
            tied_head=self.tie_word_embeddings,
            scales_head=self.tie_word_embeddings if self.scale_decoder_outputs is None else self.scale_decoder_outputs,
        )
