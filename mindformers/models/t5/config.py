"""T5 (Raffel et al. 2020, arXiv:1910.10683): field names as Hugging Face has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Dict, Optional


@dataclass(frozen=True)
class T5Config:
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

    model_type: ClassVar[str] = "t5"

    vocab_size: int = 32128
    d_model: int = 512
    """Width of the residual stream."""
    d_kv: int = 64
    """Width of one attention head."""
    d_ff: int = 2048
    num_layers: int = 6
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dropout_rate: float = 0.1
    layer_norm_epsilon: float = 1e-6
    initializer_factor: float = 1.0
    feed_forward_proj: str = "relu"
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
