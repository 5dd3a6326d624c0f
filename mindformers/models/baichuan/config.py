"""Baichuan and Baichuan 2 (Yang et al. 2023, arXiv:2309.10305): field names as in the released config.json files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, List, Literal, Mapping, Optional, Union

from mindformers.arch.stacks import DecoderArch, Head
from mindformers.models.hf_config import RopeConfig

BAICHUAN_2_VOCABULARY = 125696


@dataclass(frozen=True)
class BaichuanConfig(RopeConfig):
    """Sizes and choices of a Baichuan decoder; the defaults are those of the first 7B."""

    model_type: ClassVar[str] = "baichuan"

    vocab_size: int = 64000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    hidden_act: str = "silu"
    position_embedding: Literal["rotary", "alibi"] = "rotary"
    """Rotary in the 7B, ALiBi in the 13B."""
    normalized_head: bool = False
    """Whether the rows of the output table are scaled to length 1, as in Baichuan 2."""
    max_position_embeddings: int = 4096
    """Tokens of the longest sequence in pre-training."""
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    rope_scaling: Optional[Dict[str, Any]] = None
    """`type` (linear or dynamic) and `factor` of positions beyond `max_position_embeddings`."""
    pad_token_id: int = 0
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

    @classmethod
    def from_hf(cls, values: Mapping[str, Any]) -> BaichuanConfig:
        """Return the configuration in a config.json, whose released forms leave two choices unsaid.

        The 13B have a `model_max_length` and no `max_position_embeddings`; Baichuan 2 is known by its vocabulary.
        """
        known = dict(values)
        is_alibi = "max_position_embeddings" not in known and "model_max_length" in known
        known.setdefault("position_embedding", "alibi" if is_alibi else "rotary")
        known.setdefault("max_position_embeddings", known.get("model_max_length", cls.max_position_embeddings))
        known.setdefault("normalized_head", known.get("vocab_size") == BAICHUAN_2_VOCABULARY)
        return super().from_hf(known)

    def arch(self, head: Head) -> DecoderArch:
        """Return the stack that this configuration describes, with a head on it."""
        return self.gated_decoder(head, positions=self.position_embedding, normalizes_head=self.normalized_head)
