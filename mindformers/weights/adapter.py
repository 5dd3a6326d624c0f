"""Low-rank adapters (LoRA: Hu et al. 2021, arXiv:2106.09685) in the layout of PEFT, added to weights as these are read.

The names in an adapter are those of Hugging Face's modules, so it changes tensors of a folder in Hugging Face's layout
before a weight map cuts or turns them.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np

from mindformers.errors import CheckpointError, UsageError
from mindformers.weights.readers import WeightFiles, read_weights
from mindformers.weights.stored import StoredTensor

SETTINGS = "adapter_config.json"
TENSORS = ("adapter_model.safetensors", "adapter_model.bin")
PREFIX = "base_model.model."
"""PEFT's wrapper around the model, before every name."""

FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<table>embedding_)?(?P<side>[AB])(\.[^.]+)?(?(table)|\.weight)")
"""Name of one of the two factors; between them and `weight` may stand the adapter's own name."""

WRAPPED = re.compile(r"\.(base_layer|modules_to_save\.[^.]+)(?=\.)")
"""What PEFT puts into the name of a tensor that replaces one of the model's: a new head, a bias that was trained."""


@dataclass
class LowRank:
    """The change of one weight: `scale` B A, with A [rank, in] and B [out, rank]."""

    is_table: bool
    """Whether it belongs to an embedding, whose table is [in, out]."""
    a: Optional[str] = None
    b: Optional[str] = None
    """Names of the factors in the adapter."""


def adapted(files: WeightFiles, folder: Path) -> WeightFiles:
    """Return `files` with the adapter in `folder` added to them; the changed ones are float32.

    Raises UsageError when the folder holds no adapter of this kind, CheckpointError with every tensor of it that fits
    no weight.
    """
    settings = _settings(Path(folder))
    factors = read_weights(_tensors(Path(folder)))
    changes, copies, problems = _sorted_out(factors)
    tensors = {name: files.stored(name) for name in files}
    for module, change in changes.items():
        if change.a is None or change.b is None:
            problems.append(f"{module}: one of the two factors is missing")
            continue
        name = _name_in(files, f"{module}.weight")
        is_turned = change.is_table or bool(settings.get("fan_in_fan_out"))
        (rank, size_in), (size_out, ranks) = factors.shape(change.a), factors.shape(change.b)
        shape = (size_in, size_out) if is_turned else (size_out, size_in)
        if name is None:
            problems.append(f"{module}: the weights have no {module}.weight")
        elif rank != ranks or files.shape(name) != shape:
            problems.append(
                f"{module}: A {(rank, size_in)} and B {(size_out, ranks)} change a weight {shape}, "
                f"{name} is {files.shape(name)}"
            )
        else:
            read = _Sum(files, name, factors, change, _scale(settings, module, rank), is_turned)
            tensors[name] = StoredTensor("F32", shape, read)
    for ours, theirs in copies.items():
        name = _name_in(files, ours)
        if name is None:
            problems.append(f"{theirs}: the weights have no {ours}")
        elif files.shape(name) != factors.shape(theirs):
            problems.append(f"{theirs}: is {factors.shape(theirs)}, {name} is {files.shape(name)}")
        else:
            tensors[name] = factors.stored(theirs)
    if problems:
        raise CheckpointError(
            str(folder),
            problems,
            f"The adapter belongs to another model than {files.source}, or that folder has not Hugging Face's names "
            "(`mindformers convert` gives them).",
        )
    return WeightFiles(files.source, tensors)


@dataclass(frozen=True)
class _Sum:
    """Reads a weight and adds its change."""

    files: WeightFiles
    name: str
    factors: WeightFiles
    change: LowRank
    scale: float
    is_turned: bool

    def __call__(self) -> np.ndarray:
        assert self.change.a is not None and self.change.b is not None  # looked at before
        delta = self.factors[self.change.b].astype(np.float32) @ self.factors[self.change.a].astype(np.float32)
        return self.files[self.name].astype(np.float32) + self.scale * (delta.T if self.is_turned else delta)


def _settings(folder: Path) -> Dict[str, Any]:
    file = folder / SETTINGS
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{folder}: no adapter, {SETTINGS} cannot be read ({error}); PEFT's save_pretrained writes it"
        ) from error
    kind = settings.get("peft_type") if isinstance(settings, dict) else None
    if kind != "LORA" or settings.get("use_dora"):
        found = "LORA with use_dora" if kind == "LORA" else repr(kind)
        raise UsageError(f"{file}: peft_type is {found}; accepted: LORA without use_dora. Merge it with PEFT instead")
    return settings


def _tensors(folder: Path) -> Path:
    file = next((folder / name for name in TENSORS if (folder / name).is_file()), None)
    if file is None:
        raise UsageError(f"{folder}: has {SETTINGS}, but neither {' nor '.join(TENSORS)}")
    return file


def _sorted_out(factors: WeightFiles) -> Tuple[Dict[str, LowRank], Dict[str, str], List[str]]:
    """Return module -> its change, name of a weight -> the tensor that replaces it, and what is neither."""
    changes: Dict[str, LowRank] = {}
    copies: Dict[str, str] = {}
    problems: List[str] = []
    for theirs in factors:
        name = theirs.removeprefix(PREFIX)
        match = FACTOR.fullmatch(name)
        if match is not None:
            change = changes.setdefault(match["module"], LowRank(match["table"] is not None))
            setattr(change, match["side"].lower(), theirs)
        elif "lora_" in name:
            problems.append(f"{theirs}: a kind of factor that cannot be added to a weight")
        else:
            copies[WRAPPED.sub("", name)] = theirs
    return changes, copies, problems


def _name_in(files: WeightFiles, name: str) -> Optional[str]:
    """Return the weight that a module's tensor is; files of a base model lack the first part of its name."""
    if name in files:
        return name
    found = [theirs for theirs in files if name.endswith(f".{theirs}") or theirs.endswith(f".{name}")]
    return found[0] if len(found) == 1 else None


def _scale(settings: Mapping[str, Any], module: str, rank: int) -> float:
    """Return what the product of the factors is multiplied by: alpha / rank, or alpha / sqrt(rank) (rsLoRA)."""
    alpha = settings.get("lora_alpha", rank)
    for pattern, own in (settings.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            alpha = own
    return alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
