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

from mindspore import Parameter, Tensor, nn, ops
from mindspore import dtype as mstype

GOLDEN = 0x9E3779B9
"""2^32 / golden ratio: spreads consecutive counters over all bits."""

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


class DropoutNoise(nn.Cell):
    """The tables of one training step, and the counter they come from.

    `state` is an int32 parameter (seed, steps taken): it is saved with a training checkpoint and never trained.
    Ranks that read different data should get different seeds: `set_seed(seed + rank)`.
    """

    def __init__(
        self, hidden_size: int, num_heads: int, num_layers: int, hidden_rate: float, attention_rate: float, seed: int
    ):
        super().__init__()
        self.hidden_size, self.num_heads = hidden_size, num_heads
        self.hidden_rate, self.attention_rate = hidden_rate, attention_rate
        self.hidden_kept_from = kept_from(hidden_rate)
        self.attention_kept_from = kept_from(attention_rate)
        self.hidden_extra = SITE_ROWS * 2 * num_layers
        self.attention_extra = SITE_ROWS * (num_layers - 1)
        self.state = Parameter(start_state(seed), name="state", requires_grad=False)
        self.one_step = Tensor([0, 1], mstype.int32)
        self.advance = ops.AssignAdd()

    def set_seed(self, seed: int) -> None:
        """Start the masks anew from `seed`."""
        self.state.set_data(start_state(seed))

    def construct(self, batch, seq):
        """Return bool tables for the hidden stream [B * S + sites, D] and for scores [B * N * S + sites, S].

        A table whose rate is 0 is None. Counts a step.
        """
        words = self.state.astype(mstype.uint32)
        key = scramble(words[1] * Tensor(GOLDEN, mstype.uint32) + scramble(words[0]))
        self.advance(self.state, ops.depend(self.one_step, key))
        hidden, scores = None, None
        if self.hidden_rate > 0.0:
            hidden = keep_table(batch * seq + self.hidden_extra, self.hidden_size, self.hidden_kept_from, key, 1)
        if self.attention_rate > 0.0:
            rows = batch * self.num_heads * seq + self.attention_extra
            scores = keep_table(rows, seq, self.attention_kept_from, key, 3)
        return hidden, scores


def start_state(seed: int) -> Tensor:
    """Return the state before the first step."""
    return Tensor([seed % 2**31, 0], mstype.int32)


def kept_from(rate: float) -> Tensor:
    """Return the least int32 word that stays, so that a share `rate` of all words is dropped."""
    return Tensor(int(rate * 2**32) - 2**31, mstype.int32)


def mask_at(table, site, shape, dtype):
    """Return 1 where an element stays and 0 where it is dropped, of `shape` and `dtype`, read at a site of `table`."""
    first = site * SITE_ROWS
    rows = 1
    for size in shape[:-1]:
        rows = rows * size
    return table[first : first + rows].reshape(shape).astype(dtype)


class Dropout(nn.Cell):
    """Zero a share of the elements in training and scale the rest by 1 / (1 - rate); identity otherwise.

    Srivastava et al. 2014, JMLR 15(56). `site` counts the uses on the hidden stream of one model, from 0.
    """

    def __init__(self, rate: float, site: int):
        super().__init__()
        self.rate, self.site = rate, site
        self.scale = 1.0 / (1.0 - rate)

    def construct(self, x, noise):
        """x [B, S, D]; `noise` from DropoutNoise, or None outside training."""
        if not self.training or self.rate == 0.0:
            return x
        return x * (mask_at(noise[0], self.site, x.shape, x.dtype) * self.scale)
