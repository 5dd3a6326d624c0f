"""Bloom (Le Scao et al. 2022, arXiv:2211.05100): field names as Hugging Face has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, List, Optional, Tuple, Union

from mindformers.arch.stacks import DecoderArch, Head
from mindformers.models.hf_config import HFConfig


@dataclass(frozen=True)
class BloomConfig(HFConfig):
    """Sizes and choices of a Bloom decoder; the defaults are Hugging Face's, for keys that a file leaves out."""

    REFUSED: ClassVar[Tuple[Tuple[str, Tuple[Any, ...]], ...]] = (
        ("apply_residual_connection_post_layernorm", (False,)),
    )
    RATES: ClassVar[Tuple[str, ...]] = ("hidden_dropout", "attention_dropout")
    SPELLINGS: ClassVar[Dict[str, str]] = {
        "n_embed": "hidden_size",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
    }
    model_type: ClassVar[str] = "bloom"

    vocab_size: int = 250880
    hidden_size: int = 64
    n_layer: int = 2
    n_head: int = 8
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    pad_token_id: Optional[int] = None
    bos_token_id: int = 1
    eos_token_id: Union[int, List[int]] = 2
    tie_word_embeddings: bool = True
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
        return DecoderArch(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_layers=self.n_layer,
            num_heads=self.n_head,
            intermediate_size=4 * self.hidden_size,
            max_positions=2048,
            positions="alibi",
            pre_norm=True,
            norm_eps=self.layer_norm_epsilon,
            embedding_norm=True,
            activation="gelu_tanh",
            hidden_dropout=self.hidden_dropout,
            attention_dropout=self.attention_dropout,
            init_std=self.initializer_range,
            pad_token_id=self.pad_token_id,
            head=head,
            num_labels=self.num_labels,
            classifier="last_token",
            classifier_dropout=0.1 if head == "token_classification" else 0.0,
            tied_head=self.tie_word_embeddings,
        )
