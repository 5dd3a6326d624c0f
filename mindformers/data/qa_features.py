"""Questions and contexts to windows of tokens, as the tokenizer lays out a pair: [CLS] question [SEP] context [SEP].

A context is tokenised once, with the character offsets of its tokens; windows, answer positions and the way back to
text all go by these offsets, so the text itself is never cut or joined. Windows and the rule of most context follow
the published BERT procedure (Devlin et al. 2019, arXiv:1810.04805, section 4.2 and its SQuAD script).

Shapes: n windows, S tokens of a window (`max_seq_len`), T tokens of all different contexts one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Dict, List, Sequence, Tuple

import numpy as np

from mindformers.data.rows import Rejection, log_rejections
from mindformers.data.squad import Example
from mindformers.errors import DataError
from mindformers.tokenizers.layout import FIRST, SECOND, Slot
from mindformers.tokenizers.pretrained import PretrainedTokenizer

FORMAT_VERSION = 2
"""Raise it when the meaning of a stored array changes: caches of older versions are then not found."""
ROWS_AT_ONCE = 4096
"""Windows that are assembled together; bounds the size of temporary arrays."""


@dataclass(frozen=True)
class WindowSettings:
    """Lengths in tokens."""

    max_seq_len: int = 384
    """Width S of a window, special tokens included."""
    max_question_len: int = 64
    """Longer questions are cut at their end."""
    doc_stride: int = 128
    """Context tokens between the begins of neighbouring windows."""
    special_tokens: int = 3
    """Of a pair, as the tokenizer's layout has them."""
    unanswerable: bool = False
    """Whether a question may have no answer, which is then the window's first token, [CLS] (SQuAD v2.0)."""

    def __post_init__(self):
        room = self.max_seq_len - self.max_question_len - self.special_tokens
        if min(self.max_question_len, self.doc_stride) < 1 or room < 1:
            raise DataError(
                f"max_seq_len={self.max_seq_len}, max_question_len={self.max_question_len}, doc_stride="
                f"{self.doc_stride}: a window holds a question, {self.special_tokens} special tokens and context, here "
                f"{room} tokens of it; all must be at least 1. Raise max_seq_len or lower max_question_len"
            )


@dataclass(frozen=True)
class Features:
    """Windows ready for a model, and what leads from their positions back to characters. All arrays are int32."""

    input_ids: np.ndarray
    """[n, S]"""
    attention_mask: np.ndarray
    """[n, S]: 1 where a token is, 0 on padding."""
    token_type_ids: np.ndarray
    """[n, S]: 1 on the context and what follows it where the family tells the texts of a pair apart, else 0."""
    start_positions: np.ndarray
    """[n]: first token of the answer in the window; 0, which is [CLS], when the window does not hold all of it."""
    end_positions: np.ndarray
    """[n]: last token of the answer, likewise."""
    example_index: np.ndarray
    """[n]: the question a window belongs to, as an index into the examples."""
    context_begin: np.ndarray
    """[n]: position of the first context token in the window."""
    context_length: np.ndarray
    """[n]: number of context tokens in the window."""
    first_token: np.ndarray
    """[n]: index into `token_spans` of the first context token in the window."""
    max_context: np.ndarray
    """bool [n, S]: the context tokens that have more context here than in any other window of their question."""
    token_spans: np.ndarray
    """[T, 2]: character offsets, in their context, of the tokens of every context."""

    def __len__(self) -> int:
        return len(self.input_ids)

    def arrays(self) -> Dict[str, np.ndarray]:
        """Return all arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def character_spans(self, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Return first characters and ends (exclusive) of token spans given by window and position in the window."""
        base = self.first_token[rows] - self.context_begin[rows]
        return self.token_spans[base + starts, 0], self.token_spans[base + ends, 1]


def build_features(
    examples: Sequence[Example], tokenizer: PretrainedTokenizer, settings: WindowSettings, labelled: bool = False
) -> Features:
    """Return the windows of all examples in order; the first answer of an example gives its labels.

    With `labelled`, an example whose answer covers no token (a control character, say) is left out and logged.
    Raises DataError when no example is left, or for a tokenizer that puts no special token in front.
    """
    slots = pair_slots(tokenizer)
    contexts = {context: index for index, context in enumerate(dict.fromkeys(item.context for item in examples))}
    context_tokens = tokenizer.encode_batch(list(contexts))
    question_tokens = [
        item.ids[: settings.max_question_len] for item in tokenizer.encode_batch([item.question for item in examples])
    ]
    context_of = [contexts[item.context] for item in examples]
    answers = [answer_tokens(item, context_tokens[index].offsets) for item, index in zip(examples, context_of)]

    owners: List[int] = []
    begins: List[int] = []
    lengths: List[int] = []
    bounds: List[np.ndarray] = []
    dropped: List[Rejection] = []
    for index, (example, question) in enumerate(zip(examples, question_tokens)):
        if labelled and answers[index][0] < 0 and not (settings.unanswerable and not example.answers):
            dropped.append(
                Rejection(f"question {example.id!r}", f"no token of the vocabulary covers the answer {example.answers}")
            )
            continue
        room = settings.max_seq_len - len(question) - settings.special_tokens
        starts, sizes = window_places(len(context_tokens[context_of[index]].ids), room, settings.doc_stride)
        owners.extend([index] * len(starts))
        begins.extend(starts)
        lengths.extend(sizes)
        bounds.append(most_context_bounds(starts, sizes))
    log_rejections(f"{len(dropped)} of {len(examples)} questions left out", dropped)
    if not owners:
        raise DataError(f"none of {len(examples)} questions can be used; give a file with at least one answerable row")

    example_index, window_begin, window_length = np.array(owners), np.array(begins), np.array(lengths)
    question_begin = part_begins([len(ids) for ids in question_tokens])
    question_length = np.diff(question_begin)[example_index]
    context_begin = question_length + next(place for place, (item, _) in enumerate(slots) if item == SECOND) - 1
    first_token = (
        part_begins([len(item.ids) for item in context_tokens])[np.array(context_of)[example_index]] + window_begin
    )
    first, last = np.array(answers)[example_index].T
    held = (first >= window_begin) & (last < window_begin + window_length)  # never without an answer: first is -1
    shift = context_begin - window_begin
    wins = np.concatenate(bounds) + context_begin[:, None]
    position = np.arange(settings.max_seq_len)
    columns = assemble(
        np.concatenate(question_tokens),
        question_begin[example_index],
        question_length,
        np.concatenate([item.ids for item in context_tokens]),
        first_token,
        window_length,
        settings.max_seq_len,
        slots,
        tokenizer.pad_token_id,
    )
    return Features(
        **columns,
        start_positions=np.where(held, first + shift, 0).astype(np.int32),
        end_positions=np.where(held, last + shift, 0).astype(np.int32),
        example_index=example_index.astype(np.int32),
        context_begin=context_begin.astype(np.int32),
        context_length=window_length.astype(np.int32),
        first_token=first_token.astype(np.int32),
        max_context=(position >= wins[:, :1]) & (position < wins[:, 1:]),
        token_spans=np.concatenate([item.offsets for item in context_tokens]),
    )


