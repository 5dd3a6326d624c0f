"""Loss scaling for half-precision gradients: a fixed factor, or one that follows overflows.

Source: Micikevicius et al. 2018, arXiv:1710.03740, section 3.2.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from mindformers.errors import UsageError

SMALLEST = 1.0
"""A dynamic scale does not fall below this: smaller ones would lose what scaling is there to keep."""


class FixedLossScale(nn.Cell):
    """Multiplies the loss by `loss_scale_value`, always; without state.

    Raises:
        UsageError: for a value that is not above zero.
    """

    def __init__(self, loss_scale_value: float):
        super().__init__(auto_prefix=False)
        if not loss_scale_value > 0:
            raise UsageError(f"loss_scale_value is {loss_scale_value}; it must be above 0")
        self.scale = Tensor(loss_scale_value, ms.float32)

    def current(self):
        """Return the scale of this step, a float32 scalar."""
        return self.scale

    def construct(self, finite):
        """Change nothing."""
        return finite


class DynamicLossScale(nn.Cell):
    """Divides the scale by `scale_factor` after an overflow, multiplies it after `scale_window` steps without one.

    State: `loss_scale` and `loss_scale_good_steps`, the steps since the scale last changed. The scale stays between 1
    and the largest float32.

    Raises:
        UsageError: for a scale below 1, a factor that is not above 1, or a window below 1.
    """

    def __init__(self, loss_scale_value: float, scale_factor: float = 2.0, scale_window: int = 1000):
        super().__init__(auto_prefix=False)
        for name, value, fits, accepted in (
            ("loss_scale_value", loss_scale_value, loss_scale_value >= SMALLEST, f"at least {SMALLEST}"),
            ("scale_factor", scale_factor, scale_factor > 1, "above 1"),
            ("scale_window", scale_window, scale_window >= 1, "at least 1"),
        ):
            if not fits:
                raise UsageError(f"{name} is {value}; it must be {accepted}")
        self.scale = Parameter(Tensor(loss_scale_value, ms.float32), name="loss_scale", requires_grad=False)
        self.good_steps = Parameter(Tensor(0, ms.int32), name="loss_scale_good_steps", requires_grad=False)
        self.factor = Tensor(scale_factor, ms.float32)
        self.window = Tensor(scale_window, ms.int32)
        self.smallest = Tensor(SMALLEST, ms.float32)
        self.zero = Tensor(0, ms.int32)

    def current(self):
        """Return the scale of this step, a float32 scalar; a copy, which later updates do not change."""
        return self.scale * 1.0

    def construct(self, finite):
        """Follow one step, in which all gradients were finite or not (a bool scalar)."""
        good_steps = self.good_steps + 1
        grows = good_steps >= self.window
        larger = self.scale * self.factor
        grown = ops.select(ops.logical_and(grows, ops.isfinite(larger)), larger, self.scale * 1.0)
        shrunk = ops.maximum(self.scale / self.factor, self.smallest)
        counted = ops.select(grows, self.zero, good_steps)
        scale = ops.select(finite, grown, shrunk)
        counted = ops.select(finite, counted, self.zero)
        ops.assign(self.scale, scale)
        ops.assign(self.good_steps, counted)
        return finite
