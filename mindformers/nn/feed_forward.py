"""The position-wise feed-forward of a transformer layer.

Shape suffixes: B batch, S sequence, D hidden, F MLP.
"""

from __future__ import annotations

from mindspore import nn

from mindformers.arch.stacks import StackArch
from mindformers.nn import functional
from mindformers.nn.dropout import MLP, Dropout
from mindformers.nn.linear import Linear


class FeedForward(nn.Cell):
    """down(activation(up(x))) (Vaswani et al. 2017, arXiv:1706.03762, section 3.3); `index` counts the layers."""

    def __init__(self, arch: StackArch, index: int):
        super().__init__()
        self.up = Linear(arch.hidden_size, arch.intermediate_size, arch.mlp_bias)
        self.down = Linear(arch.intermediate_size, arch.hidden_size, arch.mlp_bias)
        self.activation = functional.activation(arch.activation)
        self.dropout = Dropout(arch.mlp_dropout, index, MLP)

    def construct(self, x_BSD, noise=None):
        """[B, S, D] -> [B, S, D], through [B, S, F]."""
        return self.down(self.dropout(self.activation(self.up(x_BSD)), noise))


class GatedFeedForward(FeedForward):
    """down(activation(gate(x)) * up(x)) (Shazeer 2020, arXiv:2002.05202, section 2)."""

    def __init__(self, arch: StackArch, index: int):
        super().__init__(arch, index)
        self.gate = Linear(arch.hidden_size, arch.intermediate_size, arch.mlp_bias)

    def construct(self, x_BSD, noise=None):
        """[B, S, D] -> [B, S, D], through two of [B, S, F]."""
        return self.down(self.dropout(self.activation(self.gate(x_BSD)) * self.up(x_BSD), noise))
