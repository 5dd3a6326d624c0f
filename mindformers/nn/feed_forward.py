"""The position-wise feed-forward of a transformer layer.

Shape suffixes: B batch, S sequence, D hidden, F MLP.
"""

from __future__ import annotations

from mindspore import dtype as mstype
from mindspore import nn

from mindformers.arch.stacks import StackArch
from mindformers.kernels import feed_forward as kernels
from mindformers.kernels.library import NOTHING
from mindformers.nn import functional
from mindformers.nn.dropout import MLP, SITE_ROWS, Dropout, words_of
from mindformers.nn.linear import Linear, for_kernel


class FeedForward(nn.Cell):
    """down(activation(up(x))) (Vaswani et al. 2017, arXiv:1706.03762, section 3.3); `index` counts the layers.

    The result is of `dtype`; with kernels x may be float32 beside it.
    """

    is_gated = False

    def __init__(self, arch: StackArch, index: int, dtype=mstype.float32):
        super().__init__()
        self.up = Linear(arch.hidden_size, arch.intermediate_size, arch.mlp_bias)
        self.down = Linear(arch.intermediate_size, arch.hidden_size, arch.mlp_bias)
        self.activation = functional.activation(arch.activation)
        self.dropout = Dropout(arch.mlp_dropout, index, MLP)
        self.kernel = None
        if functional.has_kernels(dtype):
            choices = arch.activation, self.is_gated, arch.mlp_bias
            self.kernel = kernels.FeedForward(*choices, arch.mlp_dropout, index * SITE_ROWS, dtype)

    def construct(self, x_BSD, noise=None):
        """[B, S, D] -> [B, S, D], through [B, S, F]."""
        if self.kernel is not None:
            return self.fused(x_BSD, NOTHING, NOTHING, noise)
        return self.down(self.dropout(self.activation(self.up(x_BSD)), noise))

    def fused(self, x_BSD, gate, gate_bias, noise):
        """Return what `construct` returns, by one kernel, with the weight and bias of a gate."""
        rows, columns = words_of(noise, MLP, self.training)
        up, down = for_kernel(self.up.weight), for_kernel(self.down.weight)
        up_bias, down_bias = self.up.bias_for_kernel(), self.down.bias_for_kernel()
        return self.kernel(x_BSD, gate, up, down, gate_bias, up_bias, down_bias, rows, columns)[0]


class GatedFeedForward(FeedForward):
    """down(activation(gate(x)) * up(x)) (Shazeer 2020, arXiv:2002.05202, section 2)."""

    is_gated = True

    def __init__(self, arch: StackArch, index: int, dtype=mstype.float32):
        super().__init__(arch, index, dtype)
        self.gate = Linear(arch.hidden_size, arch.intermediate_size, arch.mlp_bias)

    def construct(self, x_BSD, noise=None):
        """[B, S, D] -> [B, S, D], through two of [B, S, F]."""
        if self.kernel is not None:
            return self.fused(x_BSD, for_kernel(self.gate.weight), self.gate.bias_for_kernel(), noise)
        return self.down(self.dropout(self.activation(self.gate(x_BSD)) * self.up(x_BSD), noise))
