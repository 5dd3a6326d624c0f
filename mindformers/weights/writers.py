"""Write weights as safetensors, one tensor in memory at a time; files and folders appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Union

import numpy as np

from mindformers.errors import CheckpointError, OutputError, UsageError
from mindformers.weights.readers import INDEX, SINGLE
from mindformers.weights.split import LAYOUT, PIECE
from mindformers.weights.stored import KINDS, StoredTensor, of_array, pieces, recast, widened

SHARD_BYTES = 5 * 10**9
"""Largest file that weights are written into before they are cut into shards."""
UNFINISHED = ".unfinished"
"""Folder inside a model folder that is being written."""
WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?", re.IGNORECASE)


def save_safetensors(path: Path, arrays: Mapping[str, np.ndarray], metadata: Optional[Dict[str, str]] = None) -> None:
    """Write one file; an earlier one of that name is replaced whole or not at all. Raises OutputError."""
    save_file(path, {name: of_array(array) for name, array in arrays.items()}, None, metadata)


def save_folder(folder: Path, arrays: Mapping[str, np.ndarray], shard_bytes: int = SHARD_BYTES) -> List[Path]:
    """Write weights into `folder` as Hugging Face lays them out; return the files. Raises OutputError."""
    return save_tensors(folder, {name: of_array(array) for name, array in arrays.items()}, None, shard_bytes)


def save_tensors(
    folder: Path, tensors: Mapping[str, StoredTensor], dtype: Optional[str] = None, shard_bytes: int = SHARD_BYTES
) -> List[Path]:
    """Write tensors, each read when its turn comes, into one file or shards with an index; return the files.

    `dtype` is the type of floating tensors in the file (a key of `stored.DTYPES`; None: as they are). A tensor larger
    than `shard_bytes` is a shard of its own. Raises OutputError, and CheckpointError for a number that `dtype` cannot
    hold.
    """
    metadata = {"format": "pt"}
    sizes = {name: tensor.nbytes_as(dtype) for name, tensor in tensors.items()}
    shards: List[Dict[str, StoredTensor]] = [{}]
    used = 0
    for name, tensor in tensors.items():
        if shards[-1] and used + sizes[name] > shard_bytes:
            shards.append({})
            used = 0
        shards[-1][name] = tensor
        used += sizes[name]
    if len(shards) == 1:
        save_file(folder / SINGLE, shards[0], dtype, metadata)
        return [folder / SINGLE]
    names = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards):
        save_file(folder / name, shard, dtype, metadata)
    index = {
        "metadata": {"total_size": sum(sizes.values())},
        "weight_map": {key: name for name, shard in zip(names, shards) for key in shard},
    }
    save_json(folder / INDEX, index)
    return [folder / name for name in (*names, INDEX)]


def save_file(
    path: Path,
    tensors: Mapping[str, StoredTensor],
    dtype: Optional[str] = None,
    metadata: Optional[Dict[str, str]] = None,
) -> None:
    """Write one file, each tensor read when its turn comes; arguments and errors as for `save_tensors`."""
    # Wide elements first, so that every tensor starts at a multiple of its element's size, as readers that map need.
    names = sorted(tensors, key=lambda name: -KINDS[tensors[name].kind_as(dtype)].itemsize)
    with _whole(path) as temporary, temporary.open("wb", buffering=0) as stream:
        _write(stream, _header({name: tensors[name] for name in names}, dtype, metadata))
        for name in names:
            tensor = tensors[name]
            if tensor.kind == tensor.kind_as(dtype) and tensor.place and _sent(stream, name, tensor):
                continue
            array = tensor.read()
            if array.shape != tensor.shape:
                raise ValueError(f"{name}: read with shape {array.shape}, announced as {tensor.shape}")
            try:
                for piece in pieces(array):
                    _write(stream, recast(piece, tensor.kind, tensor.kind_as(dtype)).reshape(-1).view(np.uint8).data)
            except OverflowError as error:
                raise CheckpointError(name, [f"{error}, more than {dtype} holds"], "Choose another type.") from error
            del array  # else it would live on while the next one is read


def save_ckpt(path: Path, tensors: Mapping[str, StoredTensor]) -> None:
    """Write one MindSpore checkpoint; all tensors are in memory at once. Raises OutputError."""
    import mindspore as ms

    def tensor(stored: StoredTensor) -> ms.Tensor:
        array = stored.read()
        return ms.Tensor(widened(array)).astype(ms.bfloat16) if stored.kind == "BF16" else ms.Tensor(array)

    try:
        ms.save_checkpoint([{"name": name, "data": tensor(stored)} for name, stored in tensors.items()], str(path))
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputError(f"{path}: cannot be written: {str(error).splitlines()[0]}") from error


def save_json(path: Path, content: object) -> None:
    """Write one JSON file; an earlier one of that name is replaced whole or not at all. Raises OutputError."""
    with _whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextlib.contextmanager
def whole_folder(target: Path, overwrite: bool, last: str) -> Iterator[Path]:
    """Give a folder to fill; its files move into `target` at the end, the file named `last` after all others.

    With `overwrite`, weights that lie in `target` go, files of the same names are replaced and others stay; without,
    a folder that holds weights or `last` is refused. An error before the end leaves `target` as it was, one while
    files move leaves it without `last`. Raises OutputError.
    """
    try:
        is_new = not target.exists()
        names = [] if is_new else sorted(item.name for item in target.iterdir())
        held = [name for name in names if name in (last, LAYOUT) or WEIGHTS.fullmatch(name)]
        if held and not overwrite:
            more = f" and {len(held) - 3} more" if len(held) > 3 else ""
            raise OutputError(
                f"{target} holds {', '.join(held[:3])}{more}; choose another folder, or allow to overwrite"
            )
        temporary = target / UNFINISHED
        try:
            temporary.mkdir(parents=True)
        except FileExistsError:
            raise OutputError(
                f"{temporary} exists: another conversion is writing there, or one was killed; then delete it"
            ) from None
        try:
            yield temporary
            _move(temporary, target, last)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            if is_new:
                with contextlib.suppress(OSError):  # not empty: all went well
                    target.rmdir()
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error


def byte_count(text: str) -> int:
    """Return the bytes of a size like 5GB (10^9), 500MiB (2^20) or 1000000. Raises UsageError."""
    match = _SIZE.fullmatch(text.strip())
    prefix = (match.group(2) or "").lower() if match else ""
    base = 1024 if prefix.endswith("i") else 1000
    count = int(float(match.group(1)) * base ** " kmgt".index(prefix[:1] or " ")) if match else 0
    if count < 1:
        raise UsageError(f"'{text}' is not a size; write a number of bytes or e.g. 500MB, 5GB, 2GiB")
    return count


def _write(stream: io.FileIO, data: Union[bytes, memoryview]) -> None:
    rest = memoryview(data)
    while len(rest):
        rest = rest[stream.write(rest) :]


def _sent(stream: io.FileIO, name: str, tensor: StoredTensor) -> bool:
    """Let the kernel copy a tensor from file to file, which spares the way through this process's memory.

    Returns False, with nothing written, where system or file system cannot. Raises CheckpointError, OSError.
    """
    assert tensor.place is not None
    file, begin = tensor.place
    end = begin + tensor.nbytes_as(None)
    first = begin
    try:
        origin = file.open("rb")
    except OSError as error:
        raise CheckpointError(str(file), [f"{name}: cannot be read: {error.strerror or error}"]) from error
    with origin:
        while begin < end:
            try:
                sent = os.sendfile(stream.fileno(), origin.fileno(), begin, end - begin)
            except (AttributeError, OSError) as error:
                # macOS sends to sockets alone, Windows has no such call, some file systems cannot be sent from.
                unable = (errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK, errno.EOPNOTSUPP)
                if begin == first and getattr(error, "errno", errno.ENOSYS) in unable:
                    return False
                raise
            if not sent:
                raise CheckpointError(str(file), [f"{name}: the file has become shorter since it was opened"])
            begin += sent
    return True


def _header(tensors: Mapping[str, StoredTensor], dtype: Optional[str], metadata: Optional[Dict[str, str]]) -> bytes:
    header: Dict[str, object] = {"__metadata__": metadata} if metadata else {}
    begin = 0
    for name, tensor in tensors.items():
        end = begin + tensor.nbytes_as(dtype)
        header[name] = {
            "dtype": tensor.kind_as(dtype),
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the data begins at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; the file is flushed to the disk and renamed when all went well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _move(temporary: Path, target: Path, last: str) -> None:
    """Move all files; the one that makes the folder a model goes first and comes last, so no mixture passes for one."""
    (target / last).unlink(missing_ok=True)
    if (target / LAYOUT).exists():
        for piece in target.glob(f"{PIECE}*"):
            shutil.rmtree(piece)
        (target / LAYOUT).unlink()
    for item in list(target.iterdir()):
        if WEIGHTS.fullmatch(item.name):
            item.unlink()
    for item in sorted(temporary.iterdir(), key=lambda item: item.name == last):
        os.replace(item, target / item.name)
    if os.name == "posix":  # elsewhere a folder cannot be opened, and need not be
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
