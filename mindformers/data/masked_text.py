"""Text to rows of tokens in which some will be masked: what a row holds, before any mask.

Rows are full of tokens, one document behind the other with a separator between them (FULL-SENTENCES of Liu et al. 2019,
arXiv:1907.11692, section 4.2), or hold one document, or two segments of one (`data.sentence_pairs`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np

from mindformers.data.cache import cache_key, default_cache, file_digest, load_or_build
from mindformers.data.text_documents import TextDataLoader
from mindformers.errors import DataError, UsageError, counted
from mindformers.log import logger

FORMAT_VERSION = 1
"""Raise it when the tokens of the same text change: caches of older versions are then not found."""
KINDS = ("full", "documents", "pairs")
TEXTS_AT_ONCE = 256
"""Sentences that are tokenised together."""
Columns = Dict[str, np.ndarray]


@dataclass(frozen=True)
class MaskedTextDataLoader(TextDataLoader):
    """Text for masked language modelling: how it becomes rows, and how many tokens of a row are masked.

    `seq_length` counts special tokens. With `rows` "pairs" each line is a sentence. Absent `rows` are "pairs" where the
    model has a sentence head, else "full". Raises UsageError for values that are not accepted.
    """

    documents: str = "blank_line"
    rows: Optional[str] = None
    mask_probability: float = 0.15
    whole_words: bool = False
    max_predictions_per_seq: Optional[int] = None

    def __post_init__(self):
        super().__post_init__()
        if self.rows not in (None, *KINDS):
            raise UsageError(f"rows='{self.rows}': accepted are {', '.join(KINDS)}")
        if not 0 < self.mask_probability < 1:
            raise UsageError(f"mask_probability={self.mask_probability}: it must lie between 0 and 1")
        if self.max_predictions_per_seq is not None and self.max_predictions_per_seq < 1:
            raise UsageError(f"max_predictions_per_seq={self.max_predictions_per_seq}: it must be at least 1")
        if self.random_blocks or self.reset_at_documents:
            raise UsageError("random_blocks and reset_at_documents are for causal models; leave them out")

    def sentences(self, tokenizer: Any, by_line: bool) -> Sentences:
        """Return the tokens of all documents, from the cache when they are there; `by_line`: each line a sentence."""
        key = cache_key(
            version=FORMAT_VERSION,
            tokenizer=tokenizer.digest(),
            files=[[file.suffixes[-2:], file_digest(file)] for file in self.files()],
            documents=self.documents,
            text_key=self.text_key,
            by_line=by_line,
        )
        folder = Path(self.cache_dir) if self.cache_dir else default_cache()
        arrays = load_or_build(folder, "masked-text", key, lambda: vars(sentences_of(self.texts(), tokenizer, by_line)))
        return Sentences(**arrays)


@dataclass(frozen=True)
class Sentences:
    """Tokens of documents and their sentences, without special tokens."""

    ids: np.ndarray
    """int32 [tokens]."""
    bounds: np.ndarray
    """int64 [sentences + 1]: first token of every sentence, and the end of the last."""
    documents: np.ndarray
    """int64 [documents + 1]: first sentence of every document, and the end of the last."""

    def document(self, number: int) -> List[np.ndarray]:
        """Return the tokens of each sentence of a document."""
        first, last = self.documents[number : number + 2]
        return [self.ids[a:b] for a, b in zip(self.bounds[first:last], self.bounds[first + 1 : last + 1])]

    def part(self, first: float, last: float) -> Sentences:
        """Return the documents that begin within a share of the tokens."""
        starts = self.bounds[self.documents[:-1]] / max(int(self.bounds[-1]), 1)
        a, b = np.searchsorted(starts, (first, last)) if last < 1 else (np.searchsorted(starts, first), len(starts))
        return replace(self, documents=self.documents[a : b + 1])


def sentences_of(texts: Iterable[str], tokenizer: Any, by_line: bool) -> Sentences:
    """Return the tokens of texts, one document each; with `by_line` every line that is not blank is a sentence."""
    tokens: List[np.ndarray] = []
    waiting: List[str] = []
    documents = [0]
    for text in texts:
        lines = [line for line in text.splitlines() if line.strip()] if by_line else [text]
        waiting += lines
        documents.append(documents[-1] + len(lines))
        if len(waiting) >= TEXTS_AT_ONCE:
            tokens += [item.ids for item in tokenizer.encode_batch(waiting)]
            waiting = []
    tokens += [item.ids for item in tokenizer.encode_batch(waiting)]
    bounds = np.concatenate([[0], np.cumsum([len(item) for item in tokens])]).astype(np.int64)
    ids = np.concatenate(tokens).astype(np.int32) if tokens else np.zeros(0, np.int32)
    return Sentences(ids, bounds, np.array(documents, np.int64))


def full_rows(sentences: Sentences, source: MaskedTextDataLoader, tokenizer: Any, length: int, pads: bool) -> Columns:
    """Return rows of `length` tokens that follow each other, a separator between documents.

    `pads` keeps the tokens behind the last full row. Raises DataError when there is not one row.
    """
    ends = sentences.bounds[sentences.documents[1:-1]]
    separator = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
    stream = sentences.ids if separator is None else np.insert(sentences.ids, ends, separator)
    first, stop = (int(share * len(stream)) for share in source.part)
    stream = stream[first:stop]
    before, after = _around(tokenizer)
    room = length - len(before) - len(after)
    whole, rest = divmod(len(stream), room)
    if not whole and not (pads and rest):
        raise DataError(
            f"{source.dataset_dir or 'the dataset'}: has {counted(len(stream), 'token')}, but one row needs {room} of "
            "them; lower seq_length, give more text, or set remainder to pad"
        )
    pieces = stream[: whole * room].reshape(whole, room)
    sides = [np.broadcast_to(np.array(side, np.int32), (whole, len(side))) for side in (before, after)]
    ids = np.concatenate([sides[0], pieces, sides[1]], axis=1)
    columns = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    if pads and rest:
        last = stacked([([*before, *stream[whole * room :], *after], None)], tokenizer, length)
        columns = {name: np.concatenate([columns[name], last[name]]) for name in columns}
    fate = "" if not rest else "; the last one is padded" if pads else f"; the last {rest} tokens are left out"
    logger.info(
        "%s: %d documents, %d tokens, %d rows of %d%s",
        source.dataset_dir or "the dataset", len(sentences.documents) - 1, len(stream), len(columns["input_ids"]),
        length, fate,
    )  # fmt: skip
    return columns


def document_rows(sentences: Sentences, source: MaskedTextDataLoader, tokenizer: Any, length: int) -> Columns:
    """Return one padded row a document; tokens behind the row's end are left out."""
    chosen = sentences.part(*source.part)
    before, after = _around(tokenizer)
    room = length - len(before) - len(after)
    texts = [np.concatenate(chosen.document(number)) for number in range(len(chosen.documents) - 1)]
    if not texts:
        raise DataError(f"{source.dataset_dir or 'the dataset'}: has no document")
    lost = sum(max(len(text) - room, 0) for text in texts)
    logger.info(
        "%s: %d documents, a row of %d each%s",
        source.dataset_dir or "the dataset", len(texts), length, f"; {lost} tokens behind their ends are left out"
        if lost else "",
    )  # fmt: skip
    return stacked([([*before, *text[:room], *after], None) for text in texts], tokenizer, length)


def stacked(rows: Sequence[Tuple[List[int], Optional[List[int]]]], tokenizer: Any, length: int) -> Columns:
    """Return ids and, unless None, type ids, padded to `length`, as int32 [rows, length] columns."""
    ids = np.full((len(rows), length), tokenizer.pad_token_id, np.int32)
    columns = {"input_ids": ids, "attention_mask": np.zeros_like(ids)}
    if rows[0][1] is not None:
        columns["token_type_ids"] = np.zeros_like(ids)
    for number, (tokens, types) in enumerate(rows):
        ids[number, : len(tokens)] = tokens
        columns["attention_mask"][number, : len(tokens)] = 1
        if types is not None:
            columns["token_type_ids"][number, : len(types)] = types
    return columns


def _around(tokenizer: Any) -> Tuple[List[int], List[int]]:
    """Return the special tokens before and behind one text."""
    ids, _ = tokenizer.layout.arrange([-1], None)
    place = ids.index(-1)
    return ids[:place], ids[place + 1 :]
