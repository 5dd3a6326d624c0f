"""One tensor as a file stores it: the type of its elements by safetensors' names, and the way from one to another.

NumPy has no bfloat16, so such a tensor is held as its 16-bit words: the upper half of a float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Callable, Dict, Iterator, Optional, Tuple

import numpy as np

KINDS: Dict[str, np.dtype] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("bool"),
}
"""safetensors' name of a type -> how NumPy holds an element."""
DTYPES: Dict[str, str] = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""What configurations and flags call the types that weights may have -> safetensors' name."""
KIND_OF_NUMPY: Dict[str, str] = {kind.name: name for name, kind in KINDS.items() if name != "BF16"}
CHUNK_BYTES = 4 * 2**20
"""How much of a tensor is turned into another type or order at once."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that can be read, and what is known before."""

    kind: str
    """One of KINDS; a file may hold others, whose `read` then raises CheckpointError."""
    shape: Tuple[int, ...]
    read: Callable[[], np.ndarray]
    """Returns the array of this shape with elements as KINDS says."""
    place: Optional[Tuple[Path, int]] = None
    """File and byte where the elements lie as safetensors has them: in order, little endian."""

    def kind_as(self, dtype: Optional[str]) -> str:
        """Return the kind once floating types are written as `dtype` (a key of DTYPES; None: as they are)."""
        return DTYPES[dtype] if dtype and self.kind in DTYPES.values() else self.kind

    def nbytes_as(self, dtype: Optional[str]) -> int:
        """Return the size of all elements in bytes once they are written as `dtype`."""
        return prod(self.shape) * KINDS[self.kind_as(dtype)].itemsize


def of_array(array: np.ndarray) -> StoredTensor:
    """Return an array in memory as a stored tensor. Raises TypeError for a type that safetensors does not have."""
    array = np.asarray(array)
    if array.dtype.name not in KIND_OF_NUMPY:
        raise TypeError(f"safetensors has no type for {array.dtype}")
    return StoredTensor(KIND_OF_NUMPY[array.dtype.name], array.shape, lambda: array)


def pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield `array` from its first element to its last in parts of about CHUNK_BYTES, each contiguous in memory."""
    if array.flags.c_contiguous:
        array = array.reshape(-1)
    rows = max(1, CHUNK_BYTES * len(array) // max(1, array.nbytes))
    for first in range(0, len(array), rows):
        yield np.ascontiguousarray(array[first : first + rows])


def recast(array: np.ndarray, held: str, wanted: str) -> np.ndarray:
    """Return elements of floating kind `held` as kind `wanted`, rounded to nearest, ties to even.

    (float64 reaches bfloat16 by way of float32.) Raises OverflowError for a finite number that would become infinite.
    """
    if held == wanted:
        return array.astype(KINDS[wanted], copy=False)  # the order of bytes may still differ
    numbers = widened(array) if held == "BF16" else array
    try:
        with np.errstate(over="raise"):
            return _narrowed(numbers.astype("<f4")) if wanted == "BF16" else numbers.astype(KINDS[wanted])
    except FloatingPointError as error:
        largest = np.abs(numbers[np.isfinite(numbers)]).max()
        raise OverflowError(f"a number is {largest:.6g}") from error


def widened(words: np.ndarray) -> np.ndarray:
    """Return the float32 numbers of bfloat16 words; exact."""
    return (words.astype(np.uint32) << 16).view(np.float32)


def halved(numbers: np.ndarray) -> np.ndarray:
    """Return the bfloat16 words of float32 numbers that came from bfloat16; exact."""
    return (np.ascontiguousarray(numbers).view(np.uint32) >> 16).astype("<u2").reshape(numbers.shape)


def _narrowed(numbers: np.ndarray) -> np.ndarray:
    bits = numbers.view(np.uint32)
    magnitude = bits & 0x7FFFFFFF
    # Half of the last kept unit, less one when the kept part is even, carries exactly those that round up.
    words = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype("<u2")
    is_nan = magnitude > 0x7F800000
    words[is_nan] = (bits[is_nan] >> 16) | 0x0040  # the carry could turn a NaN into a number
    if np.any(((words & 0x7FFF) == 0x7F80) & (magnitude < 0x7F800000)):
        raise FloatingPointError("overflow")
    return words
