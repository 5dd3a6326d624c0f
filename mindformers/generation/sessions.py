"""Rows of one call on compiled graphs: prompts in, the logits of the next token out, step by step.

Lengths, numbers of rows and capacities come in powers of two, so that any mixture of prompts compiles few graphs.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Dict, Iterator, List, Optional, Sequence, Set, Tuple, Union
from weakref import WeakKeyDictionary

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from mindformers.arch.stacks import EncoderDecoderArch, StackArch
from mindformers.generation.cells import CachedDecoder, CachedEncoderDecoder, WholeDecoder, WholeEncoderDecoder
from mindformers.log import logger

Tokens = Union[np.ndarray, Sequence[int]]
"""The ids of one text."""
LEAST_LENGTH = 16
"""Tokens of the shortest prefill graph and of the least capacity."""
MOST_IDLE = 2
"""Cells of one size that wait for a session; further ones are let go with their graphs and caches."""
Size = Tuple[type, Tuple[int, ...]]
"""A class of `generation.cells` and the sizes of its caches."""


def bucket(number: int, least: int = 1, most: Optional[int] = None) -> int:
    """Return the next power of two from `least` on, but at most `most`."""
    size = least
    while size < number:
        size *= 2
    return size if most is None else min(size, most)


def is_encoder_decoder(arch: StackArch) -> bool:
    """Return whether prompts are read by an encoder."""
    return isinstance(arch, EncoderDecoderArch)


def longest_text(arch: StackArch) -> Optional[int]:
    """Return the tokens that a model has positions for; None where positions have no end."""
    return arch.max_positions if arch.positions == "learned" else None


def graph_count(longest: int, rows: int) -> int:
    """Return how many decode and prefill graphs texts of up to `longest` tokens in calls of up to `rows` rows need.

    For each number of rows and each capacity there is one decode graph, and a prefill graph for each length that fits.
    """
    capacities = bucket(longest, LEAST_LENGTH).bit_length() - LEAST_LENGTH.bit_length() + 1
    return bucket(rows).bit_length() * sum(1 + lengths for lengths in range(1, capacities + 1))


@contextmanager
def graph_mode() -> Iterator[None]:
    """Run what is inside in graph mode: in PyNative mode a compiled graph does not see `Parameter.set_data` (2.10)."""
    before = ms.get_context("mode")
    if before != ms.GRAPH_MODE:
        ms.set_context(mode=ms.GRAPH_MODE)
    try:
        yield
    finally:
        if before != ms.GRAPH_MODE:
            ms.set_context(mode=before)


@contextmanager
def inference(model: nn.Cell) -> Iterator[None]:
    """Run what is inside without dropout, in graph mode; the model's training flag is then what it was."""
    training = model.training
    if training:
        model.set_train(False)
    try:
        with graph_mode():
            yield
    finally:
        if training:
            model.set_train(True)


class Graphs:
    """The compiled cells of one model, which sessions borrow: what a cell keeps belongs to one session at a time."""

    def __init__(self, model: nn.Cell):
        self.model = model
        self.is_length_told = False
        """Whether it was said that texts are longer than the model was made for."""
        self._idle: Dict[Size, List[nn.Cell]] = {}
        self._shapes: WeakKeyDictionary[nn.Cell, Set[Tuple[int, ...]]] = WeakKeyDictionary()
        self._num_compiled = 0

    def lend(self, size: Size) -> nn.Cell:
        """Return a cell that no other session has."""
        idle = self._idle.get(size)
        kind, sizes = size
        return idle.pop() if idle else kind(self.model, *sizes)

    def give_back(self, size: Size, cell: nn.Cell) -> None:
        """Keep a cell for a later session, unless `MOST_IDLE` of its size wait already."""
        idle = self._idle.setdefault(size, [])
        if len(idle) < MOST_IDLE:
            idle.append(cell)

    def note(self, cell: nn.Cell, *shape: int) -> None:
        """Say which graph is compiled when a cell first sees a shape."""
        shapes = self._shapes.setdefault(cell, set())
        if shape not in shapes:
            shapes.add(shape)
            self._num_compiled += 1
            logger.debug("generation: graph %d of this model, %s on %s", self._num_compiled, type(cell).__name__, shape)


