"""Adam and AdamW with bias correction, built on MindSpore's fused Adam operator."""

from __future__ import annotations

import math
from typing import Optional, Sequence, Union

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

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
        self.adam_m = self.parameters.clone(prefix="adam_m", init="zeros")
        self.adam_v = self.parameters.clone(prefix="adam_v", init="zeros")
        self.zero = Tensor(0.0, ms.float32)
        self.beta1 = Tensor(beta1, ms.float32)
        self.beta2 = Tensor(beta2, ms.float32)
        self.eps = Tensor(eps, ms.float32)
        self.log_beta1 = Tensor(_log_of_float32(beta1), ms.float32)
        self.log_beta2 = Tensor(_log_of_float32(beta2), ms.float32)

    def construct(self, gradients):
        """Update all parameters, given their gradients in the same order."""
        rate, updates = self.begin_update()
        # 1 - beta^t through expm1: the difference keeps its digits where beta^t is near one.
        first = -ops.expm1(updates * self.log_beta1)
        second = ops.sqrt(-ops.expm1(updates * self.log_beta2))
        corrected = rate * second / first
        rates = self.of_groups(corrected)
        decay_steps = ()
        for decay, scale in zip(self.decays, self.scales):
            decay_steps += (rate * (decay * scale),)
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
        return self.hyper_map(update, self.group_of, self.parameters, self.adam_m, self.adam_v, gradients)


class AdamW(Adam):
    """Adam with decoupled weight decay; equal to PyTorch's AdamW up to rounding.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2.
    """

    decoupled = True


def _log_of_float32(beta: float) -> float:
    """Return the logarithm of `beta` as the operator sees it, rounded to float32; a beta of zero forgets at once."""
    rounded = float(np.float32(beta))
    return math.log(rounded) if rounded > 0 else -1e4
