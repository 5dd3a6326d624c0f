"""Dropout whose masks are a function of (seed, step, site, position): repeatable, and resumable bit for bit.

MindSpore's own dropout draws from a generator inside the kernel that no checkpoint can hold, and is the slowest
operator of an attention layer on CPU. Here a counter in the model picks the masks of a step; each mask bit compares a
product modulo 2^32 of three odd words, hashed from the row, the column and the site, with the rate (multiplicative
hashing: Dietzfelbinger et al. 1997, J. Algorithms 25(1)). Products are of signed words: unsigned ones are slow on CPU.

Shapes: B batch, S sequence, N heads, D hidden.
"""
from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore import dtype as mstype

GOLDEN = 0x9E3779B9
"""2^32 / golden ratio: spreads consecutive counters over all bits."""


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


class DropoutNoise(nn.Cell):
    """The random words of one training step, and the counter they come from.

    `state` is an int32 parameter (seed, steps taken): it is saved with a training checkpoint and never trained.
    Ranks that read different data should get different seeds: `set_seed(seed + rank)`.
    """

    def __init__(self, hidden_size: int, num_heads: int, seed: int):
        super().__init__()
        self.hidden_size, self.num_heads = hidden_size, num_heads
        self.state = Parameter(Tensor([seed % 2**31, 0], mstype.int32), name="state", requires_grad=False)
        self.one_step = Tensor([0, 1], mstype.int32)
        self.advance = ops.AssignAdd()

    def set_seed(self, seed: int) -> None:
        """Start the masks anew from `seed`."""
        self.state.set_data(Tensor([seed % 2**31, 0], mstype.int32))

    def construct(self, batch, seq):
        """Return int32 words (rows [B, S, 1], columns [B, S, D]) for the hidden stream and (rows [B, N, S, 1],
        columns [B, N, S, S]) for attention scores, and count a step. Columns are repeated over the rows."""
        words = self.state.astype(mstype.uint32)
        key = scramble(words[1] * Tensor(GOLDEN, mstype.uint32) + scramble(words[0]))
        self.advance(self.state, ops.depend(self.one_step, key))
        heads, size = self.num_heads, self.hidden_size
        return (odd_words(batch * seq, key, 1).reshape(batch, seq, 1),
                ops.broadcast_to(odd_words(size, key, 2), (batch, seq, size)),
                odd_words(batch * heads * seq, key, 3).reshape(batch, heads, seq, 1),
                ops.broadcast_to(odd_words(seq, key, 4), (batch, heads, seq, seq)))


class KeepMask(nn.Cell):
    """Draw which elements stay, as bool; each stays with probability 1 - rate.

    `site` is a number that differs between all uses of dropout in a model.
    """

    def __init__(self, rate: float, site: int):
        super().__init__()
        factor = int(np.random.Generator(np.random.PCG64(site)).integers(-2**31, 2**31)) | 1
        self.factor = Tensor(factor, mstype.int32)
        self.kept_from = Tensor(int(rate * 2**32) - 2**31, mstype.int32)
        self.multiply = ops.Mul()
        self.compare = ops.GreaterEqual()

    def construct(self, rows, columns):
        """rows [..., 1] and columns [..., S] of DropoutNoise -> bool [..., S].

        Rows are spread to full size before the product: a broadcasting operator is slower on CPU and keeps index
        tables of four times its output (MindSpore 2.10).
        """
        words = self.multiply(ops.broadcast_to(rows * self.factor, columns.shape), columns)
        return self.compare(words, self.kept_from)


class Dropout(nn.Cell):
    """Zero a share of the elements in training and scale the rest by 1 / (1 - rate); identity otherwise.

    Srivastava et al. 2014, JMLR 15(56).
    """

    def __init__(self, rate: float, site: int):
        super().__init__()
        self.rate = rate
        self.scale = 1.0 / (1.0 - rate)
        self.keep = KeepMask(rate, site)

    def construct(self, x, noise):
        """x [B, S, D]; `noise` from DropoutNoise, or None outside training."""
        if not self.training or self.rate == 0.0:
            return x
        keep = self.keep(noise[0], noise[1]).astype(x.dtype)
        return x * (keep * self.scale)
