"""RoBERTa's classes: the shared encoder with RoBERTa's config, names and a head."""

from __future__ import annotations

from mindformers.models.encoder import EncoderModel
from mindformers.models.pretrained import Pretrained
from mindformers.models.roberta.config import RobertaConfig
from mindformers.models.roberta.weights import WEIGHTS


class RobertaModel(Pretrained, EncoderModel):
    """The encoder alone: (hidden states [B, S, D], pooled first token [B, D])."""

    config_class, weight_map, head_name, is_base = RobertaConfig, WEIGHTS, "pooler", True


class RobertaForMaskedLM(Pretrained, EncoderModel):
    """Which token stands behind a mask: logits [B, S, V]."""

    config_class, weight_map, head_name = RobertaConfig, WEIGHTS, "masked_lm"


class RobertaForSequenceClassification(Pretrained, EncoderModel):
    """A label or a number for a text or a pair: logits [B, labels]."""

    config_class, weight_map, head_name = RobertaConfig, WEIGHTS, "sequence_classification"


class RobertaForTokenClassification(Pretrained, EncoderModel):
    """A label for every token: logits [B, S, labels]."""

    config_class, weight_map, head_name = RobertaConfig, WEIGHTS, "token_classification"


class RobertaForQuestionAnswering(Pretrained, EncoderModel):
    """Marks where an answer starts and ends: logits [B, S] each."""

    config_class, weight_map, head_name = RobertaConfig, WEIGHTS, "question_answering"
