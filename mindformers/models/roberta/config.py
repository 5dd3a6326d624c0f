"""RoBERTa (Liu et al. 2019, arXiv:1907.11692): field names as Hugging Face has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Optional, Tuple

from mindformers.arch.stacks import EncoderArch, Head
from mindformers.models.hf_config import EncoderConfig


@dataclass(frozen=True)
class RobertaConfig(EncoderConfig):
    """Sizes and choices of a RoBERTa encoder; the defaults are Hugging Face's, for keys that a file leaves out."""

    REFUSED: ClassVar[Tuple[Tuple[str, Tuple[Any, ...]], ...]] = (
        ("position_embedding_type", ("absolute",)),
        ("is_decoder", (False,)),
        ("add_cross_attention", (False,)),
    )
    RATES: ClassVar[Tuple[str, ...]] = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
    model_type: ClassVar[str] = "roberta"

    vocab_size: int = 50265
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: Optional[float] = None
    """Dropout before a classifier; `hidden_dropout_prob` when absent."""
    max_position_embeddings: int = 512
    """Entries of the position table; the first `pad_token_id + 1` serve no token."""
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    bos_token_id: int = 0
    pad_token_id: int = 1
    eos_token_id: int = 2
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

    def arch(self, head: Head) -> EncoderArch:
        """Return the stack that this configuration describes, with a head on it."""
        return self.encoder(
            head,
            padding_offsets_positions=True,
            classifier="dense",
            classifier_dropout=self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout,
        )

    def to_hf(self) -> Dict[str, Any]:
        """Return what Hugging Face's config.json holds."""
        return {**super().to_hf(), "position_embedding_type": "absolute"}
