"""Megatron's indexed datasets: tokens in `prefix.bin`, where each sequence and document lies in `prefix.idx`.

Two formats of the index exist, told apart by its first bytes: "mmap" (MMIDIDX) and the older "lazy" and "cached"
(TNTIDX, one format). The tokens lie back to back in both and are mapped into memory, never read as a whole.
"""

from __future__ import annotations

import os
import secrets
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from mindformers.data.pack import BlockSource, TokenStream
from mindformers.errors import DataError, OutputError, UsageError

MMAP, LAZY = b"MMIDIDX\x00\x00", b"TNTIDX\x00\x00"
VERSION = 1
CODES: Dict[int, np.dtype] = {
    code: np.dtype(name).newbyteorder("<")
    for code, name in {1: "u1", 2: "i1", 3: "i2", 4: "i4", 5: "i8", 8: "u2"}.items()
}
"""Code in the index -> type of the tokens. 6 and 7 are floats, whose order differs between programs: no tokens."""
ACCEPTED_CODES = ", ".join(f"{code} ({dtype.name})" for code, dtype in CODES.items())
IDX, BIN = ".idx", ".bin"


@dataclass(frozen=True)
class _Index:
    """What an .idx file says; offsets and sizes in tokens."""

    dtype: np.dtype
    sizes: np.ndarray
    """int64 [S]: tokens of every sequence."""
    offsets: np.ndarray
    """int64 [S]: first token of every sequence in the .bin file."""
    documents: np.ndarray
    """int64 [D]: first sequence of every document, and the end of the last."""


class IndexedTokens:
    """The sequences of an indexed dataset, one after the other as a stream of tokens; see `data.pack.TokenStream`.

    `prefix` is the path without .bin and .idx (either ending may be there). Raises DataError when the two files
    cannot be read or do not belong together.
    """

    def __init__(self, prefix: Union[str, Path]):
        self.prefix = prefix_of(prefix)
        index_file, self.file = _named(self.prefix, IDX), _named(self.prefix, BIN)
        for file in (index_file, self.file):
            if not file.is_file():
                raise DataError(f"{file}: no such file; an indexed dataset is a pair {self.prefix.name}{{.bin,.idx}}")
        self._index = read_index(index_file)
        self._tokens = self._mapped(index_file)
        self._ends = np.cumsum(self._index.sizes)
        starts = np.concatenate([[0], self._ends]).astype(np.int64)
        self.bounds = starts[self._index.documents]
        self._in_order = bool(np.array_equal(self._index.offsets, starts[:-1]))

    @property
    def dtype(self) -> np.dtype:
        """Type of the tokens in the file."""
        return self._index.dtype

    @property
    def num_sequences(self) -> int:
        """Sequences of the dataset; a document has one, or one for each of its sentences."""
        return len(self._index.sizes)

    def sequence(self, number: int) -> np.ndarray:
        """Return the tokens of a sequence, a read-only view of the file."""
        offset = int(self._index.offsets[number])
        return self._tokens[offset : offset + int(self._index.sizes[number])]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the tokens from place `start` up to `stop`, across sequences."""
        if self._in_order:
            return self._tokens[start:stop]
        parts: List[np.ndarray] = []
        number = int(np.searchsorted(self._ends, start, side="right"))
        while start < stop:
            begin = int(self._ends[number] - self._index.sizes[number])
            end = min(stop, int(self._ends[number]))
            parts.append(self.sequence(number)[start - begin : end - begin])
            start, number = max(start, end), number + 1
        return np.concatenate(parts) if parts else np.zeros(0, self.dtype)

    def _mapped(self, index_file: Path) -> np.ndarray:
        """Return the .bin file as an array. Raises DataError when it is not as long as the index says."""
        index, size = self._index, self.file.stat().st_size
        width = index.dtype.itemsize
        needed = int((index.offsets + index.sizes).max(initial=0)) * width
        if size < needed:
            raise DataError(
                f"{self.file}: has {size} bytes, but {index_file.name} places tokens up to byte {needed}; the file is "
                "cut off, or the two do not belong together"
            )
        if size != int(index.sizes.sum()) * width:
            raise DataError(
                f"{self.file}: has {size} bytes, but {index_file.name} counts {int(index.sizes.sum())} tokens of "
                f"{width} bytes; the two files do not belong together"
            )
        return np.memmap(self.file, index.dtype, mode="r") if size else np.zeros(0, index.dtype)


def prefix_of(path: Union[str, Path]) -> Path:
    """Return the path without .bin or .idx; in a folder that holds one pair, that pair's. Raises DataError."""
    place = Path(path).expanduser()
    if place.suffix in (IDX, BIN):
        return place.with_suffix("")
    if place.is_dir():
        found = sorted(place.glob(f"*{IDX}"))
        if len(found) != 1:
            names = ", ".join(file.name for file in found[:5]) or "none"
            raise DataError(
                f"{place}: a folder with one {IDX} file is needed, or the path of a pair without its ending; it holds "
                f"{names}"
            )
        return found[0].with_suffix("")
    return place


