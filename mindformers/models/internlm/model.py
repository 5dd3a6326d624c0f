"""InternLM's classes: the shared decoder with InternLM's config, names and a head."""

from __future__ import annotations

from mindformers.models.decoder import DecoderModel
from mindformers.models.internlm.config import InternLMConfig
from mindformers.models.internlm.weights import WEIGHTS
from mindformers.models.pretrained import Pretrained


class InternLMModel(Pretrained, DecoderModel):
    """The decoder alone: hidden states [B, T, D]."""

    config_class, weight_map, head_name, is_base = InternLMConfig, WEIGHTS, "none", True


class InternLMForCausalLM(Pretrained, DecoderModel):
    """The next token: logits [B, T, V]."""

    config_class, weight_map, head_name = InternLMConfig, WEIGHTS, "causal_lm"


class InternLMForSequenceClassification(Pretrained, DecoderModel):
    """A label or a number for a text, read from its last token: logits [B, labels]."""

    config_class, weight_map, head_name = InternLMConfig, WEIGHTS, "sequence_classification"
