"""Dropout whose masks are a function of (seed, step, site, position): repeatable, and resumable bit for bit.

MindSpore's own dropout draws from a generator inside the kernel that no checkpoint can hold, and is the slowest
operator of an attention layer on CPU (48 ms at [8, 12, 384, 384]). Here a counter in the model picks the masks of a
step. One table of bits is drawn a step (78 ms at that size); every use of dropout (a site) reads it from a row of its
own (10 ms with the product). It pays from three layers on.

A bit compares the product modulo 2^32 of two odd words, one hashed from the row and one from the column, with the
rate (multiplicative hashing: Dietzfelbinger et al. 1997, J. Algorithms 25(1)).

Shapes: B batch, S sequence, N heads, D hidden.
"""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore import dtype as mstype

from mindformers.arch.stacks import StackArch
from mindformers.kernels import norm as kernels
from mindformers.nn import functional

HIDDEN, SCORES, CROSS, MLP, KEY = range(5)
"""Kinds of table, in the order of `DropoutNoise.tables`, and the key that further masks are made from."""

STREAMS = 32
"""Independent sequences of words that one stack may use: two for each table."""

AT_EMBEDDINGS, AT_HEAD = 9, 11
"""Streams of the uses of dropout that have a table of their own."""

NEXT_KEY = 0x5BD1E996
"""Even; added to the keys of rows for each further use of the same sites, as by a second stack."""

SUBLAYERS = 3
"""Most dropout sites of the hidden stream that a layer has: attention, attention to an encoder, feed-forward."""

GOLDEN = 0x9E3779B9
"""2^32 / golden ratio: spreads consecutive counters over all bits."""

NO_WORDS = Tensor([0], mstype.int32)
"""In the place of words, which are odd, where nothing is dropped."""

SITE_ROWS = 101
"""Rows of the table between one site and the next; a prime, so that no head or sample meets its own mask again."""


def scramble(words):
    """Return `words` (uint32) with every bit depending on every other: the 32-bit finalizer of MurmurHash3."""
    words = ops.bitwise_xor(words, ops.bitwise_right_shift(words, Tensor(16, mstype.uint32)))
    words = words * Tensor(0x85EBCA6B, mstype.uint32)
    words = ops.bitwise_xor(words, ops.bitwise_right_shift(words, Tensor(13, mstype.uint32)))
    words = words * Tensor(0xC2B2AE35, mstype.uint32)
    return ops.bitwise_xor(words, ops.bitwise_right_shift(words, Tensor(16, mstype.uint32)))


def odd_words(count, key, stream):
    """Return `count` odd int32 words that depend on `key` (uint32 scalar) and on the number of the stream."""
    counters = ops.arange(count).astype(mstype.uint32) * Tensor(GOLDEN, mstype.uint32)
    words = scramble(counters + scramble(key + Tensor(stream, mstype.uint32)))
    return ops.bitwise_or(words, Tensor(1, mstype.uint32)).astype(mstype.int32)


def keep_table(num_rows, num_columns, kept_from, key, stream):
    """Return bool [rows, columns], true where the element stays: its word is at least `kept_from`.

    Rows and columns are spread to full size first: a broadcasting product on CPU is slower (MindSpore 2.10).
    """
    shape = (num_rows, num_columns)
    rows = ops.broadcast_to(odd_words(num_rows, key, stream).expand_dims(1), shape)
    columns = ops.broadcast_to(odd_words(num_columns, key, stream + 1).expand_dims(0), shape)
    return ops.greater_equal(rows * columns, kept_from)


class PlacedMask(nn.Cell):
    """The mask of one site in a placed model, of few operators that can be split.

    A parallel compiler cannot split a table that many sites read, and knows no constant with the rows of a micro-batch.
    Here the word of an element is the product of three odd words: the key of its row of the batch, and two constants of
    the site, one of its last dimension and one of those between.
    """

    def __init__(self, rate: float, kind: int, site: int):
        super().__init__()
        self.kept_from, self.stream = kept_from(rate), STREAMS * site + 2 * kind
        self.spread, self.draw = ops.Mul(), ops.Mul()

    def construct(self, keys_B, like):
        """Return 1 where an element of `like` [B, ..., D] stays, else 0, in its type; keys of `row_keys`."""
        batch, inner, last = like.shape[:1], like.shape[1:-1], like.shape[-1:]
        keys = keys_B.reshape(batch + (1,) * (len(inner) + 1))
        words = self.spread(keys, constant_words((1,) + inner + (1,), self.stream))
        words = self.draw(words, constant_words((1,) * (len(inner) + 1) + last, self.stream + 1))
        return ops.greater_equal(words, self.kept_from).astype(like.dtype)