def read_index(file: Path) -> _Index:
    """Read an .idx file of either format. Raises DataError."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: not readable ({error})") from error
    reader = {MMAP: _read_mmap, LAZY: _read_lazy}
    for magic, read in reader.items():
        if content.startswith(magic):
            index = read(file, _Fields(file, content, len(magic)))
            _check(file, index)
            return index
    raise DataError(f"{file}: no index of an indexed dataset: it begins with {content[:9]!r}, not {MMAP!r} or {LAZY!r}")


class _Fields:
    """Reads the content of a file in order."""

    def __init__(self, file: Path, content: bytes, position: int):
        self.file, self.content, self.position = file, content, position

    def numbers(self, pattern: str) -> Tuple[int, ...]:
        """Return little-endian numbers, `struct` letters."""
        layout = struct.Struct(f"<{pattern}")
        return layout.unpack(self._take(layout.size))

    def array(self, kind: str, count: int) -> np.ndarray:
        """Return an array as int64."""
        dtype = np.dtype(kind).newbyteorder("<")
        return np.frombuffer(self._take(count * dtype.itemsize), dtype).astype(np.int64)

    def end(self) -> None:
        """Raise DataError when something is left."""
        if self.position != len(self.content):
            raise DataError(
                f"{self.file}: {len(self.content) - self.position} bytes follow the index; the file is damaged"
            )

    def _take(self, size: int) -> bytes:
        if size > len(self.content) - self.position:
            raise DataError(
                f"{self.file}: the index ends at byte {len(self.content)}, but {size} bytes more than the first "
                f"{self.position} are announced; the file is cut off"
            )
        self.position += size
        return self.content[self.position - size : self.position]


def _version(fields: _Fields) -> None:
    (version,) = fields.numbers("Q")
    if version != VERSION:
        raise DataError(f"{fields.file}: is of version {version}; version {VERSION} can be read")


def _dtype(file: Path, code: int) -> np.dtype:
    if code not in CODES:
        raise DataError(f"{file}: the tokens have the type code {code}; accepted are {ACCEPTED_CODES}")
    return CODES[code]


def _read_mmap(file: Path, fields: _Fields) -> _Index:
    _version(fields)
    (code,) = fields.numbers("B")
    dtype = _dtype(file, code)
    count, num_documents = fields.numbers("QQ")
    sizes = fields.array("i4", count)
    pointers = fields.array("i8", count)
    documents = fields.array("i8", num_documents)
    fields.end()
    if np.any(pointers % dtype.itemsize):
        raise DataError(f"{file}: a sequence begins within a token of {dtype.itemsize} bytes; the file is damaged")
    return _Index(dtype, sizes, pointers // dtype.itemsize, documents)


def _read_lazy(file: Path, fields: _Fields) -> _Index:
    _version(fields)
    code, width = fields.numbers("QQ")
    dtype = _dtype(file, code)
    count, num_sizes = fields.numbers("QQ")
    (num_documents,) = fields.numbers("Q")
    dim_offsets, data_offsets = fields.array("i8", count + 1), fields.array("i8", count + 1)
    sizes, documents = fields.array("i8", num_sizes), fields.array("i8", num_documents)
    fields.end()
    if width != dtype.itemsize or num_sizes != count or np.any(dim_offsets != np.arange(count + 1)):
        raise DataError(f"{file}: sequences must have one dimension and tokens of {dtype.itemsize} bytes")
    if not np.array_equal(np.diff(data_offsets), sizes):
        raise DataError(f"{file}: sizes and offsets of the sequences contradict each other; the file is damaged")
    return _Index(dtype, sizes, data_offsets[:-1], documents)


def _check(file: Path, index: _Index) -> None:
    """Raise DataError for numbers that cannot be."""
    documents = index.documents
    ordered = (
        len(documents) and documents[0] == 0 and documents[-1] == len(index.sizes) and np.all(np.diff(documents) >= 0)
    )
    if not ordered or np.any(index.sizes < 0) or np.any(index.offsets < 0):
        raise DataError(
            f"{file}: documents must count the {len(index.sizes)} sequences from 0 up, and sizes and offsets must not "
            "be negative; the file is damaged"
        )


class IndexedWriter:
    """Writes an indexed dataset: `add` sequences, `end_document` after each document, `close` at the end.

    As a context manager it closes itself; after an exception nothing is left. Both files appear at `close`.

    Args:
        prefix: path without ending.
        dtype: type of the tokens, one of CODES; int32 also holds the ignored label -100.
        kind: "mmap", or "lazy" for the older index that "lazy" and "cached" readers share.
        overwrite: whether a pair of that name is replaced.
    """

    def __init__(self, prefix: Union[str, Path], dtype: str = "int32", kind: str = "mmap", overwrite: bool = False):
        names = {item.name: code for code, item in CODES.items()}
        if dtype not in names or kind not in ("mmap", "lazy"):
            raise UsageError(f"dtype={dtype!r}, kind={kind!r}: accepted are {', '.join(names)}, and mmap or lazy")
        self.prefix, self._code, self._kind = Path(prefix), names[dtype], kind
        self._dtype = CODES[self._code]
        self._sizes: List[int] = []
        self._documents: List[int] = [0]
        taken = [file for file in (_named(self.prefix, IDX), _named(self.prefix, BIN)) if file.exists()]
        if taken and not overwrite:
            raise OutputError(f"{taken[0]} exists already; choose another name, or ask for overwriting")
        self._temporary = self.prefix.with_name(f".{self.prefix.name}.{os.getpid()}-{secrets.token_hex(4)}")
        try:
            self.prefix.parent.mkdir(parents=True, exist_ok=True)
            self._stream = _named(self._temporary, BIN).open("xb")
        except OSError as error:
            raise OutputError(f"{self.prefix}: cannot be written ({error}); choose another place") from error

    def add(self, tokens: Sequence[int]) -> None:
        """Append a sequence. Raises DataError for a token that the type does not hold."""
        array = np.asarray(tokens)
        limits = np.iinfo(self._dtype)
        if array.size and (array.min() < limits.min or array.max() > limits.max):
            raise DataError(
                f"sequence {len(self._sizes)}: tokens from {array.min()} to {array.max()} do not fit into "
                f"{self._dtype.name}; write another dtype"
            )
        self._stream.write(array.astype(self._dtype).tobytes())
        self._sizes.append(array.size)

    def end_document(self) -> None:
        """Close the document that the sequences since the last call form."""
        self._documents.append(len(self._sizes))

    def close(self) -> None:
        """Write the index and let both files appear under their names."""
        if self._documents[-1] != len(self._sizes):
            self.end_document()
        self._stream.close()
        try:
            _named(self._temporary, IDX).write_bytes(self._index())
            for ending in (BIN, IDX):
                os.replace(_named(self._temporary, ending), _named(self.prefix, ending))
        except OSError as error:
            self.discard()
            raise OutputError(f"{self.prefix}: cannot be written ({error}); choose another place") from error

    def discard(self) -> None:
        """Give up: remove what was written."""
        self._stream.close()
        for ending in (BIN, IDX):
            _named(self._temporary, ending).unlink(missing_ok=True)

    def _index(self) -> bytes:
        """Return the content of the .idx file."""
        starts = np.concatenate([[0], np.cumsum(self._sizes)]).astype("<i8")
        documents, count = np.asarray(self._documents, "<i8"), len(self._sizes)
        if self._kind == "mmap":
            head = MMAP + struct.pack("<QBQQ", VERSION, self._code, count, len(documents))
            arrays = (np.asarray(self._sizes, "<i4"), starts[:-1] * self._dtype.itemsize, documents)
        else:
            head = LAZY + struct.pack(
                "<QQQQQQ", VERSION, self._code, self._dtype.itemsize, count, count, len(documents)
            )
            arrays = (np.arange(count + 1, dtype="<i8"), starts, np.asarray(self._sizes, "<i8"), documents)
        return head + b"".join(array.tobytes() for array in arrays)

    def __enter__(self) -> IndexedWriter:
        return self

    def __exit__(self, kind: Optional[type], error: Optional[BaseException], trace: object) -> None:
        self.discard() if kind is not None else self.close()


def _named(prefix: Path, ending: str) -> Path:
    return prefix.with_name(prefix.name + ending)


@dataclass(frozen=True)
class IndexedDataLoader(BlockSource):
    """Blocks of an indexed dataset; `dataset_dir` is its prefix. Documents stay as they were written."""

    def stream(self, tokenizer: object) -> TokenStream:
        """Return the tokens; no tokenizer is needed. Raises DataError."""
        del tokenizer
        return IndexedTokens(self.dataset_dir)
