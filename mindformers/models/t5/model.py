"""T5's classes: the shared encoder-decoder with T5's config, names and a head."""

from __future__ import annotations

from mindformers.models.encoder_decoder import EncoderDecoderModel
from mindformers.models.pretrained import Pretrained
from mindformers.models.t5.config import T5Config
from mindformers.models.t5.weights import WEIGHTS


class T5Model(Pretrained, EncoderDecoderModel):
    """Both stacks alone: the decoder's hidden states [B, T, D]."""

    config_class, weight_map, head_name, is_base = T5Config, WEIGHTS, "none", True


class T5ForConditionalGeneration(Pretrained, EncoderDecoderModel):
    """The next token of the target: logits [B, T, V]."""

    config_class, weight_map, head_name = T5Config, WEIGHTS, "seq2seq_lm"
