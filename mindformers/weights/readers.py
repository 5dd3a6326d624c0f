"""Read weights from disk by name, one tensor at a time: safetensors (sharded or not), .bin, MindSpore .ckpt."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Tuple

import numpy as np
from safetensors import SafetensorError, safe_open

from mindformers.errors import CheckpointError, MissingExtraError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
BIN = "pytorch_model.bin"
BIN_INDEX = "pytorch_model.bin.index.json"
EXPECTED = f"expected {SINGLE}, {INDEX}, {BIN} or {BIN_INDEX} in the folder, or a .safetensors, .bin or .ckpt file"


class WeightFiles(Mapping[str, np.ndarray]):
    """Names to arrays of one or more files; an array is read when it is asked for. bfloat16 comes as float32."""

    def __init__(self, source: Path, readers: Mapping[str, Tuple[Callable[[str], np.ndarray], Tuple[int, ...]]]):
        self.source = source
        self._readers = dict(readers)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._readers[name][0](name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)

    def shape(self, name: str) -> Tuple[int, ...]:
        """Return a shape without reading the array."""
        return self._readers[name][1]


def read_weights(source: Path) -> WeightFiles:
    """Open the weights at `source`, a folder or a file.

    Raises CheckpointError naming the file that is missing, damaged or of no known kind; MissingExtraError for a .bin
    file without PyTorch.
    """
    source = Path(source)
    readers: Dict[str, Tuple[Callable[[str], np.ndarray], Tuple[int, ...]]] = {}
    for file in _files(source):
        opened = {".safetensors": _safetensors, ".bin": _bin, ".pt": _bin, ".ckpt": _ckpt}.get(file.suffix)
        if opened is None:
            raise CheckpointError(str(file), [f"not a weight file by its ending '{file.suffix}'"], EXPECTED + ".")
        found = opened(file)
        twice = sorted(set(found) & set(readers))
        if twice:
            raise CheckpointError(str(file), [f"{name}: in another shard too" for name in twice])
        readers.update(found)
    if not readers:
        raise CheckpointError(str(source), ["holds no tensor"], EXPECTED + ".")
    return WeightFiles(source, readers)


def _files(source: Path) -> List[Path]:
    if not source.exists():
        raise CheckpointError(str(source), ["no such file or folder"], EXPECTED + ".")
    if source.is_file():
        return [source] if not source.name.endswith(".index.json") else _shards(source)
    for name in (SINGLE, INDEX, BIN, BIN_INDEX):
        if (source / name).is_file():
            return _shards(source / name) if name in (INDEX, BIN_INDEX) else [source / name]
    others = sorted(source.glob("*.safetensors")) or sorted(source.glob("*.ckpt"))
    if len(others) == 1:
        return others
    held = ", ".join(sorted(item.name for item in source.iterdir())[:10]) or "nothing"
    raise CheckpointError(str(source), [f"no weights; the folder holds {held}"], EXPECTED + ".")


def _shards(index: Path) -> List[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(str(index), [f"not a weight index: {error!r}"]) from error
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise CheckpointError(
            str(index), [f"{name}: the shard is missing" for name in missing], "Copy every file that the index names."
        )
    return [index.parent / name for name in names]


def _safetensors(file: Path) -> Dict[str, Tuple[Callable[[str], np.ndarray], Tuple[int, ...]]]:
    try:
        handle = safe_open(str(file), framework="numpy")
        slices = {name: handle.get_slice(name) for name in handle.keys()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            str(file), [f"not a whole safetensors file: {error}"], "It may have been cut off while it was copied."
        ) from error
    found = {}
    for name, part in slices.items():
        read = _bfloat16(file) if part.get_dtype() == "BF16" else handle.get_tensor
        found[name] = (read, tuple(part.get_shape()))
    return found


def _bfloat16(file: Path) -> Callable[[str], np.ndarray]:
    """Return a reader of bfloat16 tensors, which NumPy does not know: their 16 bits are the upper half of a float32."""

    def read(name: str) -> np.ndarray:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            entry = json.loads(stream.read(length))[name]
            begin, end = entry["data_offsets"]
            stream.seek(8 + length + begin)
            words = np.frombuffer(stream.read(end - begin), np.uint16)
        return (words.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])

    return read


def _bin(file: Path) -> Dict[str, Tuple[Callable[[str], np.ndarray], Tuple[int, ...]]]:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "torch", f"reading {file.name}") from error
    try:
        tensors: Dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(
            str(file),
            [f"cannot be read as weights alone: {first}"],
            "A file that holds code or other objects is refused; a damaged one must be copied again.",
        ) from error

    def read(name: str) -> np.ndarray:
        tensor = tensors[name]
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).contiguous().numpy()

    return {name: (read, tuple(tensor.shape)) for name, tensor in tensors.items() if isinstance(tensor, torch.Tensor)}


def _ckpt(file: Path) -> Dict[str, Tuple[Callable[[str], np.ndarray], Tuple[int, ...]]]:
    import mindspore as ms

    try:
        parameters = ms.load_checkpoint(str(file))
    except (ValueError, RuntimeError, TypeError, OSError) as error:
        raise CheckpointError(str(file), [f"not a whole MindSpore checkpoint: {str(error).splitlines()[0]}"]) from error

    def read(name: str) -> np.ndarray:
        value = parameters[name]
        return (value.astype(ms.float32) if value.dtype == ms.bfloat16 else value).asnumpy()

    return {name: (read, tuple(parameter.shape)) for name, parameter in parameters.items()}
