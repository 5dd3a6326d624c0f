"""Texts with entities to rows of labelled tokens of one length: special tokens, text, padding.

Everything goes by the character offsets of the tokens; a text is never cut into words again. A *slot* is a token that
carries a label, with the characters it speaks for: every token and its own characters, or the first token of a word
and the whole word.

Shapes: n texts, S tokens of a row.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, fields
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from mindformers.data.entities import Record
from mindformers.data.tags import LabelSet, Span
from mindformers.errors import DataError, UsageError
from mindformers.log import logger
from mindformers.models.heads import IGNORED
from mindformers.tokenizers.layout import FIRST

FORMAT_VERSION = 1
"""Raise it when the meaning of a stored array changes: caches of older versions are then not found."""
LABELLED_PIECES = ("first", "all")
ALONE = (("\u2e80", "\u9fff"), ("\uf900", "\ufaff"), ("\U00020000", "\U0003ffff"))
"""Characters that are words by themselves: Chinese, and kana, which are written without spaces."""
LOSSES = {
    "cut": "are cut by max_seq_len; what remains of them is labelled",
    "lost": "have no token in the row: they lie behind max_seq_len, or the vocabulary drops their characters",
    "overlapping": "overlap with another one; a token has one label, so the one that begins first is labelled",
    "inexact": "begin or end within a token, so the labelled tokens are longer than they are",
}
"""What can happen to an entity on its way to labels, counted over a dataset."""


@dataclass(frozen=True)
class TokenSettings:
    """How rows are made."""

    max_seq_len: int = 128
    """Width S of a row in tokens, special tokens included; longer texts are cut."""
    label_pieces: str = "all"
    """Which pieces of a word carry a label: the `first`, or `all`, where later ones get the tag that continues it."""

    def __post_init__(self):
        if self.label_pieces not in LABELLED_PIECES:
            raise UsageError(f"label_pieces={self.label_pieces!r}: accepted are {' and '.join(LABELLED_PIECES)}")


class Slots(NamedTuple):
    """The slots of a text."""

    tokens: List[int]
    """Number of the token, counted from the first one of the text."""
    spans: List[Tuple[int, int]]
    """First character and the one past the last."""


@dataclass(frozen=True)
class TokenFeatures:
    """Rows ready for a model, int32, and what leads from a label back to characters."""

    input_ids: np.ndarray
    """[n, S]"""
    attention_mask: np.ndarray
    """[n, S]: 1 where a token is, 0 on padding."""
    labels: np.ndarray
    """[n, S]: number of the label at a slot, -100 elsewhere."""
    spans: np.ndarray
    """[n, S, 2]: characters of the slot, (0, 0) where there is none."""
    losses: np.ndarray
    """[4]: how many entities met each of `LOSSES`."""
    token_type_ids: Optional[np.ndarray] = None
    """[n, S]: 0 for the only text; None when the tokenizer's family has none."""

    def __len__(self) -> int:
        return len(self.input_ids)

    def arrays(self) -> Dict[str, np.ndarray]:
        """Return all arrays that there are, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in named.items() if array is not None}

    def inputs(self) -> Dict[str, np.ndarray]:
        """Return the columns that a model takes, in order."""
        names = ("input_ids", "attention_mask", "token_type_ids")
        return {name: array for name, array in ((name, getattr(self, name)) for name in names) if array is not None}

    def log_losses(self, where: str, entities: int) -> None:
        """Warn about entities whose labels do not say all."""
        for number, what in zip(self.losses, LOSSES.values()):
            if number:
                logger.warning("%s: %d of %d entities %s", where, number, entities, what)


class RowMaker:
    """Puts the tokens of one text into a row of fixed length, as the tokenizer's layout says."""

    def __init__(self, tokenizer: Any, width: int):
        self.width, self._pad = width, tokenizer.pad_token_id
        slots = tokenizer.layout.single
        place = next(index for index, (item, _) in enumerate(slots) if item == FIRST)
        self._before, self._after = ([item for item, _ in part] for part in (slots[:place], slots[place + 1 :]))
        self._has_types, self._pads_left = tokenizer.family.token_types, tokenizer.padding_side == "left"
        self.room = width - len(self._before) - len(self._after)
        """Tokens of a text that fit into a row."""
        if self.room < 1:
            special = len(self._before) + len(self._after)
            raise UsageError(f"max_seq_len={width}: {special} special tokens leave no room for the text; raise it")
        if self._pad is None:
            raise UsageError(
                "rows are filled up to max_seq_len, but this tokenizer has no pad_token; set tokenizer.pad_token, "
                "e.g. to the token that ends a text"
            )

    def begin(self, length: int) -> int:
        """Return the place in the row of the first of `length` tokens of a text."""
        total = length + self.width - self.room
        return len(self._before) + (self.width - total if self._pads_left else 0)

    def rows(self, texts: Sequence[np.ndarray]) -> Dict[str, np.ndarray]:
        """Return the columns of a model [n, S] for token ids [at most `room`] of n texts."""
        ids = np.full((len(texts), self.width), self._pad, np.int32)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(texts):
            start = self.begin(len(tokens))
            first, end = start - len(self._before), start + len(tokens)
            ids[row, first:start] = self._before
            ids[row, start:end] = tokens
            ids[row, end : end + len(self._after)] = self._after
            mask[row, first : end + len(self._after)] = 1
        columns = {"input_ids": ids, "attention_mask": mask}
        return {**columns, "token_type_ids": np.zeros_like(ids)} if self._has_types else columns


