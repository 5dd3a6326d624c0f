"""A dense layer."""

from __future__ import annotations

from mindspore import Parameter, nn, ops
from mindspore import dtype as mstype
from mindspore.common.initializer import initializer

from mindformers.kernels import linear as kernels
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


class TableProduct(Product):
    """`Product` with a large table, which a kernel reads once as it lies."""

    def __init__(self):
        super().__init__()
        self.kernel = kernels.Linear(1, False) if functional.has_kernels() else None

    def construct(self, x, weight):
        """As `Product`."""
        if self.kernel is not None:
            return self.kernel(x, (weight,), ())
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
        self.kernel = kernels.Linear(1, bias) if functional.has_kernels() else None

    def construct(self, x):
        """x [..., in] -> [..., out] in x's dtype."""
        if self.kernel is not None:
            return self.kernel(x, *side_by_side((self,)))
        rows = x.reshape(-1, self.in_size)
        weight = self.weight.astype(x.dtype)
        out = self.product(rows, weight, self.bias.astype(x.dtype)) if self.has_bias else self.product(rows, weight)
        return out.reshape(x.shape[:-1] + (self.out_size,))


def side_by_side(layers):
    """Return the weights of some layers and their biases, as kernels read them, in two tuples."""
    weights, biases = (), ()
    for layer in layers:
        weights += (for_kernel(layer.weight),)
        if layer.has_bias:
            biases += (for_kernel(layer.bias),)
    return weights, biases


def for_kernel(parameter):
    """Return a parameter as kernels read it."""
    return parameter if parameter.dtype == mstype.float32 else parameter.astype(mstype.float32)
