"""A model's folder on disk: its config.json, and the family that the config belongs to. MindSpore is not imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Mapping

from mindformers.catalog import FAMILIES, Family
from mindformers.errors import CheckpointError, UnknownNameError
from mindformers.registry import load_object
from mindformers.weights.mapping import WeightMap

CONFIG = "config.json"
FORMAT = "mindformers_format"
"""Key of config.json in a folder whose tensors have our names; its value is the version of the layout."""
FORMAT_VERSION = 1
COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
    "chat_template.jinja",
    "generation_config.json",
)
"""Files beside the weights that go wherever the model goes."""


def read_config(source: Path) -> Dict[str, Any]:
    """Return the config.json of a folder (or of the folder that a weight file lies in). Raises CheckpointError."""
    file = (source if source.is_dir() else source.parent) / CONFIG
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            str(source), [f"no {CONFIG}"], f"A model folder holds {CONFIG} and its weights."
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(str(file), [f"not readable: {error}"]) from error
    if not isinstance(values, dict):
        raise CheckpointError(str(file), ["does not hold an object"])
    return values


def family_of(values: Mapping[str, Any]) -> Family:
    """Return the family that a config.json names. Raises CheckpointError, UnknownNameError."""
    model_type = values.get("model_type")
    if model_type is None:
        raise CheckpointError(CONFIG, ["model_type: missing"], f"Known: {', '.join(FAMILIES)}.")
    if model_type not in FAMILIES:
        raise UnknownNameError("model_type", str(model_type), FAMILIES)
    return FAMILIES[model_type]


def config_from_hf(values: Mapping[str, Any]) -> Any:
    """Return the family's configuration that a config.json describes; also raises UsageError for what it cannot be."""
    family = family_of(values)
    return load_object(f"{family.package}.config:{family.config}").from_hf(values)


def weight_map_of(family: Family) -> WeightMap:
    """Return the family's names in Hugging Face's checkpoints."""
    return load_object(f"{family.package}.weights:WEIGHTS")
