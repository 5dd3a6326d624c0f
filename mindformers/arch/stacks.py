"""What a transformer stack is made of: closed choices and sizes, in the field's own terms.

A family's config turns itself into one of these; cells, parameter paths, plans and weight maps all read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Literal, Optional

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"]
"""`gelu` is the exact erf form; `gelu_tanh` its tanh approximation (`gelu_new`, `fast_gelu`)."""

ACTIVATIONS: Dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "fast_gelu": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
"""Names that configurations use -> the function."""

Head = Literal["none", "pooler", "question_answering"]
"""What stands on the stack: nothing, the pooled first token, or start and end logits of a span."""


@dataclass(frozen=True)
class EncoderArch:
    """A bidirectional encoder (Devlin et al. 2019, arXiv:1810.04805): post-norm blocks over summed embeddings."""

    vocab_size: int
    """Entries of the token table, padding included."""
    hidden_size: int
    """Width of the residual stream, D."""
    num_layers: int
    num_heads: int
    """Attention heads, N; the head size is `hidden_size / num_heads`."""
    intermediate_size: int
    """Width of the feed-forward, F."""
    max_positions: int
    """Entries of the learned position table: the longest sequence, in tokens."""
    type_vocab_size: int = 2
    activation: Activation = "gelu"
    norm_eps: float = 1e-12
    hidden_dropout: float = 0.1
    """Share of activations dropped after the embeddings and after each sub-layer, in training."""
    attention_dropout: float = 0.1
    """Share of attention probabilities dropped, in training."""
    init_std: float = 0.02
    """Standard deviation of the normal that weights and tables start from."""
    pad_token_id: int = 0
    head: Head = "none"
    num_labels: int = 2
    """Outputs of a classification head; a span head always has two."""

    @property
    def head_size(self) -> int:
        """Width of one attention head, H."""
        return self.hidden_size // self.num_heads


def positive_fields(arch: EncoderArch) -> Optional[str]:
    """Return what is wrong with the sizes of `arch`, or None."""
    for name in ("vocab_size", "hidden_size", "num_layers", "num_heads", "intermediate_size", "max_positions"):
        if getattr(arch, name) < 1:
            return f"{name} is {getattr(arch, name)}; it must be at least 1"
    if arch.hidden_size % arch.num_heads:
        divisors = [n for n in range(1, arch.hidden_size + 1) if arch.hidden_size % n == 0 and n <= 128]
        return (
            f"hidden_size {arch.hidden_size} is not a multiple of num_heads {arch.num_heads}; "
            f"num_heads may be {', '.join(map(str, divisors))}"
        )
    return None
