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
    first products; gradients of weights and biases are float32, that of x has x's type. Any tensor may stand in the
    places of a gate or of biases that there are not.
    """

    def __init__(self, activation: str, gated: bool, has_bias: bool, rate: float, first_row: int, dtype=mstype.float32):
        super().__init__()
        self.settings = settings(gated, has_bias, ACTIVATIONS.index(activation), rate, first_row)

        def shapes(x, gate, up, *rest):
            return list(x), [*x[:-1], 2 * up[0] if gated else up[0]]

        def grad_shapes(x, gate, up, down, *rest):
            biases = [[weight[0] if has_bias else 1] for weight in (gate, up, down)]
            return (list(x), list(gate), list(up), list(down), *biases)

        self.forward = custom("feed_forward_forward", shapes, lambda *types: (dtype, dtype))
        self.backward = custom("feed_forward_backward", grad_shapes, lambda x, *rest: (x, *[mstype.float32] * 6))

    def construct(self, x_BSD, gate, up, down, gate_bias, up_bias, down_bias, rows, columns):
        """Return ([B, S, D], what is kept); `rows` and `columns` are the words of dropout, or 0 for none."""
        return self.forward(x_BSD, gate, up, down, gate_bias, up_bias, down_bias, rows, columns, self.settings)

    def bprop(self, x_BSD, gate, up, down, gate_bias, up_bias, down_bias, rows, columns, out, grad):
        """Gradients of x, weights and biases."""
        grads = self.backward(x_BSD, gate, up, down, out[1], rows, columns, grad[0], self.settings)
        return grads + (ops.zeros_like(rows), ops.zeros_like(columns))
