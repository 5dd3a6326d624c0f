"""What a transformer stack is made of: closed choices and sizes, in the field's own terms.

A family's config turns itself into one of three dataclasses here (encoder, decoder, encoder-decoder); cells, parameter
paths, plans and weight maps all read it. Most choices are common to the three, because a layer is the same everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Literal, Optional, Tuple

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"]
"""`gelu` is the exact erf form, `gelu_tanh` its tanh approximation (`gelu_new`), `quick_gelu` x sigmoid(1.702 x), which
is also MindSpore's FastGelu (`fast_gelu`)."""

ACTIVATIONS: Dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "fast_gelu": "quick_gelu",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
"""Names that configurations use -> the function."""

Head = Literal[
    "none",
    "pooler",
    "question_answering",
    "sequence_classification",
    "token_classification",
    "masked_lm",
    "pre_training",
    "causal_lm",
    "seq2seq_lm",
]
"""What stands on the stack: nothing, the pooled first token, or the logits of a task."""

HEAD_OF_CLASS: Dict[str, Head] = {
    "": "none",
    "ForMaskedLM": "masked_lm",
    "ForPreTraining": "pre_training",
    "ForCausalLM": "causal_lm",
    "ForSeq2SeqLM": "seq2seq_lm",
    "ForSequenceClassification": "sequence_classification",
    "ForTokenClassification": "token_classification",
    "ForQuestionAnswering": "question_answering",
}
"""Ending of a class name in the catalog -> what stands on its stack."""

Classifier = Literal["pooled", "dense", "last_token"]
"""What a sequence classifier reads: the pooler's output (BERT), the first token through a dense layer of its own
(RoBERTa), or the last token that is no padding (GPT-2)."""

SentenceTask = Literal["next_sentence", "sentence_order"]
"""What a pre-training head says of two texts: whether the second follows the first in its document (BERT), or whether
they stand in their order (Lan et al. 2019, arXiv:1909.11942, section 3.1)."""

Positions = Literal["learned", "rotary", "alibi", "relative"]
Norm = Literal["layer_norm", "rms_norm"]
RotaryScaling = Literal["none", "linear", "dynamic"]


@dataclass(frozen=True)
class Rotary:
    """Rotary position embedding (Su et al. 2021, arXiv:2104.09864, section 3.2)."""

    theta: float = 10000.0
    """Base of the wavelengths."""
    interleaved: bool = False
    """Whether a pair is (0, 1), (2, 3) ... as in the paper, or (0, H/2), (1, H/2 + 1) ... as in LLaMA's files."""
    scaling: RotaryScaling = "none"
    """`linear` divides positions by `factor` (Chen et al. 2023, arXiv:2306.15595); `dynamic` raises theta with the
    length once it exceeds `trained_length` (NTK-aware scaling)."""
    factor: float = 1.0
    trained_length: int = 2048
    """Tokens of the longest sequence in pre-training."""