class Session:
    """A batch of texts that grow by a token at a time; unused rows fill it up to a power of two.

    `prompts` are int arrays of tokens, of an encoder-decoder its targets so far, with `sources` beside them. No text
    grows by more than `room` tokens. `start` borrows a cell, `close` gives it back.
    """

    def __init__(
        self,
        graphs: Graphs,
        prompts: Sequence[Tokens],
        sources: Optional[Sequence[Tokens]],
        room: int,
    ):
        self.graphs, self.num_rows = graphs, len(prompts)
        self.rows = bucket(len(prompts))
        self.limit = longest_text(graphs.model.arch)
        self.prompts = prompts
        self._lent: Optional[Tuple[Size, nn.Cell]] = None
        self.sources: Tuple[np.ndarray, ...] = ()
        if sources is not None:
            self.sources = self.padded(sources, bucket(max(map(len, sources)), LEAST_LENGTH))
        self.capacity = bucket(max(map(len, prompts)) + room, LEAST_LENGTH, self.limit)

    def borrow(self, kind: type, *sizes: int) -> nn.Cell:
        """Return a cell of a class of `generation.cells`, which is this session's until it is closed."""
        self.close()
        self._lent = (kind, sizes), self.graphs.lend((kind, sizes))
        return self._lent[1]

    def close(self) -> None:
        """Give the cell back; nothing happens without one."""
        if self._lent is not None:
            self.graphs.give_back(*self._lent)
            self._lent = None

    def padded(self, texts: Sequence[Tokens], length: int) -> Tuple[np.ndarray, np.ndarray]:
        """Return ids [rows, length], filled up with 0 on the right, and the number of real ones in each row."""
        ids, counts = np.zeros((self.rows, length), np.int32), np.ones(self.rows, np.int32)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text
            counts[row] = len(text)
        return ids, counts

    def whole(self, values: np.ndarray, filler: int) -> np.ndarray:
        """Return one number for each row, the unused ones included."""
        return np.concatenate([values, np.full(self.rows - self.num_rows, filler)]).astype(np.int32)

    def run(self, cell: nn.Cell, *arrays: np.ndarray) -> np.ndarray:
        """Call a graph and return the logits of the rows in use."""
        self.graphs.note(cell, *arrays[0].shape)
        with inference(self.graphs.model):
            return cell(*(Tensor(array) for array in arrays)).asnumpy()[: self.num_rows]


class CachedSession(Session):
    """A session whose graphs keep keys and values."""

    def start(self) -> np.ndarray:
        """Read all prompts and return the next token's logits, float32 [rows in use, V]."""
        if self.sources:
            source_capacity = self.sources[0].shape[1]
            self.cell = self.borrow(CachedEncoderDecoder, self.rows, self.capacity, source_capacity)
            with inference(self.graphs.model):
                self.cell.encode(*(Tensor(array) for array in self.sources))
        else:
            self.cell = self.borrow(CachedDecoder, self.rows, self.capacity)
        longest = bucket(max(map(len, self.prompts)), LEAST_LENGTH, self.capacity)
        if self.sources:
            longest = max(map(len, self.prompts))  # nearly always the start token alone
        ids, self.lengths = self.padded(self.prompts, longest)
        return self.run(self.cell, ids, np.zeros(self.rows, np.int32), self.lengths, *self.sources[1:])

    def advance(self, tokens: np.ndarray, active: np.ndarray) -> np.ndarray:
        """Add a token to each row and return the logits after it; rows that are not `active` stay where they are."""
        ids, ones = self.whole(tokens, 0)[:, None], np.ones(self.rows, np.int32)
        logits = self.run(self.cell, ids, self.lengths, ones, *self.sources[1:])
        self.lengths = self.lengths + self.whole(active, 0)
        return logits

    def reorder(self, parents: np.ndarray) -> None:
        """Make row i continue the text of row parents[i] with the same length and source."""
        rows = np.concatenate([parents, np.arange(self.num_rows, self.rows)])
        with graph_mode():
            self.cell.reorder(Tensor(rows.astype(np.int32)))


class WholeSession(Session):
    """A session that computes the whole text for every token."""

    def start(self) -> np.ndarray:
        """As `CachedSession.start`."""
        self.cell = self.borrow(WholeEncoderDecoder if self.sources else WholeDecoder)
        self.texts: List[List[int]] = [list(prompt) for prompt in self.prompts]
        return self._logits()

    def advance(self, tokens: np.ndarray, active: np.ndarray) -> np.ndarray:
        """As `CachedSession.advance`."""
        for text, token, grows in zip(self.texts, tokens, active):
            if grows:
                text.append(int(token))
        return self._logits()

    def reorder(self, parents: np.ndarray) -> None:
        """As `CachedSession.reorder`."""
        self.texts = [list(self.texts[parent]) for parent in parents]

    def _logits(self) -> np.ndarray:
        ids, counts = self.padded(self.texts, self.capacity)
        return self.run(self.cell, ids, counts, *self.sources)
