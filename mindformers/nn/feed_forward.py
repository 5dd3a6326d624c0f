"""The position-wise feed-forward of a transformer layer.

Shape suffixes: B batch, S sequence, D hidden, F MLP.
"""

from __future__ import annotations

from mindspore import nn

from mindformers.nn import functional
from mindformers.nn.linear import Linear


class FeedForward(nn.Cell):
    """down(activation(up(x))) (Vaswani et al. 2017, arXiv:1706.03762, section 3.3)."""

    def __init__(self, hidden_size: int, intermediate_size: int, activation: str):
        super().__init__()
        self.up = Linear(hidden_size, intermediate_size)
        self.down = Linear(intermediate_size, hidden_size)
        self.activation = functional.activation(activation)

    def construct(self, x_BSD):
        """[B, S, D] -> [B, S, D], through [B, S, F]."""
        return self.down(self.activation(self.up(x_BSD)))
