"""Multi-head attention: projections around one call that a fused kernel can replace.

Shape suffixes: B batch, T query, S key, D hidden, N heads, K heads of key and value, H head size.
"""

from __future__ import annotations

import math

from mindspore import dtype as mstype
from mindspore import nn, ops

from mindformers.arch.stacks import StackArch
from mindformers.nn import functional
from mindformers.nn.dropout import CROSS, SCORES, PlacedMask, mask_at
from mindformers.nn.fused_attention import FusedAttend
from mindformers.nn.linear import Linear
from mindformers.nn.rope import Rotate


class PlacedAttend(nn.Cell):
    """softmax(scale q k^T + biases) v (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1), with dropout at a rate.

    Two biases exist: one per key (padding, ALiBi), which on one device in float32 is a column more in the product of q
    and k, and, when `has_score_bias`, one per pair of query and key (causal order, relative positions).
    """

    joins_key_bias = False
    """Whether it is that column: MindSpore (2.10) finds no layout for it beside fewer heads of key and value, and
    gathers the heads of all devices."""

    def __init__(
        self, scale: float, has_score_bias: bool = False, rate: float = 0.0, site: int = 0, kind: int = SCORES
    ):
        super().__init__()
        self.scale, self.has_score_bias = scale, has_score_bias
        self.rate, self.site, self.kept_scale = rate, site, 1.0 / (1.0 - rate)
        self.scores = ops.BatchMatMul(transpose_b=True)
        self.softmax = ops.Softmax(-1)
        self.mix = ops.BatchMatMul()
        self.mix_transposed = ops.BatchMatMul(transpose_a=True)
        self.join = ops.Concat(-1)
        self.placed_mask = PlacedMask(rate, kind, site) if functional.is_placed() else None

    def mask(self, key, probs_BNTS):
        """Return 1 for scores that stay and 0 for those that are dropped."""
        return self.placed_mask(key, probs_BNTS)

    def probabilities(self, q_BNTH, k_BNSH, key_bias, score_bias):
        """Return the softmax, [B, N, T, S], summed in float32."""
        q_BNTH = q_BNTH * self.scale
        if self.joins_key_bias and q_BNTH.dtype == mstype.float32:
            bias_BNS1 = ops.broadcast_to(key_bias, k_BNSH.shape[:3] + (1,))
            query = self.join((q_BNTH, ops.ones(q_BNTH.shape[:3] + (1,), q_BNTH.dtype)))
            scores_BNTS = self.scores(query, self.join((k_BNSH, bias_BNS1)))
        else:  # a bias of ALiBi or padding does not fit into half precision
            scores_BNTS = self.scores(q_BNTH, k_BNSH).astype(mstype.float32)
            scores_BNTS = scores_BNTS + ops.broadcast_to(key_bias.swapaxes(2, 3), scores_BNTS.shape)
        if self.has_score_bias:
            scores_BNTS = scores_BNTS + ops.broadcast_to(score_bias, scores_BNTS.shape)
        return self.softmax(scores_BNTS).astype(q_BNTH.dtype)

    def construct(self, q_BNTH, k_BNSH, v_BNSH, key_bias, score_bias, table):
        """Return the context [B, N, T, H].

        key_bias is float32 [B or 1, N or 1, S, 1]; score_bias float32 [B or 1, N or 1, T, S], or any tensor when it
        has no use; table the scores of DropoutNoise.tables, or any tensor when the rate is 0.
        """
        probs_BNTS = self.probabilities(q_BNTH, k_BNSH, key_bias, score_bias)
        if self.rate == 0.0:
            return self.mix(probs_BNTS, v_BNSH)
        kept_BNTS = probs_BNTS * self.mask(table, probs_BNTS)
        return self.mix(kept_BNTS, v_BNSH) * self.kept_scale


