"""LLaMA's classes: the shared decoder with LLaMA's config, names and a head."""

from __future__ import annotations

from mindformers.models.decoder import DecoderModel
from mindformers.models.llama.config import LlamaConfig
from mindformers.models.llama.weights import WEIGHTS
from mindformers.models.pretrained import Pretrained


class LlamaModel(Pretrained, DecoderModel):
    """The decoder alone: hidden states [B, T, D]."""

    config_class, weight_map, head_name, is_base = LlamaConfig, WEIGHTS, "none", True


class LlamaForCausalLM(Pretrained, DecoderModel):
    """The next token: logits [B, T, V]."""

    config_class, weight_map, head_name = LlamaConfig, WEIGHTS, "causal_lm"


class LlamaForSequenceClassification(Pretrained, DecoderModel):
    """A label or a number for a text, read from its last token: logits [B, labels]."""

    config_class, weight_map, head_name = LlamaConfig, WEIGHTS, "sequence_classification"


class LlamaForTokenClassification(Pretrained, DecoderModel):
    """A label for every token: logits [B, T, labels]."""

    config_class, weight_map, head_name = LlamaConfig, WEIGHTS, "token_classification"
