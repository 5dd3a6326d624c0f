"""BERT's names in Hugging Face's checkpoints."""

from __future__ import annotations

from mindformers.weights.mapping import Ignore, Rename, WeightMap

_LAYER = "encoder.layer.{i}"

WEIGHTS = WeightMap(
    prefix="bert.",
    entries=(
        Rename("embed.tokens.weight", "embeddings.word_embeddings.weight"),
        Rename("embed.positions.weight", "embeddings.position_embeddings.weight"),
        Rename("embed.types.weight", "embeddings.token_type_embeddings.weight"),
        Rename("embed.norm.*", "embeddings.LayerNorm.*"),
        Rename("layers.{i}.attention.q.*", f"{_LAYER}.attention.self.query.*"),
        Rename("layers.{i}.attention.k.*", f"{_LAYER}.attention.self.key.*"),
        Rename("layers.{i}.attention.v.*", f"{_LAYER}.attention.self.value.*"),
        Rename("layers.{i}.attention.o.*", f"{_LAYER}.attention.output.dense.*"),
        Rename("layers.{i}.norm_attn.*", f"{_LAYER}.attention.output.LayerNorm.*"),
        Rename("layers.{i}.mlp.up.*", f"{_LAYER}.intermediate.dense.*"),
        Rename("layers.{i}.mlp.down.*", f"{_LAYER}.output.dense.*"),
        Rename("layers.{i}.norm_mlp.*", f"{_LAYER}.output.LayerNorm.*"),
        Rename("pooler.*", "pooler.dense.*", optional=True),
        Rename("head.transform.*", "cls.predictions.transform.dense.*", optional=True),
        Rename("head.norm.*", "cls.predictions.transform.LayerNorm.*", optional=True),
        Rename("head.bias", "cls.predictions.decoder.bias", optional=True, beside="head.weight"),
        Rename("head.bias", "cls.predictions.bias", optional=True),
        Rename("head.weight", "cls.predictions.decoder.weight", optional=True),
        Rename("head.sentence.*", "cls.seq_relationship.*", optional=True),
        Rename("head.classifier.*", "classifier.*", optional=True),
        Rename("head.span.*", "qa_outputs.*", optional=True),
    ),
    ignored=(
        Ignore("embeddings.position_ids", "positions are counted, not stored"),
        Ignore("cls.predictions.bias", "the same numbers as cls.predictions.decoder.bias"),
    ),
)
