"""Adam's update of all parameters, and the squares of all gradients, as one operator each; everything is float32."""

from __future__ import annotations

from typing import Sequence

from mindspore import dtype as mstype
from mindspore import nn

from mindformers.kernels.library import custom, declare_writes, settings


class SquareSums(nn.Cell):
    """The sum of squares of each of some tensors; it does not depend on the number of threads."""

    def __init__(self, number: int):
        super().__init__()
        self.settings = settings(number)
        self.sums = custom("square_sums", lambda *shapes: [number], lambda *types: mstype.float32)

    def construct(self, tensors):
        """Return the sums, float32 [tensors]."""
        return self.sums(*tensors, self.settings)


class Adam(nn.Cell):
    """Moves parameters and their moments in place."""

    def __init__(
        self, beta1: float, beta2: float, is_decoupled: bool, decays: Sequence[float], group_of: Sequence[int]
    ):
        super().__init__()
        self.settings = settings(len(group_of), beta1, beta2, is_decoupled, len(decays), *decays, *group_of)
        self.update = custom("adam", lambda *shapes: [1], lambda *types: mstype.float32)
        declare_writes(self.update, 4 * len(group_of) + 2, range(3 * len(group_of)))

    def construct(self, parameters, means, squares, gradients, scalars):
        """Return a float32 [1] that is there when all is done.

        `scalars` float32: epsilon, what gradients are multiplied with, a rate for each group, and a decay step for
        each group, which counts when decay is decoupled.
        """
        return self.update(*parameters, *means, *squares, *gradients, scalars, self.settings)