@dataclass(frozen=True)
class StackArch:
    """What the three stacks have in common. Sizes are counts of features unless said otherwise."""

    vocab_size: int
    """Entries of the token table, padding included, V."""
    hidden_size: int
    """Width of the residual stream, D."""
    num_layers: int
    num_heads: int
    """Attention heads of the query, N."""
    intermediate_size: int
    """Width of the feed-forward, F."""
    max_positions: int
    """Entries of a learned position table, or the longest sequence in pre-training; in tokens."""
    num_kv_heads: Optional[int] = None
    """Heads of key and value, K (Ainslie et al. 2023, arXiv:2305.13245); as many as `num_heads` when absent."""
    size_per_head: Optional[int] = None
    """Width of one head, H; `hidden_size / num_heads` when absent."""
    embedding_size: Optional[int] = None
    """Width of the tables, E, projected to D (Lan et al. 2019, arXiv:1909.11942, section 3.1); D when absent."""
    distinct_layers: Optional[int] = None
    """Layers with weights of their own when layers share them; `num_layers` when absent."""

    positions: Positions = "learned"
    rotary: Rotary = Rotary()
    num_buckets: int = 32
    """Rows of a relative position table (Raffel et al. 2020, arXiv:1910.10683, section 2.1)."""
    max_distance: int = 128
    """Distance from which on all relative positions share the last bucket, in tokens."""
    padding_offsets_positions: bool = False
    """Whether positions count the tokens that are no padding, from `pad_token_id + 1` (RoBERTa)."""
    type_vocab_size: int = 0
    """Rows of the segment table; 0 for none."""
    norm: Norm = "layer_norm"
    pre_norm: bool = False
    """Whether a sub-layer's input is normed (and the stack's output), or its output with the residual."""
    norm_eps: float = 1e-12
    embedding_norm: bool = False
    activation: Activation = "gelu"
    gated: bool = False
    """Whether the feed-forward is activation(gate(x)) * up(x) (Shazeer 2020, arXiv:2002.05202)."""
    qkv_bias: bool = True
    out_bias: bool = True
    """Whether attention's output projection has a bias."""
    mlp_bias: bool = True
    scales_scores: bool = True
    """Whether scores are divided by sqrt(H)."""

    embedding_dropout: float = 0.0
    """Share of the embeddings' elements dropped in training."""
    hidden_dropout: float = 0.0
    """Share dropped after each sub-layer."""
    attention_dropout: float = 0.0
    """Share of attention probabilities dropped."""
    mlp_dropout: float = 0.0
    """Share dropped inside the feed-forward, after the activation."""
    drops_mlp_output: bool = True
    """Whether `hidden_dropout` also applies to the feed-forward."""

    init_std: float = 0.02
    """Standard deviation of the normal that weights and tables start from."""
    scales_residual_init: bool = False
    """Whether projections into the residual stream start with `init_std / sqrt(2 num_layers)` (GPT-2)."""
    fan_in_init: bool = False
    """Whether matrices start with `init_std / sqrt(inputs)` and tables with `init_std` (T5)."""
    pad_token_id: Optional[int] = None
    frozen_row: Optional[int] = None
    """Row of the token table that starts at zero and receives no gradient."""
    head: Head = "none"
    num_labels: int = 2
    """Outputs of a classification head; 1 makes it a regression. A span head always has two."""
    classifier: Classifier = "pooled"
    classifier_dropout: float = 0.0
    sentence_task: Optional[SentenceTask] = None
    """What a pre-training head says of two texts; families without such a head have none."""
    head_activation: Activation = "gelu"
    """Activation inside a masked-LM head."""
    tied_head: bool = True
    """Whether the logits over the vocabulary come from the token table."""
    scales_head: bool = False
    """Whether hidden states are multiplied by D^-0.5 before the head (T5)."""
    normalizes_head: bool = False
    """Whether the rows of the head are scaled to length 1 (Baichuan 2)."""

    @property
    def head_size(self) -> int:
        """Width of one attention head, H."""
        return self.hidden_size // self.num_heads if self.size_per_head is None else self.size_per_head

    @property
    def kv_heads(self) -> int:
        """Heads of key and value, K."""
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads

    @property
    def table_size(self) -> int:
        """Width of the embedding tables, E."""
        return self.hidden_size if self.embedding_size is None else self.embedding_size

    @property
    def layer_order(self) -> Tuple[int, ...]:
        """Which of the distinct layers is run at each step through the stack; shared ones follow each other."""
        distinct = self.num_layers if self.distinct_layers is None else self.distinct_layers
        return tuple(int(layer / (self.num_layers / distinct)) for layer in range(self.num_layers))


@dataclass(frozen=True)
class EncoderArch(StackArch):
    """A bidirectional encoder (Devlin et al. 2019, arXiv:1810.04805)."""


@dataclass(frozen=True)
class DecoderArch(StackArch):
    """A causal decoder (Radford et al. 2019; Touvron et al. 2023, arXiv:2302.13971)."""


@dataclass(frozen=True)
class EncoderDecoderArch(StackArch):
    """An encoder and a decoder that attends to it (Raffel et al. 2020, arXiv:1910.10683), over one token table."""

    num_decoder_layers: int = 0
    decoder_start_token_id: int = 0
    """First token of every decoder input."""


