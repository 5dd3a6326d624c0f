"""All layers of a decoder for the newest tokens of texts, as one operator that extends their caches in place.

Shape suffixes: B batch, T new tokens, C capacity in tokens, N heads, K heads of key and value, H head size, D hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

from mindspore import dtype as mstype
from mindspore import nn

from mindformers.kernels.attention import Form
from mindformers.kernels.feed_forward import ACTIVATIONS
from mindformers.kernels.library import custom, settings


@dataclass(frozen=True)
class LayerForm:
    """What one layer is; all layers of a decoder are alike."""

    attention: Form
    capacity: int
    memory_capacity: int
    """Tokens of an encoder's output that layers attend to; 0 when there is no encoder."""
    is_centred: bool
    """Whether norms are layer norms, and not root mean square norms."""
    eps: float
    qkv_bias: bool
    out_bias: bool
    mlp_bias: bool
    is_gated: bool
    activation: str


class Layers(nn.Cell):
    """Pre-norm layers over new tokens: attention to all before them, to an encoder's output if any, feed-forward.

    A decode step of a small model would else spend more time between operators than in them. Products are computed in
    `dtype`, those of few rows always in float32.

    The caches are float32 Parameters [B * K * C, H], which the operator writes into. It does not declare that: in a
    graph no other operator may touch them, so there is no order to keep, and a declared write makes MindSpore (2.10)
    copy a table that stands in the graph on both sides of it, as a tied one does, on every call. No gradient.
    """

    def __init__(self, form: LayerForm, dtype=mstype.float32):
        super().__init__()
        attention = form.attention
        self.settings = settings(
            attention.heads,
            attention.kv_heads,
            attention.size,
            attention.scale,
            attention.rotary,
            attention.has_score_bias,
            form.capacity,
            form.memory_capacity,
            form.is_centred,
            form.eps,
            form.qkv_bias,
            form.out_bias,
            form.mlp_bias,
            form.is_gated,
            ACTIVATIONS.index(form.activation),
            dtype == mstype.bfloat16,
        )
        self.run = custom("layers", lambda x, *rest: list(x), lambda x, *rest: x)

    def construct(self, x_BTD, slots_BT, score_bias, cosines, sines, memory_bias, weights):
        """Return x after the layers, float32 [B, T, D].

        The tokens of a row follow each other in its `slots`, int32; score_bias float32 [1 or B, 1 or N, 1 or T, C],
        cosines and sines float32 [1 or B, 1, T, H], memory_bias float32 [1 or B, 1, 1, memory capacity]; what the form
        has no use for may be any tensor. `weights` are those of `CachedLayers.weights`, layer after layer.
        """
        return self.run(x_BTD, slots_BT, score_bias, cosines, sines, memory_bias, *weights, self.settings)
