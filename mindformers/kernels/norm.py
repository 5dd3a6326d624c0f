"""Norms, dropout and residual sums on the CPU kernels.

The residual stream is float32; branches beside it may be bfloat16. Words of dropout that begin with 0 drop nothing.
Shape suffixes: none; activations [..., D], parameters float32 [D].
"""

from __future__ import annotations

from mindspore import dtype as mstype
from mindspore import nn, ops

from mindformers.kernels.library import custom, settings


class Norm(nn.Cell):
    """Layer norm, or root mean square norm when not `is_centred`, of a float32 x."""

    def __init__(self, is_centred: bool, eps: float):
        super().__init__()
        self.is_centred = is_centred
        self.settings = settings(is_centred, False, eps, 0.0, 0)
        parameters = 2 if is_centred else 1

        def grad_shapes(x, _, weight, *rest):
            return (list(x), *[list(weight)] * parameters)

        def grad_dtypes(x, *rest):
            return (x, *[mstype.float32] * parameters)

        self.forward = custom("norm_forward", lambda x, *rest: list(x), lambda x, like, *rest: like)
        self.backward = custom("norm_backward", grad_shapes, grad_dtypes)

    def construct(self, x, weight, bias, like):
        """x [..., D] -> the same shape in the type of `like`; without centring `bias` may be any tensor."""
        return self.forward(x, like, weight, bias, weight, weight, self.settings)

    def bprop(self, x, weight, bias, like, out, grad):
        """Gradients of x, weight and bias."""
        grads = self.backward(x, x, weight, weight, weight, grad, self.settings)
        return grads[0], grads[1], grads[2] if self.is_centred else ops.zeros_like(bias), ops.zeros_like(like)


class ResidualNorm(nn.Cell):
    """layer norm(residual + dropout(branch)), float32."""

    def __init__(self, eps: float, rate: float, first_row: int):
        super().__init__()
        self.settings = settings(True, True, eps, rate, first_row)

        def grad_shapes(residual, branch, weight, *rest):
            return list(residual), list(weight), list(branch), list(weight)

        def grad_dtypes(residual, branch, *rest):
            return residual, mstype.float32, branch, mstype.float32

        self.forward = custom("norm_forward", lambda residual, *rest: list(residual), lambda *types: mstype.float32)
        self.backward = custom("norm_backward", grad_shapes, grad_dtypes)

    def construct(self, branch, residual, weight, bias, rows, columns):
        """Both [..., D] -> [..., D]; `rows` and `columns` are the words of dropout."""
        return self.forward(residual, branch, weight, bias, rows, columns, self.settings)

    def bprop(self, branch, residual, weight, bias, rows, columns, out, grad):
        """Gradients of branch, residual, weight and bias."""
        grads = self.backward(residual, branch, weight, rows, columns, grad, self.settings)
        return grads[2], grads[0], grads[1], grads[3], ops.zeros_like(rows), ops.zeros_like(columns)


class Dropout(nn.Cell):
    """x times the mask of a site, of x's type; float32."""

    def __init__(self, rate: float, first_row: int):
        super().__init__()
        self.settings = settings(rate, first_row)
        self.drop = custom("dropout", lambda x, *rest: list(x), lambda *types: mstype.float32)

    def construct(self, x, rows, columns):
        """x [..., D] -> the same shape."""
        return self.drop(x, rows, columns, self.settings)

    def bprop(self, x, rows, columns, out, grad):
        """The gradient is masked alike."""
        return self.drop(grad, rows, columns, self.settings), ops.zeros_like(rows), ops.zeros_like(columns)


class Add(nn.Cell):
    """residual + dropout(branch), float32, with a branch of `dtype`."""

    def __init__(self, rate: float, first_row: int, dtype):
        super().__init__()
        self.settings = settings(rate, first_row)
        self.add = custom("add", lambda residual, *rest: list(residual), lambda *types: mstype.float32)
        self.drop = custom("dropout", lambda grad, *rest: list(grad), lambda *types: dtype)

    def construct(self, residual, branch, rows, columns):
        """Both [..., D] -> [..., D]."""
        return self.add(residual, branch, rows, columns, self.settings)

    def bprop(self, residual, branch, rows, columns, out, grad):
        """The residual's gradient is the result's, the branch's is masked."""
        grad_branch = self.drop(grad, rows, columns, self.settings)
        return grad, grad_branch, ops.zeros_like(rows), ops.zeros_like(columns)
