"""Multi-head attention: projections around one call that a fused kernel can replace.

Shape suffixes: B batch, T query, S key, D hidden, N heads, H head size.
"""

from __future__ import annotations

import math

from mindspore import dtype as mstype
from mindspore import nn, ops

from mindformers.nn.dropout import mask_at
from mindformers.nn.linear import Linear


class Attend(nn.Cell):
    """softmax(q k^T / sqrt(H) + bias) v (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1).

    Written for few passes over [B, N, T, S]: the bias is a column more in the product of q and k; the backward pass
    takes the row sums of dP * P from dO * O (Dao et al. 2022, arXiv:2205.14135, appendix B.2) and subtracts them in
    the same way. At [8, 12, 384, 32] on CPU forward and backward take 30 ms, 65 to 85 with automatic differentiation.
    The backward pass states the probabilities once more instead of taking them as a second output: in a graph the
    compiler merges the two.
    """

    def __init__(self, head_size: int):
        super().__init__()
        self.scale = 1.0 / math.sqrt(head_size)
        self.scores = ops.BatchMatMul(transpose_b=True)
        self.softmax = ops.Softmax(-1)
        self.mix = ops.BatchMatMul()
        self.mix_transposed = ops.BatchMatMul(transpose_a=True)
        self.join = ops.Concat(-1)

    def probabilities(self, q_BNTH, k_BNSH, bias_B1S1):
        """Return softmax(q k^T / sqrt(H) + bias), [B, N, T, S], summed in float32."""
        bias_BNS1 = ops.broadcast_to(bias_B1S1, k_BNSH.shape[:3] + (1,)).astype(k_BNSH.dtype)
        query = self.join((q_BNTH * self.scale, ops.ones(q_BNTH.shape[:3] + (1,), q_BNTH.dtype)))
        scores_BNTS = self.scores(query, self.join((k_BNSH, bias_BNS1)))
        return self.softmax(scores_BNTS.astype(mstype.float32)).astype(q_BNTH.dtype)

    def construct(self, q_BNTH, k_BNSH, v_BNSH, bias_B1S1):
        """bias [B, 1, S, 1] is added to every score of a key (functional.attention_bias) -> context [B, N, T, H]."""
        return self.mix(self.probabilities(q_BNTH, k_BNSH, bias_B1S1), v_BNSH)

    def bprop(self, q_BNTH, k_BNSH, v_BNSH, bias_B1S1, context_BNTH, grad_BNTH):
        """Gradients of q, k and v; the bias is not trained."""
        probs_BNTS = self.probabilities(q_BNTH, k_BNSH, bias_B1S1)
        row_sum_BNT1 = (grad_BNTH * context_BNTH).sum(-1, keepdims=True)
        one_BNS1 = ops.ones(v_BNSH.shape[:3] + (1,), v_BNSH.dtype)
        centred_BNTS = self.scores(self.join((grad_BNTH, -row_sum_BNT1)), self.join((v_BNSH, one_BNS1)))
        grad_scores_BNTS = probs_BNTS * centred_BNTS
        return (
            self.mix(grad_scores_BNTS, k_BNSH) * self.scale,
            self.mix_transposed(grad_scores_BNTS, q_BNTH) * self.scale,
            self.mix_transposed(probs_BNTS, grad_BNTH),
            ops.zeros_like(bias_B1S1),
        )


class AttendWithDropout(Attend):
    """`Attend` in training: a share of the probabilities is dropped and the rest scaled by 1 / (1 - rate).

    The scale is applied to the context, the smaller tensor.
    """

    def __init__(self, head_size: int, rate: float, site: int):
        super().__init__(head_size)
        self.kept_scale = 1.0 / (1.0 - rate)
        self.site = site

    def construct(self, q_BNTH, k_BNSH, v_BNSH, bias_B1S1, table):
        """table: the second output of DropoutNoise -> context [B, N, T, H]."""
        probs_BNTS = self.probabilities(q_BNTH, k_BNSH, bias_B1S1)
        kept_BNTS = probs_BNTS * mask_at(table, self.site, probs_BNTS.shape, probs_BNTS.dtype)
        return self.mix(kept_BNTS, v_BNSH) * self.kept_scale

    def bprop(self, q_BNTH, k_BNSH, v_BNSH, bias_B1S1, table, context_BNTH, grad_BNTH):
        """Gradients of q, k and v; the rest is not trained.

        With M the mask and D the row sums, dS = P (M dO v^T - D) = (P M) (dO v^T) - P D: the mask itself need not
        be kept. D is spread to full size first, because a broadcasting operator on CPU is slower and keeps index
        tables of four times its output (MindSpore 2.10).
        """
        probs_BNTS = self.probabilities(q_BNTH, k_BNSH, bias_B1S1)
        kept_BNTS = probs_BNTS * mask_at(table, self.site, probs_BNTS.shape, probs_BNTS.dtype)
        row_sum_BNT1 = (grad_BNTH * context_BNTH).sum(-1, keepdims=True)
        row_sum_BNTS = ops.broadcast_to(row_sum_BNT1, probs_BNTS.shape)
        grad_BNTH = grad_BNTH * self.kept_scale
        grad_scores_BNTS = kept_BNTS * self.scores(grad_BNTH, v_BNSH) - probs_BNTS * row_sum_BNTS
        return (
            self.mix(grad_scores_BNTS, k_BNSH) * self.scale,
            self.mix_transposed(grad_scores_BNTS, q_BNTH) * self.scale,
            self.mix_transposed(kept_BNTS, grad_BNTH),
            ops.zeros_like(bias_B1S1),
            ops.zeros_like(table),
        )


class Attention(nn.Cell):
    """Self-attention with q, k, v and output projections."""

    def __init__(self, hidden_size: int, num_heads: int, dropout: float, site: int):
        super().__init__()
        head_size = hidden_size // num_heads
        self.q = Linear(hidden_size, hidden_size)
        self.k = Linear(hidden_size, hidden_size)
        self.v = Linear(hidden_size, hidden_size)
        self.o = Linear(hidden_size, hidden_size)
        self.attend = Attend(head_size)
        self.attend_with_dropout = AttendWithDropout(head_size, dropout, site)
        self.rate = dropout
        self.num_heads, self.head_size, self.hidden_size = num_heads, head_size, hidden_size
        self.swap = ops.Transpose()

    def heads(self, x_BTD):
        """[B, T, D] -> [B, N, T, H]."""
        batch, length = x_BTD.shape[0], x_BTD.shape[1]
        return self.swap(x_BTD.reshape(batch, length, self.num_heads, self.head_size), (0, 2, 1, 3))

    def construct(self, x_BTD, bias, noise=None):
        """x [B, T, D], bias [B, 1, T, 1] (functional.attention_bias) -> [B, T, D]; `noise` in training."""
        q_BNTH, k_BNSH, v_BNSH = self.heads(self.q(x_BTD)), self.heads(self.k(x_BTD)), self.heads(self.v(x_BTD))
        if self.training and self.rate > 0.0:
            context_BNTH = self.attend_with_dropout(q_BNTH, k_BNSH, v_BNSH, bias, noise[1])
        else:
            context_BNTH = self.attend(q_BNTH, k_BNSH, v_BNSH, bias)
        return self.o(self.swap(context_BNTH, (0, 2, 1, 3)).reshape(x_BTD.shape))