POSITIVE = ("vocab_size", "hidden_size", "num_layers", "num_heads", "intermediate_size", "max_positions", "head_size")
RATES = ("embedding_dropout", "hidden_dropout", "attention_dropout", "mlp_dropout", "classifier_dropout")

CARRIED: Dict[type, Dict[str, Tuple[object, ...]]] = {
    EncoderArch: {"pre_norm": (False,), "norm": ("layer_norm",), "positions": ("learned",)},
    DecoderArch: {
        "pre_norm": (True,),
        "positions": ("learned", "rotary", "alibi"),
        "distinct_layers": (None,),
        "embedding_size": (None,),
        "head": ("none", "question_answering", "sequence_classification", "token_classification", "causal_lm"),
    },
    EncoderDecoderArch: {
        "pre_norm": (True,),
        "positions": ("relative",),
        "distinct_layers": (None,),
        "embedding_size": (None,),
        "head": ("none", "seq2seq_lm"),
    },
}
"""Choices that each stack's cells carry; any other would be ignored by them."""


def arch_problem(arch: StackArch) -> Optional[str]:
    """Return why no model can be built from `arch`, or None."""
    for name in (*POSITIVE, "kv_heads", "table_size", "num_labels"):
        if getattr(arch, name) < 1:
            return f"{name} is {getattr(arch, name)}; it must be at least 1"
    for name, accepted in CARRIED[type(arch)].items():
        if getattr(arch, name) not in accepted:
            able = " or ".join(str(item) for item in accepted)
            return f"{name} is {getattr(arch, name)}; {type(arch).__name__} carries {able}"
    if isinstance(arch, DecoderArch) and arch.head == "sequence_classification" and arch.classifier != "last_token":
        return f"classifier is {arch.classifier}; a decoder reads the last_token, the only one that has seen all"
    for name in RATES:
        if not 0.0 <= getattr(arch, name) < 1.0:
            return f"{name} is {getattr(arch, name)}; it must be at least 0 and below 1"
    if arch.size_per_head is None and arch.hidden_size % arch.num_heads:
        return (
            f"hidden_size {arch.hidden_size} is not a multiple of num_heads {arch.num_heads}; "
            f"num_heads may be {_divisors(arch.hidden_size)}"
        )
    if arch.num_heads % arch.kv_heads:
        return (
            f"num_heads {arch.num_heads} is not a multiple of num_kv_heads {arch.kv_heads}; "
            f"num_kv_heads may be {_divisors(arch.num_heads)}"
        )
    for name in ("pad_token_id", "frozen_row"):
        row = getattr(arch, name)
        if row is not None and row >= arch.vocab_size:
            return f"pad_token_id is {row}; it must be below vocab_size {arch.vocab_size}"
    if arch.distinct_layers is not None and not 1 <= arch.distinct_layers <= arch.num_layers:
        return f"{arch.distinct_layers} distinct layers cannot make {arch.num_layers}; accepted: 1 to {arch.num_layers}"
    return _position_problem(arch)


def _position_problem(arch: StackArch) -> Optional[str]:
    if arch.positions == "rotary":
        least = 4 if arch.rotary.scaling == "dynamic" else 2
        if arch.head_size % 2 or arch.head_size < least:
            return f"the head size is {arch.head_size}; rotary positions need an even one of at least {least}"
    if arch.positions == "relative":
        # One direction's buckets; half of them hold one distance each, and the rest must lie beyond.
        exact = arch.num_buckets // 2
        if arch.num_buckets < 4 or arch.max_distance <= exact:
            return (
                f"{arch.num_buckets} buckets up to distance {arch.max_distance}: relative positions need at least 4, "
                f"and a distance above half their number"
            )
    if arch.padding_offsets_positions and arch.pad_token_id is None:
        return "positions count the tokens that are no padding, so pad_token_id must be given"
    if isinstance(arch, EncoderDecoderArch) and arch.num_decoder_layers < 1:
        return f"num_decoder_layers is {arch.num_decoder_layers}; it must be at least 1"
    return None


def _divisors(number: int) -> str:
    return ", ".join(str(n) for n in range(1, min(number, 128) + 1) if number % n == 0)
