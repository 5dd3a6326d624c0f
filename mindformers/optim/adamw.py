"""Adam and AdamW with bias correction: MindSpore's fused Adam operator, or one kernel for all parameters."""

from __future__ import annotations

import math
from typing import Iterable, Optional, Sequence, Tuple, Union

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

from mindformers.kernels import library
from mindformers.kernels import optimizer as kernels
from mindformers.optim.groups import ParameterGroup
from mindformers.optim.scheduled import ScheduledOptimizer, check_betas

_adam = ops.Adam()
_descend = ops.ApplyGradientDescent()


def _update(rates, decay_steps, decays, decoupled, eps, zero, beta1, beta2, group, parameter, mean, square, gradient):
    """Decay `parameter`, itself or through its gradient, and move it along Adam's direction, in place."""
    if decays[group] > 0.0:
        if decoupled:
            _descend(parameter, decay_steps[group], parameter)
        else:
            gradient = gradient + parameter * decays[group]
    # The operator's own correction is switched off by powers of zero: it subtracts them from one in float32, which
    # loses digits in the first steps.
    return _adam(parameter, mean, square, zero, zero, rates[group], beta1, beta2, eps, gradient)


class Adam(ScheduledOptimizer):
    """Adam, weight decay as an L2 term of the loss; equal to PyTorch's Adam up to rounding.

    Source: Kingma and Ba 2015, arXiv:1412.6980; bias correction as at the end of section 2: rate and epsilon are
    corrected instead of both moments, which is the same. State: `adam_m.<path>`, `adam_v.<path>`.

    Raises:
        UsageError: as its base does, and for a constant out of its range.
    """

    decoupled = False

    def __init__(
        self,
        params,
        learning_rate: Union[float, np.ndarray] = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        groups: Optional[Sequence[ParameterGroup]] = None,
    ):
        check_betas(beta1, beta2, eps)
        super().__init__(params, learning_rate, weight_decay, groups)
        self.adam_m = self.zeros("adam_m")
        self.adam_v = self.zeros("adam_v")
        self.zero = Tensor(0.0, ms.float32)
        self.beta1 = Tensor(beta1, ms.float32)
        self.beta2 = Tensor(beta2, ms.float32)
        self.eps = Tensor(eps, ms.float32)
        self.log_beta1 = Tensor(_log_of_float32(beta1), ms.float32)
        self.log_beta2 = Tensor(_log_of_float32(beta2), ms.float32)
        self.one = Tensor(1.0, ms.float32)
        self.betas = beta1, beta2
        self.kernel: Optional[kernels.Adam] = None
        self.fuses_factor = library.usable()
        self.make_kernel()

    def make_kernel(self) -> None:
        """Make the kernel that updates all parameters, when kernels are usable, for the groups that there are."""
        if self.fuses_factor:
            self.kernel = kernels.Adam(*self.betas, self.decoupled, self.decays, self.group_of)

    def set_apart(self, paths: Iterable[str]) -> Tuple[int, ...]:
        """As `ScheduledOptimizer.set_apart`."""
        numbers = super().set_apart(paths)
        self.make_kernel()
        return numbers

    def move(self, gradients, factor=None):
        """As `ScheduledOptimizer.move`."""
        rate, updates = self.begin_update()
        # 1 - beta^t through expm1: the difference keeps its digits where beta^t is near one.
        first = -ops.expm1(updates * self.log_beta1)
        second = ops.sqrt(-ops.expm1(updates * self.log_beta2))
        corrected = rate * second / first
        rates = self.of_groups(corrected)
        decay_steps = ()
        for decay, group_rate in zip(self.decays, self.of_groups(rate)):
            decay_steps += (group_rate * decay,)
        if self.kernel is not None:
            scalars = (self.eps * second, self.one if factor is None else factor, *rates, *decay_steps)
            return self.kernel(self.masters, self.adam_m, self.adam_v, gradients, ops.stack(scalars))
        update = ops.partial(
            _update,
            rates,
            decay_steps,
            self.decays,
            self.decoupled,
            self.eps * second,
            self.zero,
            self.beta1,
            self.beta2,
        )
        return self.hyper_map(update, self.group_of, self.masters, self.adam_m, self.adam_v, gradients)


class AdamW(Adam):
    """Adam with decoupled weight decay; equal to PyTorch's AdamW up to rounding.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2.
    """

    decoupled = True


def _log_of_float32(beta: float) -> float:
    """Return the logarithm of `beta` as the operator sees it, rounded to float32; a beta of zero forgets at once."""
    rounded = float(np.float32(beta))
    return math.log(rounded) if rounded > 0 else -1e4
