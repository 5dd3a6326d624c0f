"""x @ weight.T + bias on the CPU kernels, for one weight or for several that read the same x.

Shape suffixes: none; x [..., in], weights float32 [out, in], biases float32 [out].
"""

from __future__ import annotations

from typing import Any, Optional

from mindspore import dtype as mstype
from mindspore import nn

from mindformers.kernels.library import custom, settings


class Linear(nn.Cell):
    """The product as one operator; of several weights the results stand side by side.

    It is computed in `dtype`, by default x's, to which x and the weights are rounded inside the kernel, and which the
    result has; gradients of weights and biases are float32, that of x has x's type.
    """

    def __init__(self, weights: int, has_bias: bool, dtype: Optional[Any] = None):
        super().__init__()
        self.weights, self.has_bias = weights, has_bias
        self.settings = settings(weights, has_bias)
        biases = weights if has_bias else 0

        def out_shape(x, *rest):
            return (*x[:-1], sum(weight[0] for weight in rest[:weights]))

        def grad_shapes(x, *rest):
            return (list(x), *(list(weight) for weight in rest[:weights]), *([weight[0]] for weight in rest[:biases]))

        def grad_dtypes(x, *rest):
            return (x, *[mstype.float32] * (weights + biases))

        self.forward = custom("linear_forward", out_shape, lambda x, *rest: dtype or x)
        self.backward = custom("linear_backward", grad_shapes, grad_dtypes)

    def construct(self, x, weights, biases):
        """x, a tuple of weights, one of biases, empty when there are none -> [..., sum of out]."""
        return self.forward(x, *weights, *biases, self.settings)

    def bprop(self, x, weights, biases, out, grad):
        """Gradients of x, weights and biases."""
        grads = self.backward(x, *weights, grad, self.settings)
        return grads[0], grads[1 : 1 + self.weights], grads[1 + self.weights :]
