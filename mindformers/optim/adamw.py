"""AdamW with bias correction and decoupled weight decay, built on MindSpore's fused Adam operator."""

from __future__ import annotations

import math
from typing import Optional, Sequence, Union

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from mindformers.errors import UsageError, listing
from mindformers.optim.groups import ParameterGroup

_adam = ops.Adam()
_descend = ops.ApplyGradientDescent()


def _update(rates, decay_steps, decays, eps, zero, beta1, beta2, group, parameter, mean, square, gradient):
    """Decay `parameter`, then move it along Adam's direction, both in place."""
    if decays[group] > 0.0:
        _descend(parameter, decay_steps[group], parameter)
    # The operator's own correction is switched off by powers of zero: it subtracts them from one in float32, which
    # loses digits in the first steps.
    return _adam(parameter, mean, square, zero, zero, rates[group], beta1, beta2, eps, gradient)


class AdamW(nn.Optimizer):
    """Adam with decoupled weight decay; equal to PyTorch's AdamW up to rounding.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2; bias correction after Kingma and Ba 2015,
    arXiv:1412.6980, end of section 2: rate and epsilon are corrected instead of both moments, which is the same.

    The learning rate is one number or an array with one rate an update; past its end the last rate stays. State:
    `adam_m.<path>`, `adam_v.<path>` and `global_step`, the number of updates made.

    Raises:
        UsageError: when `groups` does not hold every parameter exactly once, or a constant is out of its range.
    """

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
        params = list(params)
        _check_constants(beta1, beta2, eps, weight_decay)
        curve = np.atleast_1d(np.asarray(learning_rate, np.float32))
        # MindSpore warns about an array of one rate; it is the same as a number.
        super().__init__(curve if curve.size > 1 else float(curve[0]), params, 0.0)
        names = [parameter.name for parameter in params]
        if groups is None:
            groups = (ParameterGroup(float(weight_decay), tuple(names)),)
        elif weight_decay:
            raise UsageError(f"weight_decay {weight_decay} is given beside groups, which carry their own")
        _check_groups(groups, names)
        number = {path: index for index, group in enumerate(groups) for path in group.paths}
        self.group_of = tuple(number[name] for name in names)
        self.decays = tuple(float(group.weight_decay) for group in groups)
        self.scales = tuple(float(group.learning_rate_scale) for group in groups)
        self.curve = curve
        self.last_rate = Tensor([curve.size - 1], ms.int32)
        self.adam_m = self.parameters.clone(prefix="adam_m", init="zeros")
        self.adam_v = self.parameters.clone(prefix="adam_v", init="zeros")
        self.zero = Tensor(0.0, ms.float32)
        self.beta1 = Tensor(beta1, ms.float32)
        self.beta2 = Tensor(beta2, ms.float32)
        self.eps = Tensor(eps, ms.float32)
        self.log_beta1 = Tensor(_log_of_float32(beta1), ms.float32)
        self.log_beta2 = Tensor(_log_of_float32(beta2), ms.float32)

    def learning_rate_at(self, step: int) -> float:
        """Return the rate of the update that `step` updates precede."""
        return float(self.curve[min(step, self.curve.size - 1)])

    def get_lr(self):
        """Return the rate of the next update, a float32 scalar, inside the graph."""
        if not self.dynamic_lr:
            return self.learning_rate
        return self.learning_rate(ops.minimum(self.global_step, self.last_rate)).reshape(())

    def construct(self, gradients):
        """Update all parameters, given their gradients in the same order."""
        rate = self.get_lr()
        self.assignadd(self.global_step, self.global_step_increase_tensor)
        updates = ops.cast(self.global_step, ms.float32).reshape(())
        # 1 - beta^t through expm1: the difference keeps its digits where beta^t is near one.
        first = -ops.expm1(updates * self.log_beta1)
        second = ops.sqrt(-ops.expm1(updates * self.log_beta2))
        corrected = rate * second / first
        # One scalar a group, not one a parameter: a kernel launch costs more than the arithmetic.
        rates = ()
        decay_steps = ()
        for decay, scale in zip(self.decays, self.scales):
            rates += (corrected * scale,)
            decay_steps += (rate * (decay * scale),)
        update = ops.partial(
            _update, rates, decay_steps, self.decays, self.eps * second, self.zero, self.beta1, self.beta2
        )
        return self.hyper_map(update, self.group_of, self.parameters, self.adam_m, self.adam_v, gradients)


def _log_of_float32(beta: float) -> float:
    """Return the logarithm of `beta` as the operator sees it, rounded to float32; a beta of zero forgets at once."""
    rounded = float(np.float32(beta))
    return math.log(rounded) if rounded > 0 else -1e4


def _check_constants(beta1: float, beta2: float, eps: float, weight_decay: float) -> None:
    for name, value in (("beta1", beta1), ("beta2", beta2)):
        if not 0 <= value < 1:
            raise UsageError(f"{name} is {value}; it must be at least 0 and below 1")
    if not eps > 0:
        raise UsageError(f"eps is {eps}; it must be above 0")
    if weight_decay < 0:
        raise UsageError(f"weight_decay is {weight_decay}; it must be 0 or more")


def _check_groups(groups: Sequence[ParameterGroup], names: Sequence[str]) -> None:
    grouped = [path for group in groups for path in group.paths]
    problems = [f"{name}: in no group" for name in names if name not in set(grouped)]
    problems += [f"{path}: not a parameter of this optimizer" for path in grouped if path not in set(names)]
    problems += [f"{path}: in more than one group" for path in sorted({p for p in grouped if grouped.count(p) > 1})]
    if problems:
        raise UsageError(listing("parameter groups do not match the parameters:", problems))