def build_features(
    records: Sequence[Record], tokenizer: Any, labels: LabelSet, settings: TokenSettings
) -> TokenFeatures:
    """Return one row for each record, cut after `max_seq_len` tokens. Raises DataError when a needed tag is missing."""
    maker = RowMaker(tokenizer, settings.max_seq_len)
    encoded = tokenizer.encode_batch([record.text for record in records])
    tokens = [item.ids[: maker.room] for item in encoded]
    numbers = np.full((len(records), settings.max_seq_len), IGNORED, np.int32)
    spans = np.zeros((len(records), settings.max_seq_len, 2), np.int32)
    losses = dict.fromkeys(LOSSES, 0)
    for row, (record, item) in enumerate(zip(records, encoded)):
        slots = text_slots(record.text, item.offsets[: maker.room], settings.label_pieces, record.words)
        if not slots.tokens:
            losses["lost"] += len(record.entities)
            continue
        places = np.array(slots.tokens) + maker.begin(len(tokens[row]))
        end_of_text = int(item.offsets[maker.room][0]) if len(item.ids) > maker.room else len(record.text)
        marked = entity_slots(record.entities, slots, end_of_text, losses)
        try:
            numbers[row, places] = labels.encode(marked, len(slots.tokens))
        except DataError as error:
            raise DataError(f"{record.place}: {error}") from None
        spans[row, places] = slots.spans
    return TokenFeatures(
        **maker.rows(tokens), labels=numbers, spans=spans, losses=np.array(list(losses.values()), np.int32)
    )


def text_slots(
    text: str, offsets: np.ndarray, label_pieces: str, words: Optional[Sequence[Tuple[int, int]]] = None
) -> Slots:
    """Return the slots of a text whose tokens have these `offsets` [tokens, 2]; a token of white space has none."""
    found = Slots([], [])
    last_unit = -1
    for number, begin, end in visible(text, offsets):
        if label_pieces == "all":
            unit, span = last_unit + 1, (begin, end)
        elif words is not None:
            unit = bisect_right(words, (begin, len(text))) - 1
            span = words[unit]
        else:
            continues = bool(found.spans) and (begin < found.spans[-1][1] or inside_word(text, begin))
            unit, span = last_unit + (not continues), (begin, end)
        if unit != last_unit:
            found.tokens.append(number)
            found.spans.append(span)
        elif words is None:
            found.spans[-1] = (found.spans[-1][0], max(end, found.spans[-1][1]))
        last_unit = unit
    return found


def inside_word(text: str, place: int) -> bool:
    """Return whether a character and the one before it belong to one word; Chinese and kana stand alone."""
    return place > 0 and all(
        letter.isalnum() and not any(first <= letter <= last for first, last in ALONE)
        for letter in text[place - 1 : place + 1]
    )


def visible(text: str, offsets: np.ndarray) -> Iterator[Tuple[int, int, int]]:
    """Yield number, first character and end of every token, without white space around it; without tokens of none."""
    for number, (begin, end) in enumerate(offsets.tolist()):
        while begin < end and text[begin].isspace():
            begin += 1
        while begin < end and text[end - 1].isspace():
            end -= 1
        if begin < end:
            yield number, begin, end


def entity_slots(entities: Sequence[Span], slots: Slots, end_of_text: int, losses: Dict[str, int]) -> List[Span]:
    """Return entities as spans over slots, those that do not overlap; counts in `losses` what labels cannot say.

    `entities` are in order; the text was cut before the character `end_of_text`.
    """
    begins, ends = zip(*slots.spans)
    taken = -1
    marked = []
    for entity in entities:
        first = bisect_right(ends, entity.start)
        end = bisect_right(begins, entity.end - 1)
        if first >= end:
            losses["lost"] += 1
        elif first < taken:
            losses["overlapping"] += 1
        else:
            if entity.end > end_of_text:
                losses["cut"] += 1
            elif (begins[first], ends[end - 1]) != (entity.start, entity.end):
                losses["inexact"] += 1
            marked.append(Span(entity.type, first, end))
            taken = end
    return marked
