"""Bloom's classes: the shared decoder with Bloom's config, names and a head."""

from __future__ import annotations

from mindformers.models.bloom.config import BloomConfig
from mindformers.models.bloom.weights import WEIGHTS
from mindformers.models.decoder import DecoderModel
from mindformers.models.pretrained import Pretrained


class BloomModel(Pretrained, DecoderModel):
    """The decoder alone: hidden states [B, T, D]."""

    config_class, weight_map, head_name, is_base = BloomConfig, WEIGHTS, "none", True


class BloomForCausalLM(Pretrained, DecoderModel):
    """The next token: logits [B, T, V]."""

    config_class, weight_map, head_name = BloomConfig, WEIGHTS, "causal_lm"


class BloomForSequenceClassification(Pretrained, DecoderModel):
    """A label or a number for a text, read from its last token: logits [B, labels]."""

    config_class, weight_map, head_name = BloomConfig, WEIGHTS, "sequence_classification"


class BloomForTokenClassification(Pretrained, DecoderModel):
    """A label for every token: logits [B, T, labels]."""

    config_class, weight_map, head_name = BloomConfig, WEIGHTS, "token_classification"
