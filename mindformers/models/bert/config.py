"""BERT (Devlin et al. 2019, arXiv:1810.04805): field names as Hugging Face has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Optional, Tuple

from mindformers.arch.stacks import ACTIVATIONS, EncoderArch, Head
from mindformers.models.hf_config import EncoderConfig


@dataclass(frozen=True)
class BertConfig(EncoderConfig):
    """Sizes and choices of a BERT encoder."""

    OLD_NAMES: ClassVar[Dict[str, str]] = {
        "embedding_size": "hidden_size",
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "dropout_prob": "hidden_dropout_prob",
        "layernorm_epsilon": "layer_norm_eps",
    }
    RIVALS: ClassVar[Dict[str, str]] = {"expand_ratio": "intermediate_size"}
    UNUSED: ClassVar[Dict[str, str]] = {
        "batch_size": "the model takes any batch",
        "use_one_hot_embeddings": "tables are looked up",
        "post_layernorm_residual": "BERT normalises after each sub-layer",
        "use_relative_positions": "BERT's are absolute",
        "use_past": "an encoder has no cache",
        "use_moe": "the blocks are dense",
    }
    REFUSED: ClassVar[Tuple[Tuple[str, Tuple[Any, ...]], ...]] = (
        ("position_embedding_type", ("absolute",)),
        ("is_decoder", (False,)),
        ("add_cross_attention", (False,)),
    )
    RATES: ClassVar[Tuple[str, ...]] = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
    model_type: ClassVar[str] = "bert"

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    """Width of the feed-forward."""
    expand_ratio: Optional[int] = None
    """Width of the feed-forward as a multiple of `hidden_size`, in place of `intermediate_size`."""
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    """Entries of the learned position table: the longest sequence, in tokens."""
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    classifier_dropout: Optional[float] = None
    """Dropout before a classifier; `hidden_dropout_prob` when absent."""
    tie_word_embeddings: bool = True
    """Whether the masked-LM head shares the token table."""
    num_labels: int = 2
    """Outputs of a classification head."""
    id2label: Optional[Dict[str, str]] = None
    """Names of these outputs by their number, e.g. {"0": "negative"}."""
    seq_length: Optional[int] = None
    """Tokens of a training sample; the task's usual length when absent."""
    param_init_type: str = "float32"
    compute_dtype: str = "float32"
    """Type of activations on a device; a CPU computes in float32."""
    checkpoint_name_or_path: Optional[str] = None
    """Weights to start from when the run names none."""

    def arch(self, head: Head) -> EncoderArch:
        """Return the stack that this configuration describes, with a head on it."""
        width = self.intermediate_size if self.expand_ratio is None else self.expand_ratio * self.hidden_size
        return self.encoder(
            head,
            intermediate_size=width,
            classifier_dropout=self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout,
            sentence_task="next_sentence",
            head_activation=ACTIVATIONS[self.hidden_act],
        )

    def to_hf(self) -> Dict[str, Any]:
        """Return what Hugging Face's config.json holds."""
        width = self.arch("none").intermediate_size
        return {**super().to_hf(), "intermediate_size": width, "position_embedding_type": "absolute"}
