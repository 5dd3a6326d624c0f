"""GPT-2 (Radford et al. 2019): field names as Hugging Face has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Dict, Optional


@dataclass(frozen=True)
class GPT2Config:
    """Sizes and choices of a GPT-2 decoder."""

    OLD_NAMES: ClassVar[Dict[str, str]] = {
        "embedding_size": "n_embd",
        "num_layers": "n_layer",
        "num_heads": "n_head",
        "hidden_act": "activation_function",
        "hidden_dropout_prob": "resid_pdrop",
        "attention_probs_dropout_prob": "attn_pdrop",
        "dropout_prob": "embd_pdrop",
        "eos_token": "eos_token_id",
        "bos_token": "bos_token_id",
        "max_position_embeddings": "n_positions",
        "layernorm_epsilon": "layer_norm_epsilon",
    }
    RIVALS: ClassVar[Dict[str, str]] = {"expand_ratio": "n_inner"}
    UNUSED: ClassVar[Dict[str, str]] = {
        "batch_size": "the model takes any batch",
        "use_past": "generation decides about its cache",
        "post_layernorm_residual": "GPT-2 normalises before each sub-layer",
        "use_moe": "the blocks are dense",
    }

    model_type: ClassVar[str] = "gpt2"

    vocab_size: int = 50257
    n_positions: int = 1024
    """Entries of the learned position table: the longest sequence, in tokens."""
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: Optional[int] = None
    """Width of the feed-forward; 4 times `n_embd` when absent."""
    expand_ratio: Optional[int] = None
    """Width of the feed-forward as a multiple of `n_embd`, in place of `n_inner`."""
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    bos_token_id: int = 50256
    eos_token_id: int = 50256
    seq_length: int = 1024
    """Tokens of a training sample."""
    param_init_type: str = "float32"
    compute_dtype: str = "float32"
    layernorm_dtype: str = "float32"
    softmax_dtype: str = "float32"
    checkpoint_name_or_path: Optional[str] = None
    """Weights to start from when the run names none."""
    repetition_penalty: float = 1.0
    max_decode_length: int = 1024
    top_k: int = 5
    top_p: float = 1.0
    do_sample: bool = True
