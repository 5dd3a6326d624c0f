"""Aquila's classes: the shared decoder with Aquila's config, names and a head."""

from __future__ import annotations

from mindformers.models.aquila.config import AquilaConfig
from mindformers.models.aquila.weights import WEIGHTS
from mindformers.models.decoder import DecoderModel
from mindformers.models.pretrained import Pretrained


class AquilaModel(Pretrained, DecoderModel):
    """The decoder alone: hidden states [B, T, D]."""

    config_class, weight_map, head_name, is_base = AquilaConfig, WEIGHTS, "none", True


class AquilaForCausalLM(Pretrained, DecoderModel):
    """The next token: logits [B, T, V]."""

    config_class, weight_map, head_name = AquilaConfig, WEIGHTS, "causal_lm"


class AquilaForSequenceClassification(Pretrained, DecoderModel):
    """A label or a number for a text, read from its last token: logits [B, labels]."""

    config_class, weight_map, head_name = AquilaConfig, WEIGHTS, "sequence_classification"
