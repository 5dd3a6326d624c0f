"""SGD with momentum, and Adagrad."""

from __future__ import annotations

from typing import Optional, Sequence, Union

import numpy as np
from mindspore import ops

from mindformers.errors import UsageError
from mindformers.optim.groups import ParameterGroup
from mindformers.optim.scheduled import ScheduledOptimizer, check_eps

_assign = ops.Assign()
_assign_sub = ops.AssignSub()


def _descend(rates, decays, momentum, nesterov, group, parameter, velocity, gradient):
    if decays[group] > 0.0:
        gradient = gradient + parameter * decays[group]
    if momentum == 0.0:
        return _assign_sub(parameter, gradient * rates[group])
    moved = velocity * momentum + gradient
    step = gradient + moved * momentum if nesterov else moved
    updated = _assign_sub(parameter, step * rates[group])
    return ops.depend(updated, _assign(velocity, moved))


class SGD(ScheduledOptimizer):
    """Gradient descent with momentum, plain or Nesterov's; weight decay as an L2 term. Equal to PyTorch's SGD.

    Source: Sutskever et al. 2013, section 2, in PyTorch's form, where the rate is outside the velocity. State:
    `velocity.<path>`.

    Raises:
        UsageError: as its base does, and for a momentum outside [0, 1) or Nesterov's without one.
    """

    def __init__(
        self,
        params,
        learning_rate: Union[float, np.ndarray] = 1e-2,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        groups: Optional[Sequence[ParameterGroup]] = None,
    ):
        if not 0 <= momentum < 1 or nesterov and momentum == 0:
            raise UsageError(
                f"momentum is {momentum} and nesterov {nesterov}; a momentum is at least 0 and below 1, "
                "and above 0 for nesterov"
            )
        super().__init__(params, learning_rate, weight_decay, groups)
        self.momentum, self.nesterov = float(momentum), nesterov
        self.velocity = self.zeros("velocity")

    def move(self, gradients):
        """As `ScheduledOptimizer.move`."""
        rate, _ = self.begin_update()
        update = ops.partial(_descend, self.of_groups(rate), self.decays, self.momentum, self.nesterov)
        return self.hyper_map(update, self.group_of, self.masters, self.velocity, gradients)


def _adapt(rates, decays, eps, group, parameter, squares, gradient):
    if decays[group] > 0.0:
        gradient = gradient + parameter * decays[group]
    total = squares + gradient * gradient
    updated = _assign_sub(parameter, gradient / (ops.sqrt(total) + eps) * rates[group])
    return ops.depend(updated, _assign(squares, total))


class Adagrad(ScheduledOptimizer):
    """Steps divided by the root of all squared gradients so far; weight decay as an L2 term. Equal to PyTorch's.

    Source: Duchi et al. 2011, JMLR 12, section 1.3. State: `squares.<path>`.

    Raises:
        UsageError: as its base does, and for an epsilon that is not above 0.
    """

    def __init__(
        self,
        params,
        learning_rate: Union[float, np.ndarray] = 1e-2,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        groups: Optional[Sequence[ParameterGroup]] = None,
    ):
        check_eps(eps)
        super().__init__(params, learning_rate, weight_decay, groups)
        self.eps = float(eps)
        self.squares = self.zeros("squares")

    def move(self, gradients):
        """As `ScheduledOptimizer.move`."""
        rate, _ = self.begin_update()
        update = ops.partial(_adapt, self.of_groups(rate), self.decays, self.eps)
        return self.hyper_map(update, self.group_of, self.masters, self.squares, gradients)
