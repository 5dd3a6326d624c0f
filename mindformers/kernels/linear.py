"""x @ weight.T + bias on the CPU kernels, for one weight or for several that read the same x.

Shape suffixes: none; x [..., in], weights float32, bfloat16 or int8 with scales (nn.quantize) [out, in], biases [out].
"""

from __future__ import annotations

from typing import Any, Optional

from mindspore import dtype as mstype
from mindspore import nn

from mindformers.kernels.library import custom, settings


class Product(nn.Cell):
    """Base of the cells here, one for each number of weights: tuples of them would cost more to compile.

    The product is computed in `dtype`, by default x's, to which x and the weights are rounded inside the kernel, and
    which the result has; of several weights the results stand side by side. Gradients of weights and biases are
    float32, that of x has x's type. Without biases any tensor may stand in their places.
    """

    weights = 1

    def __init__(self, has_bias: bool, dtype: Optional[Any] = None):
        super().__init__()
        number = self.weights
        self.settings = settings(number, has_bias)

        def out_shape(x, *rest):
            return (*x[:-1], sum(weight[0] for weight in rest[:number]))

        def grad_shapes(x, *rest):
            biases = [[weight[0] if has_bias else 1] for weight in rest[:number]]
            return (list(x), *(list(weight) for weight in rest[:number]), *biases)

        def grad_dtypes(x, *rest):
            return (x, *[mstype.float32] * (2 * number))

        self.forward = custom("linear_forward", out_shape, lambda x, *rest: dtype or x)
        self.backward = custom("linear_backward", grad_shapes, grad_dtypes)


class Linear(Product):
    """The product with one weight."""

    def construct(self, x, weight, bias):
        """Return [..., out]."""
        return self.forward(x, weight, bias, self.settings)

    def bprop(self, x, weight, bias, out, grad):
        """Gradients of x, weight and bias."""
        return self.backward(x, weight, grad, self.settings)


class LinearPair(Product):
    """The products with two weights, as of keys and values."""

    weights = 2

    def construct(self, x, first, second, first_bias, second_bias):
        """Return [..., sum of out]."""
        return self.forward(x, first, second, first_bias, second_bias, self.settings)

    def bprop(self, x, first, second, first_bias, second_bias, out, grad):
        """Gradients of x, weights and biases."""
        return self.backward(x, first, second, grad, self.settings)


class LinearTriple(Product):
    """The products with three weights, as of queries, keys and values."""

    weights = 3

    def construct(self, x, first, second, third, first_bias, second_bias, third_bias):
        """Return [..., sum of out]."""
        return self.forward(x, first, second, third, first_bias, second_bias, third_bias, self.settings)

    def bprop(self, x, first, second, third, first_bias, second_bias, third_bias, out, grad):
        """Gradients of x, weights and biases."""
        return self.backward(x, first, second, third, grad, self.settings)