class Attend(PlacedAttend):
    """`PlacedAttend` for one device.

    The backward pass is written out for few passes over [B, N, T, S]. Without dropout it takes the row sums of dP * P
    from dO * O (Dao et al. 2022, arXiv:2205.14135, appendix B.2) and subtracts them in the product: at [8, 12, 384,
    32] on CPU forward and backward take 30 ms, 65 to 85 with automatic differentiation. With M the dropout mask and R
    the row sums, dS = P (M dO v^T - R) = (P M) (dO v^T) - P R: the mask need not be kept. Probabilities are stated
    once more instead of taken as a second output: in a graph the compiler merges the two.
    """

    joins_key_bias = True

    def mask(self, table, probs_BNTS):
        """As `PlacedAttend.mask`, read from a table."""
        return mask_at(table, self.site, probs_BNTS.shape, probs_BNTS.dtype)

    def bprop(self, q_BNTH, k_BNSH, v_BNSH, key_bias, score_bias, table, context_BNTH, grad_BNTH):
        """Gradients of q, k, v and the score bias; the rest is not trained."""
        probs_BNTS = self.probabilities(q_BNTH, k_BNSH, key_bias, score_bias)
        row_sum_BNT1 = (grad_BNTH * context_BNTH).sum(-1, keepdims=True)
        if self.rate == 0.0:
            kept_BNTS = probs_BNTS
            one_BNS1 = ops.ones(v_BNSH.shape[:3] + (1,), v_BNSH.dtype)
            centred_BNTS = self.scores(self.join((grad_BNTH, -row_sum_BNT1)), self.join((v_BNSH, one_BNS1)))
            grad_scores_BNTS = probs_BNTS * centred_BNTS
        else:
            kept_BNTS = probs_BNTS * self.mask(table, probs_BNTS)
            grad_BNTH = grad_BNTH * self.kept_scale
            # Spread to full size first: a broadcasting product keeps index tables of four times its output on CPU.
            row_sum_BNTS = ops.broadcast_to(row_sum_BNT1, probs_BNTS.shape)
            grad_scores_BNTS = kept_BNTS * self.scores(grad_BNTH, v_BNSH) - probs_BNTS * row_sum_BNTS
        grad_bias = ops.zeros_like(score_bias)
        if self.has_score_bias:
            grad_bias = self.summed(grad_scores_BNTS.astype(mstype.float32), score_bias.shape)
        return (
            self.mix(grad_scores_BNTS, k_BNSH) * self.scale,
            self.mix_transposed(grad_scores_BNTS, q_BNTH) * self.scale,
            self.mix_transposed(kept_BNTS, grad_BNTH),
            ops.zeros_like(key_bias),
            grad_bias,
            ops.zeros_like(table),
        )

    def summed(self, grad_BNTS, shape):
        """Return the gradient summed over the dimensions in which a bias of `shape` was spread."""
        if shape[0] == 1:
            grad_BNTS = grad_BNTS.sum(0, keepdims=True)
        if shape[1] == 1:
            grad_BNTS = grad_BNTS.sum(1, keepdims=True)
        return grad_BNTS


