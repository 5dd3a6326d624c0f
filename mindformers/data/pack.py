"""Documents to blocks of equal length: tokens one after the other, cut without regard to where documents end.

A block of length T holds T predictions: T tokens that the model sees, and one more, the label of the last. The next
block begins with that one, so that every token but the very first is predicted once (Radford et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, Optional, Protocol, Sequence, Tuple, Union

import numpy as np

from mindformers.data.loader import FeatureSet
from mindformers.errors import DataError, UsageError, counted
from mindformers.log import logger

IGNORED = -100
"""Label of a position that the loss leaves out, as in `models.heads`."""
CHECKED_AT_ONCE = 1 << 24
"""Tokens that are read together when all of them are checked."""


class TokenStream(Protocol):
    """Tokens of documents, one after the other."""

    bounds: np.ndarray
    """int64 [documents + 1]: first token of every document, and the end of the last."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the tokens from place `start` up to `stop`, integers."""


@dataclass(frozen=True)
class Tokens:
    """A stream in memory."""

    ids: np.ndarray
    bounds: np.ndarray

    @classmethod
    def of(cls, documents: Iterable[Sequence[int]]) -> Tokens:
        """Return the stream of documents that are token ids each."""
        arrays = [np.asarray(item, np.int32) for item in documents]
        lengths = [len(item) for item in arrays]
        ids = np.concatenate(arrays) if arrays else np.zeros(0, np.int32)
        return cls(ids, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the tokens from place `start` up to `stop`."""
        return self.ids[start:stop]


@dataclass(frozen=True)
class BlockSource:
    """Options of every dataset that is cut into blocks; its `stream(tokenizer)` returns the tokens."""

    dataset_dir: Union[str, Path] = ""
    """File, folder or prefix with the documents."""
    stage: str = "train"
    num_samples: Optional[int] = None
    """Blocks that are used, the first ones; all when absent."""
    seq_length: Optional[int] = None
    """Predictions of a block; the model's `seq_length` when absent."""
    part: Tuple[float, float] = (0.0, 1.0)
    """Share of the tokens that is used, from and to."""
    random_blocks: Optional[int] = None
    """Blocks at places drawn from the seed, so many of them, instead of one after the other."""
    remainder: Optional[str] = None
    """What becomes of tokens behind the last whole block: "drop" or "pad"; absent: drop in training, else pad."""
    reset_at_documents: bool = False
    """Whether a document sees nothing of those before it in its block, and its positions start at 0."""

    def __post_init__(self):
        object.__setattr__(self, "part", tuple(self.part))
        first, last = self.part if len(self.part) == 2 else (1, 0)
        if not 0 <= first < last <= 1:
            raise UsageError(f"part={list(self.part)}: give two shares, from and to, with 0 <= from < to <= 1")
        for name in ("num_samples", "seq_length", "random_blocks"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name}={value}: it must be at least 1, or absent")
        if self.random_blocks and (self.remainder or self.num_samples):
            raise UsageError("random_blocks says how many blocks there are; leave out remainder and num_samples")


@dataclass(frozen=True)
class Blocks:
    """Where the blocks of a stream begin, and what lies in them."""

    stream: TokenStream
    starts: np.ndarray
    """int64 [n]: place of the first token of every block."""
    length: int
    """Predictions T of a block."""
    stop: int
    """Place behind the last token that may be read; what a block lacks is padding."""
    padding_id: int = 0
    reset: bool = False

    def tokens(self, rows: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Return int32 [rows, T + 1] tokens and bool [rows, T + 1], where they are padding."""
        ids = np.full((len(rows), self.length + 1), self.padding_id, np.int32)
        padding = np.ones(ids.shape, bool)
        for row, start in enumerate(self.starts[rows]):
            part = self.stream.read(int(start), min(int(start) + self.length + 1, self.stop))
            ids[row, : len(part)] = part
            padding[row, : len(part)] = False
        return ids, padding

    def documents(self, rows: np.ndarray) -> np.ndarray:
        """Return which document of its block each token belongs to, int32 [rows, T + 1], from 0."""
        places = self.starts[rows][:, None] + np.arange(self.length + 1)
        numbers = np.searchsorted(self.stream.bounds, places, side="right")
        return (numbers - numbers[:, :1]).astype(np.int32)

    def input_ids(self, rows: np.ndarray) -> np.ndarray:
        """Return what the model sees, int32 [rows, T]."""
        return self.tokens(rows)[0][:, :-1]

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Return tokens and the one that follows, int32 [rows, T + 1]; IGNORED where nothing is to be learned.

        With `reset` the first token of a document is no label: nothing that belongs to it stands before it.
        """
        ids, padding = self.tokens(rows)
        ids[padding] = IGNORED
        if self.reset:
            ids[:, 1:][np.diff(self.documents(rows), axis=1) > 0] = IGNORED
        return ids

    def document_ids(self, rows: np.ndarray) -> np.ndarray:
        """Return the document of each token that the model sees, int32 [rows, T]."""
        return self.documents(rows)[:, :-1]


class BlockColumn:
    """One column of all blocks, made when rows of it are asked for; for `FeatureSet`."""

    def __init__(self, blocks: Blocks, name: str):
        self._blocks, self._name = blocks, name

    def __len__(self) -> int:
        return len(self._blocks.starts)

    def __getitem__(self, rows: Any) -> np.ndarray:
        made = getattr(self._blocks, self._name)(np.atleast_1d(np.arange(len(self))[rows]))
        return made[0] if np.ndim(rows) == 0 and not isinstance(rows, slice) else made


def pack(
    stream: TokenStream, source: BlockSource, length: int, training: bool, seed: int = 0, name: str = "the dataset"
) -> FeatureSet:
    """Return the blocks of a stream: input_ids [n, length], labels [n, length + 1], document_ids when reset.

    A label counts against the prediction one place before it. Raises DataError when there is not one block.
    """
    first, stop = (int(share * int(stream.bounds[-1])) for share in source.part)
    predictions = stop - first - 1
    whole = max(predictions, 0) // length
    rest = predictions - whole * length
    pads = source.remainder == "pad" or (source.remainder is None and not training)
    if predictions < 1 or (whole < 1 and not pads):
        raise DataError(
            f"{name}: has {counted(max(stop - first, 0), 'token')}, but one block needs {length + 1} of them; lower "
            "seq_length, give more text, or set remainder to pad"
        )
    if source.random_blocks:
        if whole < 1:
            raise DataError(f"{name}: has {stop - first} tokens; a block at a random place needs {length + 1}")
        generator = np.random.Generator(np.random.PCG64([seed]))
        starts = first + generator.integers(0, predictions - length + 1, source.random_blocks)
        logger.info("%s: %d tokens, %d blocks of %d at random places", name, stop - first, len(starts), length)
    else:
        starts = first + length * np.arange(whole + (1 if pads and rest else 0), dtype=np.int64)
        fate = "" if not rest else "; the last block is padded" if pads else f"; the last {rest} tokens are left out"
        logger.info(
            "%s: %d documents, %d tokens, %d blocks of %d%s",
            name, len(stream.bounds) - 1, stop - first, len(starts), length, fate,
        )  # fmt: skip
        starts = starts[: source.num_samples]
    blocks = Blocks(stream, starts, length, stop, reset=source.reset_at_documents)
    names = ["input_ids", "labels"] + (["document_ids"] if source.reset_at_documents else [])
    columns: Dict[str, Any] = {item: BlockColumn(blocks, item) for item in names}
    return FeatureSet(columns, fillers={"labels": IGNORED})


def check_tokens(stream: TokenStream, vocab_size: int, name: str) -> None:
    """Raise DataError that names the first token outside of a vocabulary and its document."""
    for start in range(0, int(stream.bounds[-1]), CHECKED_AT_ONCE):
        ids = stream.read(start, min(start + CHECKED_AT_ONCE, int(stream.bounds[-1])))
        if ids.min() < 0 or ids.max() >= vocab_size:
            place = int(np.flatnonzero((ids < 0) | (ids >= vocab_size))[0])
            document = int(np.searchsorted(stream.bounds, start + place, side="right")) - 1
            raise DataError(
                f"{name}: token {int(ids[place])} at place {start + place - int(stream.bounds[document])} of document "
                f"{document} is outside of the model's vocabulary of {vocab_size}; give the model that the tokens were "
                "made for, or its vocab_size"
            )
