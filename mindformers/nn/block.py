"""Transformer layers.

Shape suffixes: B batch, S sequence, D hidden.
"""

from __future__ import annotations

from mindspore import nn

from mindformers.arch.stacks import EncoderArch
from mindformers.nn.attention import Attention
from mindformers.nn.feed_forward import FeedForward
from mindformers.nn.norm import ResidualNorm


class PostNormBlock(nn.Cell):
    """Attention and feed-forward, each followed by norm(x + branch) (Vaswani et al. 2017, arXiv:1706.03762, figure 1).

    `index` counts the layers from 0; it gives the layer its dropout sites (0 of the hidden stream is the embeddings').
    """

    def __init__(self, arch: EncoderArch, index: int):
        super().__init__()
        size = arch.hidden_size
        self.attention = Attention(size, arch.num_heads, arch.attention_dropout, site=index)
        self.norm_attn = ResidualNorm(size, arch.norm_eps, arch.hidden_dropout, site=1 + 2 * index)
        self.mlp = FeedForward(size, arch.intermediate_size, arch.activation)
        self.norm_mlp = ResidualNorm(size, arch.norm_eps, arch.hidden_dropout, site=2 + 2 * index)

    def construct(self, x_BSD, bias, noise=None):
        """[B, S, D] -> [B, S, D]; bias of functional.attention_bias, noise of DropoutNoise in training."""
        x_BSD = self.norm_attn(self.attention(x_BSD, bias, noise), x_BSD, noise)
        return self.norm_mlp(self.mlp(x_BSD), x_BSD, noise)
