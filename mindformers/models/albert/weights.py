"""ALBERT's names in Hugging Face's checkpoints; a layer of ours is a group there."""

from __future__ import annotations

from mindformers.weights.mapping import Ignore, Rename, WeightMap

_LAYER = "encoder.albert_layer_groups.{i}.albert_layers.0"

WEIGHTS = WeightMap(
    prefix="albert.",
    entries=(
        Rename("embed.tokens.weight", "embeddings.word_embeddings.weight"),
        Rename("embed.positions.weight", "embeddings.position_embeddings.weight"),
        Rename("embed.types.weight", "embeddings.token_type_embeddings.weight"),
        Rename("embed.norm.*", "embeddings.LayerNorm.*"),
        Rename("embed.project.*", "encoder.embedding_hidden_mapping_in.*"),
        Rename("layers.{i}.attention.q.*", f"{_LAYER}.attention.query.*"),
        Rename("layers.{i}.attention.k.*", f"{_LAYER}.attention.key.*"),
        Rename("layers.{i}.attention.v.*", f"{_LAYER}.attention.value.*"),
        Rename("layers.{i}.attention.o.*", f"{_LAYER}.attention.dense.*"),
        Rename("layers.{i}.norm_attn.*", f"{_LAYER}.attention.LayerNorm.*"),
        Rename("layers.{i}.mlp.up.*", f"{_LAYER}.ffn.*"),
        Rename("layers.{i}.mlp.down.*", f"{_LAYER}.ffn_output.*"),
        Rename("layers.{i}.norm_mlp.*", f"{_LAYER}.full_layer_layer_norm.*"),
        Rename("pooler.*", "pooler.*", optional=True),
        Rename("head.transform.*", "predictions.dense.*", optional=True),
        Rename("head.norm.*", "predictions.LayerNorm.*", optional=True),
        Rename("head.bias", "predictions.decoder.bias", optional=True, beside="head.weight"),
        Rename("head.bias", "predictions.bias", optional=True),
        Rename("head.weight", "predictions.decoder.weight", optional=True),
        Rename("head.sentence.*", "sop_classifier.classifier.*", optional=True),
        Rename("head.classifier.*", "classifier.*", optional=True),
        Rename("head.span.*", "qa_outputs.*", optional=True),
    ),
    ignored=(
        Ignore("embeddings.position_ids", "positions are counted, not stored"),
        Ignore("predictions.bias", "the same numbers as predictions.decoder.bias"),
    ),
)