class Attention(nn.Cell):
    """Attention of x to itself, or to the output of an encoder; `index` counts the layers.

    With fewer heads of key and value than of the query each serves a group of neighbouring query heads (Ainslie et al.
    2023, arXiv:2305.13245). The result is of `dtype`; with kernels x may be float32 beside it.
    """

    def __init__(
        self,
        arch: StackArch,
        index: int,
        has_score_bias: bool = False,
        is_cross: bool = False,
        is_causal: bool = False,
        dtype=mstype.float32,
    ):
        super().__init__()
        self.num_heads, self.kv_heads, self.head_size = arch.num_heads, arch.kv_heads, arch.head_size
        self.width = arch.num_heads * arch.head_size
        self.q = Linear(arch.hidden_size, self.width, arch.qkv_bias)
        self.k = Linear(arch.hidden_size, arch.kv_heads * arch.head_size, arch.qkv_bias)
        self.v = Linear(arch.hidden_size, arch.kv_heads * arch.head_size, arch.qkv_bias)
        self.o = Linear(self.width, arch.hidden_size, arch.out_bias)
        self.scale = 1.0 / math.sqrt(arch.head_size) if arch.scales_scores else 1.0
        self.is_placed = functional.is_placed()
        attend = PlacedAttend if self.is_placed else Attend
        self.attend = attend(self.scale, has_score_bias)
        self.rate = arch.attention_dropout
        self.kind = CROSS if is_cross else SCORES
        self.attend_with_dropout = attend(self.scale, has_score_bias, self.rate, index, self.kind)
        self.rotates = arch.positions == "rotary" and not is_cross
        self.rotate = Rotate(arch.head_size, arch.rotary.interleaved)
        self.swap = ops.Transpose()
        has_kernels = functional.has_kernels(dtype)
        self.fused = FusedAttend(arch, index, is_cross, is_causal, dtype) if has_kernels else None

    def heads(self, x_BTD, count):
        """[B, T, count * H] -> [B, count, T, H]."""
        batch, length = x_BTD.shape[0], x_BTD.shape[1]
        if length == 1:
            return x_BTD.reshape(batch, count, 1, self.head_size)
        return self.swap(x_BTD.reshape(batch, length, count, self.head_size), (0, 2, 1, 3))

    def spread(self, x_BKSH):
        """[B, K, S, H] -> [B, N, S, H]: every head once for each query head of its group."""
        if self.kv_heads == self.num_heads:
            return x_BKSH
        batch, _, length, size = x_BKSH.shape
        group = self.num_heads // self.kv_heads
        wide = ops.broadcast_to(x_BKSH.expand_dims(2), (batch, self.kv_heads, group, length, size))
        return wide.reshape(batch, self.num_heads, length, size)

    def construct(self, x_BTD, source_BSD, key_bias, score_bias=None, rotation=None, noise=None):
        """x attends to `source` (x itself, or an encoder's output) -> [B, T, D].

        Biases as in `Attend`; rotation from RotaryAngles; `noise` from DropoutNoise.tables in training.
        """
        if self.fused is not None:
            fused_BTD = self.fused(x_BTD, source_BSD, self.q, self.k, self.v, key_bias, score_bias, rotation, noise)
            return self.o(fused_BTD)
        q_BNTH = self.query(x_BTD, rotation)
        k_BKSH, v_BKSH = self.keys_values(source_BSD, rotation)
        k_BNSH, v_BNSH = self.spread(k_BKSH), self.spread(v_BKSH)
        if score_bias is None:
            score_bias = key_bias  # not read: the cell was made without a score bias
        if self.training and self.rate > 0.0:
            table = noise if self.is_placed else noise[self.kind]
            context_BNTH = self.attend_with_dropout(q_BNTH, k_BNSH, v_BNSH, key_bias, score_bias, table)
        else:
            context_BNTH = self.attend(q_BNTH, k_BNSH, v_BNSH, key_bias, score_bias, key_bias)
        return self.joined(context_BNTH)

    def query(self, x_BTD, rotation):
        """Return the queries, [B, N, T, H]."""
        q_BNTH = self.heads(self.q(x_BTD), self.num_heads)
        return self.rotate(q_BNTH, rotation[0], rotation[1]) if self.rotates else q_BNTH

    def keys_values(self, source_BSD, rotation):
        """Return keys and values, each [B, K, S, H]."""
        k_BKSH = self.heads(self.k(source_BSD), self.kv_heads)
        v_BKSH = self.heads(self.v(source_BSD), self.kv_heads)
        return (self.rotate(k_BKSH, rotation[0], rotation[1]) if self.rotates else k_BKSH), v_BKSH

    def joined(self, context_BNTH):
        """Return the output projection of the context, [B, T, D]."""
        batch, _, length, _ = context_BNTH.shape
        context_BTNH = context_BNTH if length == 1 else self.swap(context_BNTH, (0, 2, 1, 3))
        return self.o(context_BTNH.reshape(batch, length, self.width))

    def extend(self, x_BTD, cache, places, score_bias, rotation=None):
        """As `construct` for the newest tokens of texts whose keys and values `cache`, a KeyValueCache, holds."""
        k_BKTH, v_BKTH = self.keys_values(x_BTD, rotation)
        return self.joined(cache(self.query(x_BTD, rotation), k_BKTH, v_BKTH, places, score_bias))

    def recall(self, x_BTD, cache, score_bias):
        """As `construct` for an encoder's output whose keys and values `cache` holds."""
        return self.joined(cache.recall(self.query(x_BTD, None), score_bias))
