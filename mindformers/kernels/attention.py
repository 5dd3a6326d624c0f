"""Attention on the CPU kernels: no scores in memory, no heads transposed.

Shape suffixes: B batch, T query, S key, N heads, K heads of key and value, H head size.
"""

from __future__ import annotations

from dataclasses import dataclass

from mindspore import dtype as mstype
from mindspore import nn, ops

from mindformers.kernels.library import custom, settings

NO_ROTARY, HALVES, INTERLEAVED = range(3)
"""How pairs of rotary positions lie in a head."""


@dataclass(frozen=True)
class Form:
    """What one use of attention is; sizes are counts."""

    heads: int
    kv_heads: int
    size: int
    """Of one head."""
    scale: float
    """Of the scores."""
    is_causal: bool = False
    has_score_bias: bool = False
    trains_score_bias: bool = False
    rotary: int = NO_ROTARY
    rate: float = 0.0
    """Share of dropped probabilities."""
    first_row: int = 0
    """First row of dropout's words."""

    def settings(self, places):
        """Return the settings of the operators; `places` says where queries, keys and values begin in a row."""
        return settings(
            self.heads,
            self.kv_heads,
            self.size,
            *places,
            self.scale,
            self.is_causal,
            self.has_score_bias,
            self.trains_score_bias,
            self.rotary,
            self.rate,
            self.first_row,
        )


class SelfAttention(nn.Cell):
    """Attention of a sequence to itself; queries, keys and values stand side by side in one tensor."""

    def __init__(self, form: Form):
        super().__init__()
        width, kv_width = form.heads * form.size, form.kv_heads * form.size
        self.settings = form.settings((0, width, width + kv_width))
        self.trains_score_bias = form.trains_score_bias
        self.forward = _forward(form)

        def grad_shapes(packed, _, key_bias, score_bias, *rest):
            return (list(packed), list(score_bias)) if form.trains_score_bias else list(packed)

        def grad_dtypes(packed, *rest):
            return (packed, mstype.float32) if form.trains_score_bias else packed

        self.backward = custom("attention_backward", grad_shapes, grad_dtypes)

    def construct(self, packed_BTW, key_bias, score_bias, cosines, sines, rows, columns):
        """Return (context [B, T, N * H], what is kept), of packed [B, T, (N + 2 K) * H].

        key_bias is float32 [1 or B, 1 or N, S, 1], score_bias float32 [1 or B, 1 or N, T, S], cosines and sines float32
        [1 or B, 1, T, H], `rows` and `columns` the words of dropout; what the form has no use for may be any tensor of
        the type.
        """
        return self.forward(packed_BTW, packed_BTW, key_bias, score_bias, cosines, sines, rows, columns, self.settings)

    def bprop(self, packed_BTW, key_bias, score_bias, cosines, sines, rows, columns, out, grad):
        """Gradients of the packed tensor and a trained score bias."""
        grads = self.backward(
            packed_BTW,
            packed_BTW,
            key_bias,
            score_bias,
            cosines,
            sines,
            rows,
            columns,
            out[0],
            out[1],
            grad[0],
            self.settings,
        )
        grad_bias = grads[1] if self.trains_score_bias else ops.zeros_like(score_bias)
        return (
            grads[0] if self.trains_score_bias else grads,
            ops.zeros_like(key_bias),
            grad_bias,
            ops.zeros_like(cosines),
            ops.zeros_like(sines),
            ops.zeros_like(rows),
            ops.zeros_like(columns),
        )


class CrossAttention(nn.Cell):
    """Attention of one sequence to another, whose keys and values stand side by side in one tensor."""

    def __init__(self, form: Form):
        super().__init__()
        self.settings = form.settings((0, 0, form.kv_heads * form.size))
        self.forward = _forward(form)
        self.backward = custom(
            "attention_backward", lambda q, kv, *rest: (list(q), list(kv)), lambda q, kv, *rest: (q, kv)
        )

    def construct(self, q_BTW, kv_BSW, key_bias, rows, columns):
        """Return (context [B, T, N * H], what is kept), of q [B, T, N * H] and kv [B, S, 2 K * H]."""
        return self.forward(q_BTW, kv_BSW, key_bias, key_bias, key_bias, key_bias, rows, columns, self.settings)

    def bprop(self, q_BTW, kv_BSW, key_bias, rows, columns, out, grad):
        """Gradients of queries, keys and values."""
        unused = key_bias
        grads = self.backward(
            q_BTW, kv_BSW, key_bias, unused, unused, unused, rows, columns, out[0], out[1], grad[0], self.settings
        )
        return grads[0], grads[1], ops.zeros_like(key_bias), ops.zeros_like(rows), ops.zeros_like(columns)


def _forward(form: Form) -> ops.Custom:
    def shapes(q, *rest):
        return [q[0], q[1], form.heads * form.size], [q[0], form.heads, q[1], 2]

    return custom("attention_forward", shapes, lambda q, *rest: (q, mstype.float32))