def answer_tokens(example: Example, offsets: np.ndarray) -> Tuple[int, int]:
    """Return the first and last context token that share a character with the first answer; (-1, -1) without one."""
    if not example.answers or not len(offsets):
        return -1, -1
    text, begin = example.answers[0]
    first = int(np.searchsorted(offsets[:, 1], begin, side="right"))
    last = int(np.searchsorted(offsets[:, 0], begin + len(text), side="left")) - 1
    return (first, last) if first <= last else (-1, -1)


def window_places(total: int, room: int, stride: int) -> Tuple[List[int], List[int]]:
    """Return begins and lengths of the windows over `total` tokens, `room` tokens each, `stride` tokens apart.

    A stride above `room` counts as `room`: no token is left out. No token at all gives one window of length 0.
    """
    step = min(stride, room)
    count = 1 if total <= room else 1 + -(-(total - room) // step)
    starts = [index * step for index in range(count)]
    return starts, [min(room, total - start) for start in starts]


def most_context_bounds(starts: Sequence[int], lengths: Sequence[int]) -> np.ndarray:
    """Return [windows, 2]: begin and end, within each window, of the tokens that have most context there.

    The context of a token is the smaller of the tokens to its left and right, plus 0.01 of the window's length; of
    equals the earlier window wins. As windows stand in order, the tokens a window wins are neighbours.
    """
    if len(starts) == 1:
        return np.array([[0, lengths[0]]])
    start, length = np.array(starts)[:, None], np.array(lengths)[:, None]
    token = np.arange(starts[-1] + lengths[-1])[None, :]
    inside = (token >= start) & (token < start + length)
    # In hundredths, so that equal scores are exactly equal.
    score = np.where(inside, 100 * np.minimum(token - start, start + length - 1 - token) + length, -1)
    winner = score.argmax(axis=0)
    window = np.arange(len(starts))
    begin = np.searchsorted(winner, window, side="left") - start[:, 0]
    end = np.searchsorted(winner, window, side="right") - start[:, 0]
    return np.stack([begin, end], axis=1)


def part_begins(lengths: Sequence[int]) -> np.ndarray:
    """Return where each part begins when parts are put one after the other, and the total at the end."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def pair_slots(tokenizer: PretrainedTokenizer) -> Tuple[Slot, ...]:
    """Return where the tokens of a window come from; type ids are 0 where the family has none.

    Raises DataError unless a special token stands first (for "no answer here"), then the question, then the context.
    """
    slots = tokenizer.layout.pair
    if [item for item, _ in slots if isinstance(item, str)] != [FIRST, SECOND] or isinstance(slots[0][0], str):
        raise DataError(
            f"{type(tokenizer).__name__} puts no special token before a pair of texts; question answering needs one, "
            "as [CLS] of BERT, to stand for 'no answer here'. Take the tokenizer of an encoder"
        )
    return tuple((item, kind if tokenizer.family.token_types else 0) for item, kind in slots)


def assemble(
    question_ids,
    question_begin,
    question_length,
    context_ids,
    context_first,
    context_length,
    width: int,
    slots: Sequence[Slot],
    pad_id: int,
) -> Dict[str, np.ndarray]:
    """Return input_ids, attention_mask and token_type_ids [n, width] from flat ids and per-window begins, lengths."""
    count = len(question_begin)
    input_ids = np.full((count, width), pad_id, np.int32)
    attention_mask = np.empty((count, width), np.int32)
    token_type_ids = np.zeros((count, width), np.int32)
    position = np.arange(width)
    texts = {
        FIRST: (question_ids, question_begin, question_length),
        SECOND: (context_ids, context_first, context_length),
    }
    for start in range(0, count, ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        ids, kinds = input_ids[part], token_type_ids[part]
        begin = np.zeros((len(ids), 1), np.int64)
        for item, kind in slots:
            if item in texts:
                flat, first, lengths = texts[item]
                end = begin + lengths[part, None]
                inside = (position >= begin) & (position < end)
                ids[inside] = flat[(first[part, None] + position - begin)[inside]]
            else:
                end = begin + 1
                inside = position == begin
                ids[inside] = item
            kinds[inside] = kind
            begin = end
        attention_mask[part] = position < begin
    return {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
