"""Transformer layers. `index` counts the layers from 0 and gives each its dropout sites (0 is the embeddings').

`dtype` is what branches compute in; the residual stream has `functional.stream_dtype` of it.

Shape suffixes: B batch, T tokens of the stack, S tokens of an encoder, D hidden.
"""

from __future__ import annotations

from mindspore import dtype as mstype
from mindspore import nn

from mindformers.arch.stacks import StackArch
from mindformers.nn.attention import Attention
from mindformers.nn.dropout import SUBLAYERS, ResidualDropout
from mindformers.nn.feed_forward import FeedForward, GatedFeedForward
from mindformers.nn.norm import ResidualNorm, norm


def feed_forward(arch: StackArch, index: int, dtype) -> nn.Cell:
    """Return the feed-forward of a layer."""
    return GatedFeedForward(arch, index, dtype) if arch.gated else FeedForward(arch, index, dtype)


class PostNormBlock(nn.Cell):
    """Attention and feed-forward, each followed by norm(x + branch) (Vaswani et al. 2017, arXiv:1706.03762)."""

    def __init__(self, arch: StackArch, index: int, dtype=mstype.float32):
        super().__init__()
        size, site = arch.hidden_size, 1 + SUBLAYERS * index
        self.attention = Attention(arch, index, dtype=dtype)
        self.norm_attn = ResidualNorm(size, arch.norm_eps, arch.hidden_dropout, site)
        self.mlp = feed_forward(arch, index, dtype)
        rate = arch.hidden_dropout if arch.drops_mlp_output else 0.0
        self.norm_mlp = ResidualNorm(size, arch.norm_eps, rate, site + 1)

    def construct(self, x_BTD, key_bias, score_bias=None, rotation=None, noise=None):
        """[B, T, D] -> [B, T, D]; biases and rotation as in `Attention`, noise of DropoutNoise.tables in training."""
        branch_BTD = self.attention(x_BTD, x_BTD, key_bias, score_bias, rotation, noise)
        x_BTD = self.norm_attn(branch_BTD, x_BTD, noise)
        return self.norm_mlp(self.mlp(x_BTD, noise), x_BTD, noise)


class PreNormBlock(nn.Cell):
    """x + branch(norm(x)) for attention and feed-forward (Radford et al. 2019; Xiong et al. 2020, arXiv:2002.04745)."""

    def __init__(
        self,
        arch: StackArch,
        index: int,
        has_score_bias: bool = False,
        is_causal: bool = False,
        dtype=mstype.float32,
    ):
        super().__init__()
        size, site = arch.hidden_size, 1 + SUBLAYERS * index
        self.attention = Attention(arch, index, has_score_bias, is_causal=is_causal, dtype=dtype)
        self.norm_attn = norm(arch.norm, size, arch.norm_eps)
        self.mlp = feed_forward(arch, index, dtype)
        self.norm_mlp = norm(arch.norm, size, arch.norm_eps)
        self.add_attn = ResidualDropout(arch.hidden_dropout, site, dtype)
        self.add_mlp = ResidualDropout(arch.hidden_dropout if arch.drops_mlp_output else 0.0, site + 1, dtype)
        self.dtype = dtype

    def construct(self, x_BTD, key_bias, score_bias=None, rotation=None, noise=None):
        """As `PostNormBlock`."""
        x_BTD = self.attended(x_BTD, key_bias, score_bias, rotation, noise)
        return self.add_mlp(x_BTD, self.mlp(self.norm_mlp(x_BTD, self.dtype), noise), noise)

    def attended(self, x_BTD, key_bias, score_bias, rotation, noise):
        """Return x with the first branch."""
        normed_BTD = self.norm_attn(x_BTD, self.dtype)
        branch_BTD = self.attention(normed_BTD, normed_BTD, key_bias, score_bias, rotation, noise)
        return self.add_attn(x_BTD, branch_BTD, noise)

    def extend(self, x_BTD, cache, places, score_bias, rotation=None):
        """As `construct` for the newest tokens, [B, T, D], without dropout; arguments as of `Attention.extend`."""
        x_BTD = x_BTD + self.attention.extend(self.norm_attn(x_BTD), cache, places, score_bias, rotation)
        return x_BTD + self.mlp(self.norm_mlp(x_BTD))


class CrossBlock(PreNormBlock):
    """A pre-norm layer that between its two branches attends to the output of an encoder."""

    def __init__(
        self,
        arch: StackArch,
        index: int,
        has_score_bias: bool = False,
        is_causal: bool = False,
        dtype=mstype.float32,
    ):
        super().__init__(arch, index, has_score_bias, is_causal, dtype)
        self.cross = Attention(arch, index, is_cross=True, dtype=dtype)
        self.norm_cross = norm(arch.norm, arch.hidden_size, arch.norm_eps)
        self.add_cross = ResidualDropout(arch.hidden_dropout, SUBLAYERS * (index + 1), dtype)

    def construct(self, x_BTD, key_bias, score_bias, memory_BSD, memory_bias, noise=None):
        """[B, T, D] and the encoder's [B, S, D] -> [B, T, D]; `memory_bias` [B, 1, S, 1] hides its padding."""
        x_BTD = self.attended(x_BTD, key_bias, score_bias, None, noise)
        branch_BTD = self.cross(self.norm_cross(x_BTD, self.dtype), memory_BSD, memory_bias, noise=noise)
        x_BTD = self.add_cross(x_BTD, branch_BTD, noise)
        return self.add_mlp(x_BTD, self.mlp(self.norm_mlp(x_BTD, self.dtype), noise), noise)

    def extend(self, x_BTD, cache, places, score_bias, memory, memory_bias):
        """As `PreNormBlock.extend`; `memory` is a KeyValueCache of the encoder's output, `memory_bias` [B, 1, 1, S]."""
        x_BTD = x_BTD + self.attention.extend(self.norm_attn(x_BTD), cache, places, score_bias)
        x_BTD = x_BTD + self.cross.recall(self.norm_cross(x_BTD), memory, memory_bias)
        return x_BTD + self.mlp(self.norm_mlp(x_BTD))
