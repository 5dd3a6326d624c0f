"""BERT's classes: the shared encoder with BERT's config, names and a head."""

from __future__ import annotations

from mindformers.models.bert.config import BertConfig
from mindformers.models.bert.weights import WEIGHTS
from mindformers.models.encoder import EncoderModel
from mindformers.models.pretrained import Pretrained


class BertModel(Pretrained, EncoderModel):
    """The encoder alone: (hidden states [B, S, D], pooled first token [B, D])."""

    config_class, weight_map, head_name, is_base = BertConfig, WEIGHTS, "pooler", True


class BertForQuestionAnswering(Pretrained, EncoderModel):
    """Marks where an answer starts and ends: logits [B, S] each, or the loss when both positions are given."""

    config_class, weight_map, head_name = BertConfig, WEIGHTS, "question_answering"
