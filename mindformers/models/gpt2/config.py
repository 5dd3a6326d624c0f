"""GPT-2 (Radford et al. 2019): field names as Hugging Face has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, List, Optional, Tuple, Union

from mindformers.arch.stacks import ACTIVATIONS, DecoderArch, Head
from mindformers.models.hf_config import HFConfig


@dataclass(frozen=True)
class GPT2Config(HFConfig):
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
        "layernorm_dtype": "sums of a norm are float32 always",
        "softmax_dtype": "a softmax is float32 always",
    }

    REFUSED: ClassVar[Tuple[Tuple[str, Tuple[Any, ...]], ...]] = (
        ("scale_attn_weights", (True,)),
        ("scale_attn_by_inverse_layer_idx", (False,)),
        ("add_cross_attention", (False,)),
    )
    ACTIVATION: ClassVar[str] = "activation_function"
    RATES: ClassVar[Tuple[str, ...]] = ("resid_pdrop", "embd_pdrop", "attn_pdrop", "classifier_dropout")
    SPELLINGS: ClassVar[Dict[str, str]] = {"n_ctx": "n_positions"}
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
    eos_token_id: Union[int, List[int]] = 50256
    pad_token_id: Optional[int] = None
    """Padding of a text classifier, which reads the last token before it."""
    classifier_dropout: Optional[float] = None
    """Dropout before a token classifier; 0.1 when absent."""
    tie_word_embeddings: bool = True
    num_labels: int = 2
    """Outputs of a classification head."""
    id2label: Optional[Dict[str, str]] = None
    """Names of these outputs by their number, e.g. {"0": "negative"}."""
    seq_length: int = 1024
    """Tokens of a training sample."""
    param_init_type: str = "float32"
    compute_dtype: str = "float32"
    checkpoint_name_or_path: Optional[str] = None
    """Weights to start from when the run names none."""
    repetition_penalty: float = 1.0
    max_decode_length: int = 1024
    top_k: int = 5
    top_p: float = 1.0
    do_sample: bool = True

    def arch(self, head: Head) -> DecoderArch:
        """Return the stack that this configuration describes, with a head on it."""
        width = self.n_inner if self.expand_ratio is None else self.expand_ratio * self.n_embd
        return DecoderArch(
            vocab_size=self.vocab_size,
            hidden_size=self.n_embd,
            num_layers=self.n_layer,
            num_heads=self.n_head,
            intermediate_size=4 * self.n_embd if width is None else width,
            max_positions=self.n_positions,
            pre_norm=True,
            norm_eps=self.layer_norm_epsilon,
            activation=ACTIVATIONS[self.activation_function],
            embedding_dropout=self.embd_pdrop,
            hidden_dropout=self.resid_pdrop,
            attention_dropout=self.attn_pdrop,
            init_std=self.initializer_range,
            scales_residual_init=True,
            pad_token_id=self.pad_token_id,
            head=head,
            num_labels=self.num_labels,
            classifier="last_token",
            classifier_dropout=0.1 if self.classifier_dropout is None else self.classifier_dropout,
            tied_head=self.tie_word_embeddings,
        )

    def to_hf(self) -> Dict[str, Any]:
        """Return what Hugging Face's config.json holds."""
        width = self.arch("none").intermediate_size
        return {**super().to_hf(), "n_inner": None if width == 4 * self.n_embd else width}
