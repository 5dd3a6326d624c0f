"""A dense layer."""

from __future__ import annotations

from mindspore import Parameter, nn, ops
from mindspore.common.initializer import initializer

from mindformers.nn import functional


class PlacedAffineProduct(nn.Cell):
    """x @ weight.T + bias on matrices of one dtype. BiasAdd, because a broadcasting Add keeps index tables of four
    times its output on CPU (MindSpore 2.10)."""

    def __init__(self):
        super().__init__()
        self.matmul = ops.MatMul(transpose_b=True)
        self.bias_add = ops.BiasAdd()

    def construct(self, x, weight, bias):
        """x [rows, in], weight [out, in], bias [out] -> [rows, out]."""
        return self.bias_add(self.matmul(x, weight), bias)


class AffineProduct(PlacedAffineProduct):
    """`PlacedAffineProduct` for one device.

    The backward pass is written out for the bias: at 3072 rows, 384 to 1536, it takes 34 ms with the bias gradient as
    a product with a row of ones and 47 ms with the operator for it (CPU, MindSpore 2.10).
    """

    def __init__(self):
        super().__init__()
        self.matmul_plain = ops.MatMul()
        self.matmul_transposed = ops.MatMul(transpose_a=True)

    def bprop(self, x, weight, bias, out, grad):
        """Gradients of x, weight and bias."""
        ones = ops.ones((1, x.shape[0]), grad.dtype)
        return (
            self.matmul_plain(grad, weight),
            self.matmul_transposed(grad, x),
            self.matmul_plain(ones, grad).reshape(-1),
        )


class Product(nn.Cell):
    """x @ weight.T on matrices of one dtype."""

    def __init__(self):
        super().__init__()
        self.matmul = ops.MatMul(transpose_b=True)

    def construct(self, x, weight):
        """x [rows, in], weight [out, in] -> [rows, out]."""
        return self.matmul(x, weight)


class Linear(nn.Cell):
    """x @ weight.T + bias over the last dimension; weight [out, in], bias [out] if any, zero until initialized."""

    def __init__(self, in_size: int, out_size: int, bias: bool = True):
        super().__init__()
        self.weight = Parameter(initializer("zeros", (out_size, in_size)), name="weight")
        self.has_bias = bias
        if bias:
            self.bias = Parameter(initializer("zeros", (out_size,)), name="bias")
        affine = PlacedAffineProduct if functional.is_placed() else AffineProduct
        self.product = affine() if bias else Product()
        self.in_size, self.out_size = in_size, out_size

    def construct(self, x):
        """x [..., in] -> [..., out] in x's dtype."""
        rows = x.reshape(-1, self.in_size)
        weight = self.weight.astype(x.dtype)
        out = self.product(rows, weight, self.bias.astype(x.dtype)) if self.has_bias else self.product(rows, weight)
        return out.reshape(x.shape[:-1] + (self.out_size,))
