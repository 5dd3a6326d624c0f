"""Write weights as safetensors: under a temporary name, flushed, then renamed; in shards above a size."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Dict, List, Mapping, Optional

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from mindformers.errors import OutputError
from mindformers.weights.readers import INDEX, SINGLE

SHARD_BYTES = 5 * 10**9
"""Largest file that weights are written into before they are cut into shards."""


def save_safetensors(path: Path, arrays: Mapping[str, np.ndarray], metadata: Optional[Dict[str, str]] = None) -> None:
    """Write one file; an earlier one of that name is replaced whole or not at all. Raises OutputError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # The library stores an array from its first byte on, so a slice would come out wrong: make each contiguous.
        save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, str(temporary), metadata)
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from error


def save_folder(folder: Path, arrays: Mapping[str, np.ndarray], shard_bytes: int = SHARD_BYTES) -> List[Path]:
    """Write weights into `folder` as Hugging Face lays them out; return the files. Raises OutputError."""
    metadata = {"format": "pt"}
    shards: List[Dict[str, np.ndarray]] = [{}]
    used = 0
    for name, array in arrays.items():
        if shards[-1] and used + array.nbytes > shard_bytes:
            shards.append({})
            used = 0
        shards[-1][name] = array
        used += array.nbytes
    if len(shards) == 1:
        save_safetensors(folder / SINGLE, shards[0], metadata)
        return [folder / SINGLE]
    names = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards):
        save_safetensors(folder / name, shard, metadata)
    index = {
        "metadata": {"total_size": sum(array.nbytes for array in arrays.values())},
        "weight_map": {key: name for name, shard in zip(names, shards) for key in shard},
    }
    temporary = folder / f".{INDEX}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, folder / INDEX)
    return [folder / name for name in (*names, INDEX)]
