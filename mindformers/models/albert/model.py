"""ALBERT's classes: the shared encoder with ALBERT's config, names and a head."""

from __future__ import annotations

from mindformers.models.albert.config import AlbertConfig
from mindformers.models.albert.weights import WEIGHTS
from mindformers.models.encoder import EncoderModel
from mindformers.models.pretrained import Pretrained


class AlbertModel(Pretrained, EncoderModel):
    """The encoder alone: (hidden states [B, S, D], pooled first token [B, D])."""

    config_class, weight_map, head_name, is_base = AlbertConfig, WEIGHTS, "pooler", True


class AlbertForMaskedLM(Pretrained, EncoderModel):
    """Which token stands behind a mask: logits [B, S, V]."""

    config_class, weight_map, head_name = AlbertConfig, WEIGHTS, "masked_lm"


class AlbertForPreTraining(Pretrained, EncoderModel):
    """Tokens behind masks, and whether two texts stand in their order: logits [B, S, V] and [B, 2]."""

    config_class, weight_map, head_name = AlbertConfig, WEIGHTS, "pre_training"


class AlbertForSequenceClassification(Pretrained, EncoderModel):
    """A label or a number for a text or a pair: logits [B, labels]."""

    config_class, weight_map, head_name = AlbertConfig, WEIGHTS, "sequence_classification"


class AlbertForTokenClassification(Pretrained, EncoderModel):
    """A label for every token: logits [B, S, labels]."""

    config_class, weight_map, head_name = AlbertConfig, WEIGHTS, "token_classification"


class AlbertForQuestionAnswering(Pretrained, EncoderModel):
    """Marks where an answer starts and ends: logits [B, S] each."""

    config_class, weight_map, head_name = AlbertConfig, WEIGHTS, "question_answering"
