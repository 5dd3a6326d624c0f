"""Two segments of text in a row, and a label that says how they belong together.

The procedure is that of BERT (Devlin et al. 2019, arXiv:1810.04805, appendix A.2; its `create_pretraining_data`) and of
ALBERT (Lan et al. 2019, arXiv:1909.11942, section 3.1).
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np

from mindformers.arch.stacks import SentenceTask
from mindformers.data.masked_text import Sentences, stacked
from mindformers.errors import DataError
from mindformers.tokenizers.layout import kept_lengths

SHORT_SHARE = 0.1
"""Share of the rows that are made shorter than they could be, as texts at prediction are."""
BELONG, BELONG_NOT = 0, 1
"""Label of a second text that follows the first; of one from elsewhere, or of texts in the wrong order."""


def pair_rows(
    sentences: Sentences, tokenizer: Any, length: int, kind: SentenceTask, seed: int, name: str
) -> Dict[str, np.ndarray]:
    """Return rows of two segments with the column `sentence_labels`, int32 [rows].

    Half of the rows are broken: their second segment comes from another document ("next_sentence") or stands first
    ("sentence_order"). Raises DataError when the text does not allow that.
    """
    room = length - tokenizer.layout.special_count(True)
    documents = [_pieces(sentences.document(number), room // 2) for number in range(len(sentences.documents) - 1)]
    documents = [lines for lines in documents if sum(map(len, lines)) > 1]
    if not documents or kind == "next_sentence" and len(documents) < 2:
        raise DataError(
            f"{name}: has {len(documents)} documents of at least 2 tokens; pairs need "
            + ("two, the second text of a pair may come from another one" if documents else "at least one")
            + "; part documents by blank lines, or set rows to full"
        )
    made = _Pairs(documents, room, kind, seed).all()
    columns = stacked([tokenizer.layout.arrange(list(a), list(b)) for a, b, _ in made], tokenizer, length)
    return {**columns, "sentence_labels": np.array([label for _, _, label in made], np.int32)}


def _pieces(lines: List[np.ndarray], most: int) -> List[np.ndarray]:
    """Return the lines; those that would not fit into a segment fall into several."""
    return [line[begin : begin + most] for line in lines for begin in range(0, len(line), most)]


Pair = Tuple[np.ndarray, np.ndarray, int]


class _Pairs:
    """Cuts documents into pairs; `room` counts the tokens of both segments."""

    def __init__(self, documents: List[List[np.ndarray]], room: int, kind: SentenceTask, seed: int):
        self._documents, self._room, self._kind = documents, room, kind
        self._random = np.random.Generator(np.random.PCG64([seed]))

    def all(self) -> List[Pair]:
        """Return the pairs of all documents, one document after the other."""
        return [pair for number in range(len(self._documents)) for pair in self._of(number)]

    def _of(self, number: int) -> List[Pair]:
        lines = self._documents[number]
        pairs: List[Pair] = []
        begin = 0
        while begin < len(lines):
            target, size, end = self._target(), 0, begin
            while end < len(lines) and size < target:
                size += len(lines[end])
                end += 1
            begin = self._cut(number, begin, end, target, pairs)
        return pairs

    def _target(self) -> int:
        short = self._random.random() < SHORT_SHARE
        return int(self._random.integers(2, self._room + 1)) if short else self._room

    def _cut(self, number: int, begin: int, end: int, target: int, pairs: List[Pair]) -> int:
        """Add the pair made of the lines from `begin` to `end`; return the first line that no pair holds yet."""
        lines = self._documents[number][begin:end]
        if len(lines) == 1:
            half = len(lines[0]) // 2
            first, second = lines[0][:half], lines[0][half:]
            rest, whole = end, lines[0]
        else:
            middle = int(self._random.integers(1, len(lines)))
            first, second = np.concatenate(lines[:middle]), np.concatenate(lines[middle:])
            rest, whole = begin + middle, first
        if not len(first):
            return end  # one token makes no two segments
        broken = self._random.random() < 0.5
        if broken and self._kind == "next_sentence":
            first, second = whole, self._elsewhere(number, target - len(whole))
            end = rest
        pair = self._fitting(first, second)
        if broken and self._kind == "sentence_order":
            pair = pair[::-1]
        pairs.append((*pair, BELONG_NOT if broken else BELONG))
        return end

    def _elsewhere(self, number: int, wanted: int) -> np.ndarray:
        """Return lines of another document, from a random one on, until there are the wanted tokens."""
        other = int(self._random.integers(len(self._documents) - 1))
        lines = self._documents[other + (other >= number)]
        start = stop = int(self._random.integers(len(lines)))
        size = 0
        while stop < len(lines) and (stop == start or size < wanted):
            size += len(lines[stop])
            stop += 1
        return np.concatenate(lines[start:stop])

    def _fitting(self, first: np.ndarray, second: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Return the segments, cut to the room at random ends, the longer one first."""
        lengths = kept_lengths(len(first), len(second), self._room, "longest_first")
        return self._shortened(first, lengths[0]), self._shortened(second, lengths[1])

    def _shortened(self, tokens: np.ndarray, length: int) -> np.ndarray:
        front = int(self._random.binomial(len(tokens) - length, 0.5))
        return tokens[front : front + length]
