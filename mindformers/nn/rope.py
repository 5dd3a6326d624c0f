"""Rotary position embedding: queries and keys turned by an angle that grows with the position.

Shape suffixes: B batch, T tokens, N heads, H head size.
"""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from mindformers.arch.stacks import Rotary
from mindformers.nn import functional


class RotaryAngles(nn.Cell):
    """Cosines and sines of all positions (Su et al. 2021, arXiv:2104.09864, equation 34), computed in float32."""

    def __init__(self, rotary: Rotary, head_size: int):
        super().__init__()
        self.rotary, self.head_size = rotary, head_size
        exponents = np.arange(0, head_size, 2, dtype=np.float32) / head_size
        self.exponents = Tensor(exponents)
        self.frequencies = Tensor((1.0 / rotary.theta**exponents).astype(np.float32))
        self.is_dynamic = rotary.scaling == "dynamic"
        self.position_scale = 1.0 / rotary.factor if rotary.scaling == "linear" else 1.0
        self.interleaved = rotary.interleaved
        self.is_placed = functional.is_placed()

    def construct(self, position_ids_BT):
        """Integer positions [B, T] -> cosine and sine, each float32 [B, 1, T, H]."""
        positions_BT1 = position_ids_BT.astype(mstype.float32).expand_dims(-1)
        frequencies = self.frequencies
        if self.is_dynamic:
            frequencies = self.stretched(positions_BT1.max() + 1.0)
        shape = positions_BT1.shape[:2] + (self.head_size // 2,)
        angles = ops.broadcast_to(positions_BT1 * self.position_scale, shape) * ops.broadcast_to(frequencies, shape)
        if self.interleaved:
            angles_BTH = ops.stack((angles, angles), -1).reshape(shape[:2] + (self.head_size,))
        else:
            angles_BTH = ops.concat((angles, angles), -1)
        return ops.cos(angles_BTH).expand_dims(1), ops.sin(angles_BTH).expand_dims(1)

    def first(self, length):
        """Return what `construct` returns for the positions 0 to `length` - 1.

        In a placed model these are constants: where layers lie on stages, MindSpore 2.10 splits the operators that make
        them in ways that do not fit together.
        """
        if self.is_placed:
            return constant_angles(self.rotary, self.head_size, length)
        return self.construct(ops.arange(length).astype(mstype.int32).expand_dims(0))

    def stretched(self, length):
        """Return frequencies for `length` tokens: beyond the trained length theta grows so that the slowest one fits.

        theta' = theta (factor length / trained - (factor - 1))^(H / (H - 2)).
        """
        rotary = self.rotary
        length = ops.maximum(length, Tensor(float(rotary.trained_length), mstype.float32))
        grown = length * (rotary.factor / rotary.trained_length) - (rotary.factor - 1.0)
        theta = rotary.theta * ops.pow(grown, self.head_size / (self.head_size - 2))
        return ops.exp(-ops.log(theta) * self.exponents)


@ops.constexpr
def constant_angles(rotary, head_size, length):
    """Return cosine and sine of the first positions as `RotaryAngles` does, each float32 [1, 1, T, H]."""
    exponents = np.arange(0, head_size, 2, dtype=np.float32) / head_size
    theta, scale = rotary.theta, 1.0 / rotary.factor if rotary.scaling == "linear" else 1.0
    if rotary.scaling == "dynamic":
        grown = max(length, rotary.trained_length) * rotary.factor / rotary.trained_length - (rotary.factor - 1.0)
        theta *= grown ** (head_size / (head_size - 2))
    positions = np.arange(length, dtype=np.float32) * np.float32(scale)
    angles = np.outer(positions, (1.0 / theta**exponents).astype(np.float32))
    angles_TH = np.repeat(angles, 2, -1) if rotary.interleaved else np.concatenate((angles, angles), -1)
    return Tensor(np.cos(angles_TH)[None, None]), Tensor(np.sin(angles_TH)[None, None])


class Rotate(nn.Cell):
    """x cos + turned(x) sin, where `turned` exchanges the two of each pair and negates the first."""

    def __init__(self, head_size: int, interleaved: bool):
        super().__init__()
        self.half, self.interleaved = head_size // 2, interleaved
        self.join = ops.Concat(-1)

    def construct(self, x_BNTH, cos_B1TH, sin_B1TH):
        """[B, N, T, H] -> [B, N, T, H] in x's dtype."""
        shape, dtype = x_BNTH.shape, x_BNTH.dtype
        if self.interleaved:
            pairs = x_BNTH.reshape(shape[:-1] + (self.half, 2))
            turned = ops.stack((-pairs[..., 1], pairs[..., 0]), -1).reshape(shape)
        else:
            turned = self.join((-x_BNTH[..., self.half :], x_BNTH[..., : self.half]))
        # Spread to full size first: a broadcasting product on CPU is slower and keeps index tables (MindSpore 2.10).
        cos = ops.broadcast_to(cos_B1TH, shape).astype(dtype)
        sin = ops.broadcast_to(sin_B1TH, shape).astype(dtype)
        return x_BNTH * cos + turned * sin
