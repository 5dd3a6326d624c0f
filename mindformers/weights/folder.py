"""A model's folder on disk: its config.json, and the family that the config belongs to. MindSpore is not imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Mapping

from mindformers.catalog import FAMILIES, MODEL_ALIASES, RELATIVES, Family
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
    return FAMILIES[model_type(values)]


def model_type(values: Mapping[str, Any]) -> str:
    """Return the family's key for a config.json: its model_type, else the family of its `architectures`.

    Raises UnknownNameError with the nearest family, CheckpointError when config.json says neither.
    """
    named = values.get("architectures")
    architectures = [item for item in named if isinstance(item, str)] if isinstance(named, list) else []
    stated = values.get("model_type")
    if stated is None and not architectures:
        known = ", ".join(FAMILIES)
        raise CheckpointError(CONFIG, ["says neither model_type nor architectures"], f"Known model types: {known}.")
    if stated is not None:
        if str(stated) in FAMILIES:
            return str(stated)
        raise _unknown_family("model_type", str(stated), list(FAMILIES), architectures)
    owners = {name: key for key, family in FAMILIES.items() for name in family.classes.values()}
    owners.update({alias: owners[name] for name, aliases in MODEL_ALIASES.items() for alias in aliases})
    found = next((owners[name] for name in architectures if name in owners), None)
    if found is None:
        raise _unknown_family("architecture", architectures[0], list(owners), architectures)
    return found


def _unknown_family(kind: str, name: str, accepted: List[str], architectures: List[str]) -> UnknownNameError:
    """Return the error for a family that is not carried; the nearest is one inside the name, else one spelt alike."""
    inside = sorted((family for family in FAMILIES if family in name.lower()), key=len)
    alike = RELATIVES.get(name) or next((RELATIVES[key] for key in RELATIVES if name.lower().startswith(key)), None)
    near = inside[-1:] or ([alike] if alike else [])
    nearest = f"The nearest that is known is '{near[0]}'. " if near else ""
    also = f" with the architectures {', '.join(architectures)}" if architectures and kind == "model_type" else ""
    hint = f"{nearest}It stands in {CONFIG}{also}. Known families: {', '.join(FAMILIES)}."
    return UnknownNameError(kind, name, () if near else accepted, hint)


def config_from_hf(values: Mapping[str, Any]) -> Any:
    """Return the family's configuration that a config.json describes; also raises UsageError for what it cannot be."""
    family = family_of(values)
    return load_object(f"{family.package}.config:{family.config}").from_hf(values)


def weight_map_of(family: Family) -> WeightMap:
    """Return the family's names in Hugging Face's checkpoints."""
    return load_object(f"{family.package}.weights:WEIGHTS")
