"""Layer norm, alone and at the end of a residual branch, and root mean square norm. Sums are float32 always.

Shape suffixes: B batch, S sequence, D hidden.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore import dtype as mstype
from mindspore.common.initializer import initializer

from mindformers.kernels import norm as kernels
from mindformers.nn import functional
from mindformers.nn.dropout import HIDDEN, SITE_ROWS, Dropout, words_of

WIDE, NARROW = Tensor([0.0], mstype.float32), Tensor([0.0], mstype.bfloat16)
"""What kernels are told the type of their result by."""


class ComposedNorm(nn.Cell):
    """ops.LayerNorm from plain operators: (normalised x, ), to be called with x [..., D], weight and bias [D]."""

    def __init__(self, eps: float):
        super().__init__()
        self.eps = eps

    def construct(self, x, weight, bias):
        """Centre, divide by the standard deviation, scale and shift."""
        centred = x - x.mean(-1, keep_dims=True)
        variance = (centred * centred).mean(-1, keep_dims=True)
        return (centred * ops.rsqrt(variance + self.eps) * weight + bias,)


class LayerNorm(nn.Cell):
    """Layer norm over the last dimension (Ba et al. 2016, arXiv:1607.06450); weight and bias [D]."""

    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = Parameter(initializer("ones", (size,)), name="weight")
        self.bias = Parameter(initializer("zeros", (size,)), name="bias")
        # In PyNative mode the gradient of MindSpore 2.10's own operator fails ("index 7 is out of range").
        fused = ms.get_context("mode") == ms.GRAPH_MODE
        self.norm = ops.LayerNorm(-1, -1, eps) if fused else ComposedNorm(eps)
        self.kernel = kernels.Norm(True, eps) if functional.has_kernels() else None

    def construct(self, x, dtype=None):
        """x [..., D] -> the same shape in `dtype`, by default x's."""
        if self.kernel is not None:
            weight, bias = self.weight.astype(mstype.float32), self.bias.astype(mstype.float32)
            return self.kernel(x, weight, bias, NARROW if dtype == mstype.bfloat16 else WIDE)
        return functional.layer_norm(x, self.weight, self.bias, self.norm)


class RMSNorm(nn.Cell):
    """Root mean square norm over the last dimension (Zhang and Sennrich 2019, arXiv:1910.07467); weight [D]."""

    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = Parameter(initializer("ones", (size,)), name="weight")
        self.eps = eps
        self.kernel = kernels.Norm(False, eps) if functional.has_kernels() else None

    def construct(self, x, dtype=None):
        """x [..., D] -> the same shape in `dtype`, by default x's."""
        if self.kernel is not None:
            weight = self.weight.astype(mstype.float32)
            return self.kernel(x, weight, weight, NARROW if dtype == mstype.bfloat16 else WIDE)
        return functional.rms_norm(x, self.weight, self.eps)


def norm(kind: str, size: int, eps: float) -> nn.Cell:
    """Return the cell of an `arch.stacks.Norm` name."""
    return {"layer_norm": LayerNorm, "rms_norm": RMSNorm}[kind](size, eps)


class ResidualNorm(LayerNorm):
    """norm(residual + dropout(branch)): the end of each sub-layer of a post-norm block, one cell for one kernel."""

    def __init__(self, size: int, eps: float, dropout: float, site: int):
        super().__init__(size, eps)
        self.dropout = Dropout(dropout, site)
        self.add = ops.Add()
        if functional.has_kernels():
            self.kernel = kernels.ResidualNorm(eps, dropout, site * SITE_ROWS)

    def construct(self, branch_BSD, residual_BSD, noise=None):
        """Both [B, S, D]; `noise` from DropoutNoise in training."""
        if self.kernel is not None:
            rows, columns = words_of(noise, HIDDEN, self.training)
            weight, bias = self.weight.astype(mstype.float32), self.bias.astype(mstype.float32)
            return self.kernel(branch_BSD, residual_BSD, weight, bias, rows, columns)
        summed_BSD = self.add(residual_BSD, self.dropout(branch_BSD, noise))
        return functional.layer_norm(summed_BSD, self.weight, self.bias, self.norm)
