"""ALBERT (Lan et al. 2019, arXiv:1909.11942): field names as Hugging Face has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Optional, Tuple

from mindformers.arch.stacks import ACTIVATIONS, EncoderArch, Head
from mindformers.models.hf_config import EncoderConfig


@dataclass(frozen=True)
class AlbertConfig(EncoderConfig):
    """Sizes and choices of an ALBERT encoder; the defaults are those of albert-xxlarge, as in Hugging Face."""

    REFUSED: ClassVar[Tuple[Tuple[str, Tuple[Any, ...]], ...]] = (
        ("position_embedding_type", ("absolute",)),
        ("inner_group_num", (1,)),
    )
    RATES: ClassVar[Tuple[str, ...]] = (
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "classifier_dropout_prob",
    )
    model_type: ClassVar[str] = "albert"

    vocab_size: int = 30000
    embedding_size: int = 128
    """Width of the embedding tables."""
    hidden_size: int = 4096
    num_hidden_layers: int = 12
    num_hidden_groups: int = 1
    """Layers with weights of their own, shared by all others."""
    num_attention_heads: int = 64
    intermediate_size: int = 16384
    hidden_act: str = "gelu_new"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    classifier_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    bos_token_id: int = 2
    eos_token_id: int = 3
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
            embedding_size=self.embedding_size,
            distinct_layers=self.num_hidden_groups,
            drops_mlp_output=False,
            classifier_dropout=self.classifier_dropout_prob,
            sentence_task="sentence_order",
            head_activation=ACTIVATIONS[self.hidden_act],
        )
