"""The feed-forward of a layer on the CPU kernels as one operator.

Shape suffixes: B batch, S sequence, D hidden, F MLP.
"""

from __future__ import annotations

from mindspore import dtype as mstype
from mindspore import nn, ops

from mindformers.kernels.library import custom, settings

ACTIVATIONS = ("gelu", "gelu_tanh", "quick_gelu", "relu", "silu")
"""In the order of `Activation` in csrc/vector/rows.h."""


class FeedForward(nn.Cell):
    """down(dropout(activation(up(x)))), or with a gate down(dropout(activation(gate(x)) * up(x))).

    It is computed in `dtype`, which the result has, and so has what is kept for the backward pass, the result of the
    first products; gradients of weights and biases are float32, that of x has x's type.
    """

    def __init__(self, activation: str, gated: bool, has_bias: bool, rate: float, first_row: int, dtype=mstype.float32):
        super().__init__()
        self.inner = inner = 2 if gated else 1
        self.settings = settings(gated, has_bias, ACTIVATIONS.index(activation), rate, first_row)
        biases = inner + 1 if has_bias else 0

        def shapes(x, *rest):
            return list(x), [*x[:-1], inner * rest[0][0]]

        def grad_shapes(x, *rest):
            weights = rest[: inner + 1]
            return (list(x), *(list(weight) for weight in weights), *([weight[0]] for weight in weights[:biases]))

        def grad_dtypes(x, *rest):
            return (x, *[mstype.float32] * (inner + 1 + biases))

        self.forward = custom("feed_forward_forward", shapes, lambda *types: (dtype, dtype))
        self.backward = custom("feed_forward_backward", grad_shapes, grad_dtypes)

    def construct(self, x_BSD, inner, down, biases, rows, columns):
        """Return ([B, S, D], what is kept).

        `inner` holds the weights gate, if any, and up, `biases` those of all weights or none; `rows` and `columns` the
        words of dropout, or 0 for none.
        """
        return self.forward(x_BSD, *inner, down, *biases, rows, columns, self.settings)

    def bprop(self, x_BSD, inner, down, biases, rows, columns, out, grad):
        """Gradients of x, weights and biases."""
        grads = self.backward(x_BSD, *inner, down, out[1], rows, columns, grad[0], self.settings)
        first, last = 1 + self.inner, 2 + self.inner
        return grads[0], grads[1:first], grads[first], grads[last:], ops.zeros_like(rows), ops.zeros_like(columns)
