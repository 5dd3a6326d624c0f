"""The position-wise feed-forward of a transformer layer.

Shape suffixes: B batch, S sequence, D hidden, F MLP.
"""

from __future__ import annotations

from mindspore import dtype as mstype
from mindspore import nn

from mindformers.arch.stacks import StackArch
from mindformers.kernels import feed_forward as kernels
from mindformers.nn import functional
from mindformers.nn.dropout import MLP, SITE_ROWS, Dropout, words_of
from mindformers.nn.linear import Linear, side_by_side


class FeedForward(nn.Cell):
    """down(activation(up(x))) (Vaswani et al. 2017, arXiv:1706.03762, section 3.3); `index` counts the layers."""

    is_gated = False

    def __init__(self, arch: StackArch, index: int):
        super().__init__()
        self.up = Linear(arch.hidden_size, arch.intermediate_size, arch.mlp_bias)
        self.down = Linear(arch.intermediate_size, arch.hidden_size, arch.mlp_bias)
        self.activation = functional.activation(arch.activation)
        self.dropout = Dropout(arch.mlp_dropout, index, MLP)
        self.rate = arch.mlp_dropout
        self.kernel, self.kernel_in_training = None, None
        if functional.infers_on_kernels():
            choices = arch.activation, self.is_gated, arch.mlp_bias
            self.kernel = kernels.FeedForward(*choices, 0.0, 0)
            self.kernel_in_training = kernels.FeedForward(*choices, self.rate, index * SITE_ROWS)

    def construct(self, x_BSD, noise=None):
        """[B, S, D] -> [B, S, D], through [B, S, F]."""
        if self.is_fused(x_BSD):
            return self.fused(x_BSD, (self.up,), noise)
        return self.down(self.dropout(self.activation(self.up(x_BSD)), noise))

    def is_fused(self, x_BSD):
        """Say whether there is a kernel for x: in bfloat16 always, in float32 outside training."""
        if self.kernel is None:
            return False
        return x_BSD.dtype == mstype.bfloat16 or (x_BSD.dtype == mstype.float32 and not self.training)

    def fused(self, x_BSD, inner, noise):
        """Return what `construct` returns, by one kernel; `inner` are the layers before the activation."""
        weights, biases = side_by_side((*inner, self.down))
        drops = self.training and self.rate > 0.0
        kernel = self.kernel_in_training if drops else self.kernel
        return kernel(x_BSD, weights[:-1], weights[-1], biases, *words_of(noise, MLP, drops))[0]


class GatedFeedForward(FeedForward):
    """down(activation(gate(x)) * up(x)) (Shazeer 2020, arXiv:2002.05202, section 2)."""

    is_gated = True

    def __init__(self, arch: StackArch, index: int):
        super().__init__(arch, index)
        self.gate = Linear(arch.hidden_size, arch.intermediate_size, arch.mlp_bias)

    def construct(self, x_BSD, noise=None):
        """[B, S, D] -> [B, S, D], through two of [B, S, F]."""
        if self.is_fused(x_BSD):
            return self.fused(x_BSD, (self.gate, self.up), noise)
        return self.down(self.dropout(self.activation(self.gate(x_BSD)) * self.up(x_BSD), noise))