@ops.constexpr
def constant_words(shape, stream):
    """Return odd int32 words of `shape`, the same for the same number of the stream."""
    words = np.random.Generator(np.random.PCG64(stream)).integers(-(2**31), 2**31, shape)
    return Tensor((words | 1).astype(np.int32))


class DropoutNoise(nn.Cell):
    """The tables of one training step, and the counter they come from.

    `state` is an int32 parameter (seed, steps taken): it is saved with a training checkpoint and never trained.
    Ranks that read different data should get different seeds: `set_seed(seed + rank)`. A site of the hidden stream is
    the embeddings (0), then each sub-layer in order, then the output; attention and feed-forward count layers.
    """

    def __init__(self, arch: StackArch, num_layers: int, seed: int):
        super().__init__()
        self.hidden_size, self.num_heads, self.mlp_size = arch.hidden_size, arch.num_heads, arch.intermediate_size
        self.rates = (arch.hidden_dropout, arch.attention_dropout, arch.mlp_dropout)
        self.kept_from = tuple(kept_from(rate) for rate in self.rates)
        self.hidden_extra = SITE_ROWS * (SUBLAYERS * num_layers + 1)
        self.layer_extra = SITE_ROWS * (num_layers - 1)
        self.state = Parameter(start_state(seed), name="state", requires_grad=False)
        self.one_step = Tensor([0, 1], mstype.int32)
        self.is_placed, self.gives_words = functional.is_placed(), functional.has_kernels()
        self.advance = ops.AssignAdd()

    def set_seed(self, seed: int) -> None:
        """Start the masks anew from `seed`."""
        self.state.set_data(start_state(seed))

    def construct(self, row_keys=None):
        """Return the key of this step (uint32 scalar) and count it; or `row_keys` of this step, if a model has them."""
        return self.step_key() if row_keys is None else row_keys

    def row_keys(self, rows):
        """Return an odd key for every row of a batch, int32 [rows], and count a step."""
        return odd_words(rows, self.step_key(), 0)

    def step_key(self):
        """Return the key of this step (uint32 scalar) and count it."""
        words = self.state.astype(mstype.uint32)
        key = scramble(words[1] * Tensor(GOLDEN, mstype.uint32) + scramble(words[0]))
        self.advance(self.state, ops.depend(self.one_step, key))
        return key

    def tables(self, key, stream, batch, seq, source):
        """Return the bool tables of one stack, by kind (HIDDEN ...), and the key of the stack.

        A table whose rate is 0, or without use, is None. `stream` numbers the stacks of a model. Shapes: hidden
        [B * S + sites, D], scores [B * N * S + sites, S], cross [B * N * S + sites, source] when `source` is not 0,
        mlp [B * S + sites, F]. For kernels there are the words of rows and columns in place of a table, which give the
        same masks. In a placed model the keys of rows, int32 [B], stand for all of them.
        """
        first = STREAMS * stream
        if self.is_placed:
            return next_keys(key, stream)
        hidden, scores, cross, mlp = None, None, None, None
        if self.rates[0] > 0.0:
            rows = batch * seq + self.hidden_extra
            hidden = self.table(rows, self.hidden_size, self.kept_from[0], key, first + 1)
        if self.rates[1] > 0.0:
            rows = batch * self.num_heads * seq + self.layer_extra
            scores = self.table(rows, seq, self.kept_from[1], key, first + 3)
            if source > 0:
                cross = self.table(rows, source, self.kept_from[1], key, first + 5)
        if self.rates[2] > 0.0:
            mlp = self.table(batch * seq + self.layer_extra, self.mlp_size, self.kept_from[2], key, first + 7)
        return hidden, scores, cross, mlp, key + Tensor(first, mstype.uint32)

    def table(self, num_rows, num_columns, kept_from, key, stream):
        """Return `keep_table`, or for kernels the words that it is made of."""
        if self.gives_words:
            return odd_words(num_rows, key, stream), odd_words(num_columns, key, stream + 1)
        return keep_table(num_rows, num_columns, kept_from, key, stream)


def start_state(seed: int) -> Tensor:
    """Return the state before the first step."""
    return Tensor([seed % 2**31, 0], mstype.int32)


def kept_from(rate: float) -> Tensor:
    """Return the least int32 word that stays, so that a share `rate` of all words is dropped."""
    return Tensor(int(rate * 2**32) - 2**31, mstype.int32)


