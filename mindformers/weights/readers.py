"""Read weights from disk by name, one tensor at a time: safetensors (sharded or not), .bin, MindSpore .ckpt."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Tuple

import numpy as np
from safetensors import SafetensorError, safe_open

from mindformers.errors import CheckpointError, MissingExtraError
from mindformers.weights.split import find_split, joined
from mindformers.weights.stored import KIND_OF_NUMPY, KINDS, StoredTensor, halved, widened

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
BIN = "pytorch_model.bin"
BIN_INDEX = "pytorch_model.bin.index.json"
EXPECTED = f"expected {SINGLE}, {INDEX}, {BIN} or {BIN_INDEX} in the folder, or a .safetensors, .bin or .ckpt file"


class WeightFiles(Mapping[str, np.ndarray]):
    """Names to arrays of one or more files; an array is read when it is asked for. bfloat16 comes as float32."""

    def __init__(self, source: Path, tensors: Mapping[str, StoredTensor]):
        self.source = source
        self._tensors = dict(tensors)

    def __getitem__(self, name: str) -> np.ndarray:
        tensor = self._tensors[name]
        return widened(tensor.read()) if tensor.kind == "BF16" else tensor.read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def shape(self, name: str) -> Tuple[int, ...]:
        """Return a shape without reading the array."""
        return self._tensors[name].shape

    def stored(self, name: str) -> StoredTensor:
        """Return the tensor as the file has it, bfloat16 as its 16-bit words."""
        return self._tensors[name]


def read_weights(source: Path) -> WeightFiles:
    """Open the weights at `source`, a folder or a file; those in pieces (`weights.split`) come as the whole.

    Raises CheckpointError naming the file that is missing, damaged or of no known kind; MissingExtraError for a .bin
    file without PyTorch.
    """
    source = Path(source)
    split = find_split(source)
    if split is not None:
        return WeightFiles(source, joined(*split, _opened))
    tensors: Dict[str, StoredTensor] = {}
    for file in _files(source):
        found = _opened(file)
        twice = sorted(set(found) & set(tensors))
        if twice:
            raise CheckpointError(str(file), [f"{name}: in another shard too" for name in twice])
        tensors.update(found)
    if not tensors:
        raise CheckpointError(str(source), ["holds no tensor"], EXPECTED + ".")
    return WeightFiles(source, tensors)


def _opened(file: Path) -> Dict[str, StoredTensor]:
    kinds = {".safetensors": _safetensors, ".bin": _bin, ".pt": _bin, ".ckpt": _ckpt}
    if file.suffix not in kinds:
        raise CheckpointError(str(file), [f"not a weight file by its ending '{file.suffix}'"], EXPECTED + ".")
    return kinds[file.suffix](file)


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


def _safetensors(file: Path) -> Dict[str, StoredTensor]:
    try:
        # The library checks the file as a whole: header, sizes, no overlap, no hole. It would also map it, and what
        # is read through a map stays in the process's memory, so tensors are read by their place instead.
        with safe_open(str(file), framework="numpy"):
            pass
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            str(file), [f"not a whole safetensors file: {error}"], "It may have been cut off while it was copied."
        ) from error
    header.pop("__metadata__", None)
    return {
        name: StoredTensor(
            entry["dtype"],
            tuple(entry["shape"]),
            _reader(file, name, entry, 8 + length),
            (file, 8 + length + entry["data_offsets"][0]),
        )
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    }


def _reader(file: Path, name: str, entry: Mapping[str, Any], data: int) -> Callable[[], np.ndarray]:
    """Return what reads the tensor of a header's entry; `data` is where the tensors begin, in bytes."""

    def read() -> np.ndarray:
        _require_known(file, name, entry["dtype"])
        array = np.empty(entry["shape"], KINDS[entry["dtype"]])
        try:
            with file.open("rb") as stream:
                stream.seek(data + entry["data_offsets"][0])
                done = stream.readinto(array.reshape(-1).view(np.uint8).data)
        except OSError as error:
            raise CheckpointError(str(file), [f"{name}: cannot be read: {error.strerror or error}"]) from error
        if done != array.nbytes:
            raise CheckpointError(str(file), [f"{name}: the file has become shorter since it was opened"])
        return array

    return read


def _require_known(file: Path, name: str, kind: str) -> None:
    if kind not in KINDS:
        raise CheckpointError(str(file), [f"{name}: stored as {kind}"], f"Readable types: {', '.join(KINDS)}.")


def _bin(file: Path) -> Dict[str, StoredTensor]:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "torch", f"reading {file.name}") from error
    try:
        # Only files in torch's newer format, which are archives, can be mapped; an older one is loaded as a whole.
        # Pages of a map that were read count as the process's memory until the system wants them back.
        tensors: Dict[str, Any] = torch.load(
            file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file) or None
        )
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(
            str(file),
            [f"cannot be read as weights alone: {first}"],
            "A file that holds code or other objects is refused; a damaged one must be copied again.",
        ) from error

    def stored(name: str, tensor: Any) -> StoredTensor:
        kind = _kind(str(tensor.dtype).rsplit(".", 1)[-1])

        def read() -> np.ndarray:
            _require_known(file, name, kind)
            plain = tensor.detach().contiguous()
            return plain.view(torch.int16).numpy().view("<u2") if kind == "BF16" else plain.numpy()

        return StoredTensor(kind, tuple(tensor.shape), read)

    return {name: stored(name, tensor) for name, tensor in tensors.items() if isinstance(tensor, torch.Tensor)}


def _ckpt(file: Path) -> Dict[str, StoredTensor]:
    import mindspore as ms

    try:
        parameters = ms.load_checkpoint(str(file))
    except (ValueError, RuntimeError, TypeError, OSError) as error:
        raise CheckpointError(str(file), [f"not a whole MindSpore checkpoint: {str(error).splitlines()[0]}"]) from error

    def stored(name: str, value: Any) -> StoredTensor:
        kind = _kind(str(value.dtype).lower())

        def read() -> np.ndarray:
            _require_known(file, name, kind)
            return halved(value.astype(ms.float32).asnumpy()) if kind == "BF16" else value.asnumpy()

        return StoredTensor(kind, tuple(value.shape), read)

    return {name: stored(name, parameter) for name, parameter in parameters.items()}


def _kind(dtype: str) -> str:
    """Return safetensors' name of a type that PyTorch or MindSpore calls `dtype`; the same word when it has none."""
    return "BF16" if dtype == "bfloat16" else KIND_OF_NUMPY.get(dtype, dtype)
