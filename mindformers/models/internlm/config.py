"""InternLM (InternLM team 2023): a gated decoder with biases in attention; field names as in the released files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, List, Mapping, Optional, Union

from mindformers.arch.stacks import DecoderArch, Head
from mindformers.models.hf_config import RopeConfig


@dataclass(frozen=True)
class InternLMConfig(RopeConfig):
    """Sizes and choices of an InternLM decoder; the defaults are those of the 7B."""

    model_type: ClassVar[str] = "internlm"

    vocab_size: int = 103168
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    """Tokens of the longest sequence in pre-training."""
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    rope_scaling: Optional[Dict[str, Any]] = None
    """`type` (linear or dynamic) and `factor` of positions beyond `max_position_embeddings`."""
    bias: bool = True
    """Whether the attention's projections have biases."""
    pad_token_id: int = 2
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
    def from_hf(cls, values: Mapping[str, Any]) -> InternLMConfig:
        """As `RopeConfig.from_hf`; later releases hold `rotary` with type (origin or dynamic), base and factor."""
        known = dict(values)
        rotary = known.pop("rotary", None)
        if isinstance(rotary, dict):
            known["rope_theta"] = rotary.get("base", cls.rope_theta)
            if rotary.get("type", "origin") != "origin":
                known["rope_scaling"] = {"type": rotary["type"], "factor": rotary.get("scaling_factor", 1.0)}
        return super().from_hf(known)

    def arch(self, head: Head) -> DecoderArch:
        """Return the stack that this configuration describes, with a head on it."""
        return self.gated_decoder(head, qkv_bias=self.bias, out_bias=self.bias)
