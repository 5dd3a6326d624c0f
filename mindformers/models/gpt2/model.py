"""GPT-2's classes: the shared decoder with GPT-2's config, names and a head."""

from __future__ import annotations

from mindformers.models.decoder import DecoderModel
from mindformers.models.gpt2.config import GPT2Config
from mindformers.models.gpt2.weights import WEIGHTS
from mindformers.models.pretrained import Pretrained


class GPT2Model(Pretrained, DecoderModel):
    """The decoder alone: hidden states [B, T, D]."""

    config_class, weight_map, head_name, is_base = GPT2Config, WEIGHTS, "none", True


class GPT2LMHeadModel(Pretrained, DecoderModel):
    """The next token: logits [B, T, V]."""

    config_class, weight_map, head_name = GPT2Config, WEIGHTS, "causal_lm"


class GPT2ForSequenceClassification(Pretrained, DecoderModel):
    """A label or a number for a text, read from its last token: logits [B, labels]."""

    config_class, weight_map, head_name = GPT2Config, WEIGHTS, "sequence_classification"


class GPT2ForTokenClassification(Pretrained, DecoderModel):
    """A label for every token: logits [B, T, labels]."""

    config_class, weight_map, head_name = GPT2Config, WEIGHTS, "token_classification"
