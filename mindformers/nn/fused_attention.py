"""Attention by the kernels of the CPU, projections of its inputs included.

Shape suffixes: B batch, T query, S key, D hidden, N heads, K heads of key and value, H head size.
"""

from __future__ import annotations

import math
from dataclasses import replace

from mindspore import nn

from mindformers.arch.stacks import StackArch
from mindformers.kernels.attention import HALVES, INTERLEAVED, NO_ROTARY, CrossAttention, Form, SelfAttention
from mindformers.kernels.library import NOTHING
from mindformers.kernels.linear import Linear, LinearPair, LinearTriple
from mindformers.nn.dropout import CROSS, SCORES, SITE_ROWS, words_of
from mindformers.nn.linear import for_kernel, pair, triple


class FusedAttend(nn.Cell):
    """The context of `nn.attention.Attention`, before its output projection, computed in `dtype`.

    Queries, keys and values stay side by side as their one product leaves them, and no scores are kept. In a causal
    order a bias of scores need not say it.
    """

    def __init__(self, arch: StackArch, index: int, is_cross: bool, is_causal: bool, dtype):
        super().__init__()
        self.kind, self.is_cross = CROSS if is_cross else SCORES, is_cross
        rotates = arch.positions == "rotary" and not is_cross
        form = Form(
            heads=arch.num_heads,
            kv_heads=arch.kv_heads,
            size=arch.head_size,
            scale=1.0 / math.sqrt(arch.head_size) if arch.scales_scores else 1.0,
            is_causal=is_causal,
            rotary=(INTERLEAVED if arch.rotary.interleaved else HALVES) if rotates else NO_ROTARY,
            rate=arch.attention_dropout,
            first_row=index * SITE_ROWS,
        )
        if is_cross:
            self.project_q, self.project = Linear(arch.qkv_bias, dtype), LinearPair(arch.qkv_bias, dtype)
            self.attend = CrossAttention(form)
        else:
            self.project = LinearTriple(arch.qkv_bias, dtype)
            self.attend = SelfAttention(form)
            trains = arch.positions == "relative"
            self.attend_biased = SelfAttention(replace(form, has_score_bias=True, trains_score_bias=trains))

    def construct(self, x_BTD, source_BSD, q, k, v, key_bias, score_bias, rotation, noise):
        """Return the context, [B, T, N * H]; q, k and v are the layers of queries, keys and values."""
        rows, columns = words_of(noise, self.kind, self.training)
        if self.is_cross:
            q_BTD = self.project_q(x_BTD, for_kernel(q.weight), q.bias_for_kernel())
            return self.attend(q_BTD, pair(self.project, source_BSD, k, v), key_bias, rows, columns)[0]
        packed_BTD = triple(self.project, x_BTD, q, k, v)
        cosines, sines = (NOTHING, NOTHING) if rotation is None else rotation
        if score_bias is None:
            return self.attend(packed_BTD, key_bias, NOTHING, cosines, sines, rows, columns)[0]
        return self.attend_biased(packed_BTD, key_bias, score_bias, cosines, sines, rows, columns)[0]
