"""A dense layer."""

from __future__ import annotations

from mindspore import Parameter, nn, ops
from mindspore import dtype as mstype
from mindspore.common.initializer import initializer

from mindformers.kernels import linear as kernels
from mindformers.kernels.library import NOTHING
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
        self.kernel = kernels.Linear(False) if functional.has_kernels() else None

    def construct(self, x, weight):
        """As `Product`, with a table of any type."""
        if self.kernel is not None:
            return self.kernel(x, for_kernel(weight), NOTHING)
        return self.matmul(x, weight.astype(x.dtype))


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
        self.kernel = kernels.Linear(bias) if functional.has_kernels() else None

    def construct(self, x):
        """x [..., in] -> [..., out] in x's dtype."""
        if self.kernel is not None:
            return self.kernel(x, for_kernel(self.weight), self.bias_for_kernel())
        rows = x.reshape(-1, self.in_size)
        weight = self.weight.astype(x.dtype)
        out = self.product(rows, weight, self.bias.astype(x.dtype)) if self.has_bias else self.product(rows, weight)
        return out.reshape(x.shape[:-1] + (self.out_size,))

    def bias_for_kernel(self):
        """Return the bias as kernels read it, or what stands in its place."""
        return for_kernel(self.bias) if self.has_bias else NOTHING


def triple(kernel, x, first, second, third):
    """Return what three layers make of the same x, side by side."""
    return kernel(
        x,
        for_kernel(first.weight),
        for_kernel(second.weight),
        for_kernel(third.weight),
        first.bias_for_kernel(),
        second.bias_for_kernel(),
        third.bias_for_kernel(),
    )


def pair(kernel, x, first, second):
    """Return what two layers make of the same x, side by side."""
    return kernel(
        x, for_kernel(first.weight), for_kernel(second.weight), first.bias_for_kernel(), second.bias_for_kernel()
    )


def for_kernel(parameter):
    """Return the value of a parameter of a product in a type that kernels read, which changes at most float16.

    A parameter itself is read anew in the backward pass, and MindSpore (2.10) copies what is read twice.
    """
    return parameter.astype(mstype.float32 if parameter.dtype == mstype.float16 else parameter.dtype)
