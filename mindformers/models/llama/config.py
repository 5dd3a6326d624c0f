"""LLaMA (Touvron et al. 2023, arXiv:2302.13971, arXiv:2307.09288): field names as Hugging Face has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, List, Optional, Tuple, Union

from mindformers.arch.stacks import DecoderArch, Head
from mindformers.models.hf_config import RopeConfig


@dataclass(frozen=True)
class LlamaConfig(RopeConfig):
    """Sizes and choices of a LLaMA decoder; the defaults are those of the 7B."""

    RATES: ClassVar[Tuple[str, ...]] = ("attention_dropout",)
    model_type: ClassVar[str] = "llama"

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: Optional[int] = None
    """Heads of key and value, each shared by a group of query heads; as many as query heads when absent."""
    head_dim: Optional[int] = None
    """Width of one head; `hidden_size / num_attention_heads` when absent."""
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    """Tokens of the longest sequence in pre-training."""
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    rope_scaling: Optional[Dict[str, Any]] = None
    """`type` (linear or dynamic) and `factor` of positions beyond `max_position_embeddings`."""
    attention_bias: bool = False
    mlp_bias: bool = False
    attention_dropout: float = 0.0
    pad_token_id: Optional[int] = None
    bos_token_id: int = 1
    eos_token_id: Union[int, List[int]] = 2
    tie_word_embeddings: bool = False
    num_labels: int = 2
    """Outputs of a classification head."""
    id2label: Optional[Dict[str, str]] = None
    """Names of these outputs by their number, e.g. {"0": "negative"}."""
    seq_length: Optional[int] = None
    """Tokens of a training sample; the task's usual length when absent."""
    param_init_type: str = "float32"
    """Type of the weights in memory."""
    compute_dtype: str = "float32"
    """Type of activations on a device; a CPU computes in float32."""
    checkpoint_name_or_path: Optional[str] = None
    """Weights to start from when the run names none."""

    def arch(self, head: Head) -> DecoderArch:
        """Return the stack that this configuration describes, with a head on it."""
        return self.gated_decoder(
            head,
            num_kv_heads=self.num_key_value_heads,
            size_per_head=self.head_dim,
            qkv_bias=self.attention_bias,
            out_bias=self.attention_bias,
            mlp_bias=self.mlp_bias,
            attention_dropout=self.attention_dropout,
        )