def shifted(noise, turn):
    """Return the tables as layer number `turn` reads them when it shares its cells, and so its sites, with others."""
    if noise is None or turn == 0:
        return noise
    if not isinstance(noise, tuple):
        return next_keys(noise, turn)
    hidden, scores, cross, mlp, key = noise
    if hidden is not None:
        hidden = from_row(hidden, SITE_ROWS * SUBLAYERS * turn)
    if scores is not None:
        scores = from_row(scores, SITE_ROWS * turn)
    if mlp is not None:
        mlp = from_row(mlp, SITE_ROWS * turn)
    return hidden, scores, cross, mlp, key


def next_keys(keys_B, turn):
    """Return the keys of rows for use number `turn` of the same sites of a placed model."""
    return keys_B if turn == 0 else keys_B + Tensor(NEXT_KEY * turn % 2**31, mstype.int32)


def from_row(table, first):
    """Return a table, or its words, without the rows before `first`."""
    if isinstance(table, tuple):
        return table[0][first:], table[1]
    return table[first:]


def words_of(noise, kind, trains):
    """Return the words of rows and columns that a kernel reads of one kind of table."""
    if not trains or noise is None or noise[kind] is None:
        return NO_WORDS, NO_WORDS
    return noise[kind]


def mask_at(table, site, shape, dtype):
    """Return 1 where an element stays and 0 where it is dropped, of `shape` and `dtype`, read at a site of `table`."""
    first = site * SITE_ROWS
    rows = 1
    for size in shape[:-1]:
        rows = rows * size
    return table[first : first + rows].reshape(shape).astype(dtype)


class Dropout(nn.Cell):
    """Zero a share of the elements in training and scale the rest by 1 / (1 - rate); identity otherwise.

    Srivastava et al. 2014, JMLR 15(56). `site` counts the uses of one kind of table in one stack, from 0.
    """

    def __init__(self, rate: float, site: int, kind: int = HIDDEN):
        super().__init__()
        self.rate, self.site, self.kind = rate, site, kind
        self.scale = 1.0 / (1.0 - rate)
        self.placed_mask = PlacedMask(rate, kind, site) if functional.is_placed() else None
        self.kernel = kernels.Dropout(rate, site * SITE_ROWS) if functional.has_kernels() else None

    def construct(self, x, noise):
        """x [B, S, D]; `noise` from DropoutNoise.tables, or None outside training."""
        if not self.training or self.rate == 0.0:
            return x
        if self.kernel is not None:
            rows, columns = noise[self.kind]
            return self.kernel(x, rows, columns)
        if self.placed_mask is not None:
            return x * (self.placed_mask(noise, x) * self.scale)
        return x * (mask_at(noise[self.kind], self.site, x.shape, x.dtype) * self.scale)


class ResidualDropout(Dropout):
    """residual + dropout(branch), with a branch of `dtype`."""

    def __init__(self, rate: float, site: int, dtype=mstype.float32):
        super().__init__(rate, site)
        self.add_kernel = kernels.Add(rate, site * SITE_ROWS, dtype) if functional.has_kernels(dtype) else None

    def construct(self, residual, branch, noise):
        """Both [B, S, D]; `noise` as of `Dropout`."""
        if self.add_kernel is not None:
            rows, columns = words_of(noise, self.kind, self.training)
            return self.add_kernel(residual, branch, rows, columns)
        return residual + super().construct(branch, noise)


class FreshDropout(nn.Cell):
    """`Dropout` of a rate or width that no table has: it makes one of its own, from the stream of its place."""

    def __init__(self, rate: float, stream: int):
        super().__init__()
        self.rate, self.stream, self.kept_from = rate, stream, kept_from(rate)
        self.scale = 1.0 / (1.0 - rate)
        self.placed_mask = PlacedMask(rate, KEY, stream) if functional.is_placed() else None
        self.kernel = kernels.Dropout(rate, 0) if functional.has_kernels() else None

    def construct(self, x, noise):
        """x [..., D] -> the same shape."""
        if not self.training or self.rate == 0.0:
            return x
        if self.placed_mask is not None:
            return x * (self.placed_mask(noise, x) * self.scale)
        rows = 1
        for size in x.shape[:-1]:
            rows = rows * size
        if self.kernel is not None:
            of_rows = odd_words(rows, noise[KEY], self.stream)
            of_columns = odd_words(x.shape[-1], noise[KEY], self.stream + 1)
            return self.kernel(x, of_rows, of_columns)
        table = keep_table(rows, x.shape[-1], self.kept_from, noise[KEY], self.stream)
        return x * (table.reshape(x.shape).astype(x.dtype) * self.scale)
