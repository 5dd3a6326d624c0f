"""Baichuan's classes: the shared decoder with Baichuan's config, names and a head."""

from __future__ import annotations

from mindformers.models.baichuan.config import BaichuanConfig
from mindformers.models.baichuan.weights import WEIGHTS
from mindformers.models.decoder import DecoderModel
from mindformers.models.pretrained import Pretrained


class BaichuanModel(Pretrained, DecoderModel):
    """The decoder alone: hidden states [B, T, D]."""

    config_class, weight_map, head_name, is_base = BaichuanConfig, WEIGHTS, "none", True


class BaichuanForCausalLM(Pretrained, DecoderModel):
    """The next token: logits [B, T, V]."""

    config_class, weight_map, head_name = BaichuanConfig, WEIGHTS, "causal_lm"


class BaichuanForSequenceClassification(Pretrained, DecoderModel):
    """A label or a number for a text, read from its last token: logits [B, labels]."""

    config_class, weight_map, head_name = BaichuanConfig, WEIGHTS, "sequence_classification"
