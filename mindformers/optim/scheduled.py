"""What all optimizers share: a learning rate for every update, and groups that decay and learn at their own pace."""

from __future__ import annotations

from typing import Dict, Iterable, Optional, Sequence, Tuple, Union

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from mindformers.errors import UsageError, counted, listing
from mindformers.optim.groups import ParameterGroup

PACE = "pace"
"""Name of the parameter that says which groups are frozen; it follows from the step, so no checkpoint holds it."""


def _times_pace(paces, group, square):
    return square * paces[group]


class ScheduledOptimizer(nn.Optimizer):
    """Base of the optimizers.

    The learning rate is one number or an array with one rate an update; past its end the last rate stays. State:
    `global_step`, the number of updates made; `schedule_offset`, how far the place in the array is ahead of it; and
    what the optimizer keeps for each parameter, named `<what>.<path>`.

    Raises:
        UsageError: when `groups` does not hold every parameter exactly once, the decay is negative, or a parameter is
            of half precision, in which steps and second moments vanish.
    """

    def __init__(
        self,
        params,
        learning_rate: Union[float, np.ndarray],
        weight_decay: float = 0.0,
        groups: Optional[Sequence[ParameterGroup]] = None,
    ):
        params = list(params)
        if weight_decay < 0:
            raise UsageError(f"weight_decay is {weight_decay}; it must be 0 or more")
        _check_precision(params)
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
        self._num_given = len(self.decays)
        self.curve = curve
        self.last_rate = Tensor([curve.size - 1], ms.int32)
        self.schedule_offset = Parameter(Tensor([0], ms.int32), name="schedule_offset", requires_grad=False)
        self.pace: Optional[Parameter] = None

    def set_apart(self, paths: Iterable[str]) -> Tuple[int, ...]:
        """Put `paths` into groups of their own, which `freeze` can stop; return their numbers. Before the first step.

        Raises:
            UsageError: when one of them was set apart before.
        """
        chosen = set(paths)
        twins: Dict[int, int] = {}
        group_of = list(self.group_of)
        apart = {group for group in group_of if group >= self._num_given}
        for place, parameter in enumerate(self.parameters):
            if parameter.name in chosen:
                if group_of[place] in apart:
                    raise UsageError(f"'{parameter.name}' is to be frozen twice; name each path in one Freeze alone")
                group_of[place] = twins.setdefault(group_of[place], len(self.decays) + len(twins))
        self.group_of = tuple(group_of)
        self.decays += tuple(self.decays[group] for group in twins)
        self.scales += tuple(self.scales[group] for group in twins)
        self.pace = Parameter(Tensor(np.ones(len(self.decays), np.float32)), name=PACE, requires_grad=False)
        return tuple(twins.values())

    def freeze(self, groups: Sequence[int], frozen: bool = True) -> None:
        """Keep groups that were set apart where they are, or let them go on; the compiled graph stays.

        Frozen parameters neither move nor decay, and their gradients do not count in the norm. What the optimizer
        keeps for them follows their gradients, so that the first steps afterwards have the right size.
        """
        paces = self.pace.asnumpy().copy()
        paces[list(groups)] = 0.0 if frozen else 1.0
        ops.assign(self.pace, Tensor(paces))

    def learning_rate_at(self, step: int) -> float:
        """Return the rate of the update that `step` updates precede."""
        place = step + int(self.schedule_offset.asnumpy()[0])
        return float(self.curve[min(place, self.curve.size - 1)])

    def stretch_schedule(self, before: int, now: int) -> None:
        """Follow a curve that counts `now` steps where it counted `before`; the number of updates stays."""
        updates, offset = (int(item.asnumpy()[0]) for item in (self.global_step, self.schedule_offset))
        place = (updates + offset) * now // max(before, 1)
        ops.assign(self.schedule_offset, Tensor([place - updates], ms.int32))

    def get_lr(self):
        """Return the rate of the next update, a float32 scalar, inside the graph."""
        if not self.dynamic_lr:
            return self.learning_rate
        place = self.global_step + self.schedule_offset
        return self.learning_rate(ops.minimum(place, self.last_rate)).reshape(())

    def begin_update(self):
        """Count an update; return its rate and number (from 1), float32 scalars."""
        rate = self.get_lr()
        self.assignadd(self.global_step, self.global_step_increase_tensor)
        return rate, ops.cast(self.global_step, ms.float32).reshape(())

    def of_groups(self, rate):
        """Return `rate` at the pace of each group: one scalar a group, since launching kernels costs most."""
        rates = ()
        for group, scale in enumerate(self.scales):
            rates += (rate * scale if self.pace is None else rate * scale * self.pace[group],)
        return rates

    def moving(self, squares):
        """Return the scalars of all parameters, those of frozen ones as 0; after `set_apart`."""
        paces = ()
        for group in range(len(self.scales)):
            paces += (self.pace[group],)
        return self.hyper_map(ops.partial(_times_pace, paces), self.group_of, squares)


def check_betas(beta1: float, beta2: float, eps: float) -> None:
    """Raise UsageError for a decay of a moment outside [0, 1), or an epsilon that is not above 0."""
    for name, value in (("beta1", beta1), ("beta2", beta2)):
        if not 0 <= value < 1:
            raise UsageError(f"{name} is {value}; it must be at least 0 and below 1")
    check_eps(eps)


def check_eps(eps: float) -> None:
    """Raise UsageError for an epsilon that is not above 0."""
    if not eps > 0:
        raise UsageError(f"eps is {eps}; it must be above 0")


def _check_precision(params: Sequence[Parameter]) -> None:
    half = [parameter for parameter in params if parameter.dtype in (ms.float16, ms.bfloat16)]
    if half:
        raise UsageError(
            f"{counted(len(half), 'weight')} of half precision cannot be trained, e.g. '{half[0].name}' of type "
            f"{half[0].dtype}; set model.model_config.param_init_type to float32 (compute_dtype may be float16)"
        )


def _check_groups(groups: Sequence[ParameterGroup], names: Sequence[str]) -> None:
    grouped = [path for group in groups for path in group.paths]
    problems = [f"{name}: in no group" for name in names if name not in set(grouped)]
    problems += [f"{path}: not a parameter of this optimizer" for path in grouped if path not in set(names)]
    problems += [f"{path}: in more than one group" for path in sorted({p for p in grouped if grouped.count(p) > 1})]
    if problems:
        raise UsageError(listing("parameter groups do not match the parameters:", problems))
