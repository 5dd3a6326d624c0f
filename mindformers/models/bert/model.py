"""BERT's classes: the shared encoder with BERT's config, names and a head."""

from __future__ import annotations

from mindformers.models.bert.config import BertConfig
from mindformers.models.bert.weights import WEIGHTS
from mindformers.models.encoder import EncoderModel
from mindformers.models.pretrained import Pretrained


class BertModel(Pretrained, EncoderModel):
    """The encoder alone: (hidden states [B, S, D], pooled first token [B, D])."""

    config_class, weight_map, head_name, is_base = BertConfig, WEIGHTS, "pooler", True


class BertForMaskedLM(Pretrained, EncoderModel):
    """Which token stands behind a mask: logits [B, S, V]."""

    config_class, weight_map, head_name = BertConfig, WEIGHTS, "masked_lm"


class BertForPreTraining(Pretrained, EncoderModel):
    """Tokens behind masks, and whether a second text follows the first: logits [B, S, V] and [B, 2]."""

    config_class, weight_map, head_name = BertConfig, WEIGHTS, "pre_training"


class BertForSequenceClassification(Pretrained, EncoderModel):
    """A label or a number for a text or a pair: logits [B, labels]."""

    config_class, weight_map, head_name = BertConfig, WEIGHTS, "sequence_classification"


class BertForTokenClassification(Pretrained, EncoderModel):
    """A label for every token: logits [B, S, labels]."""

    config_class, weight_map, head_name = BertConfig, WEIGHTS, "token_classification"


class BertForQuestionAnswering(Pretrained, EncoderModel):
    """Marks where an answer starts and ends: logits [B, S] each."""

    config_class, weight_map, head_name = BertConfig, WEIGHTS, "question_answering"
