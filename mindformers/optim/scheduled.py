"""What all optimizers share: a learning rate for every update, and groups that decay and learn at their own pace."""

from __future__ import annotations

from typing import Dict, Iterable, Optional, Sequence, Tuple, Union

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from mindspore.common.initializer import initializer

from mindformers.errors import UsageError, listing
from mindformers.optim.groups import ParameterGroup

PACE = "pace"
"""Name of the parameter that says which groups are frozen; it follows from the step, so no checkpoint holds it."""


_assign = ops.Assign()
_square = ops.Square()
_sum = ops.ReduceSum()


def widened(gradient):
    """Return a gradient in float32."""
    return ops.cast(gradient, ms.float32)


def scaled(factor, gradient):
    """Return a gradient times a factor, in its own type."""
    return gradient * ops.cast(factor, gradient.dtype)


def square_sum(tensor):
    """Return the sum of squares. Rows first: MindSpore sums to a scalar on one thread, rows on all."""
    return _sum(_sum(_square(tensor), -1))


def _rounded(moved, weight, master):
    """Write `master`, once it has moved, into a weight of half precision."""
    if weight.dtype == ms.float32:
        return moved
    value = ops.cast(ops.depend(master, moved), weight.dtype)
    if weight.dtype == ms.bfloat16:
        return weight.copy_(value)  # Assign does not take bfloat16 on CPU (MindSpore 2.10)
    return _assign(weight, value)


class ScheduledOptimizer(nn.Optimizer):
    """Base of the optimizers.

    The learning rate is one number or an array with one rate an update; past its end the last rate stays. State, all
    float32: `global_step`, the number of updates made; `schedule_offset`, how far the place in the array is ahead of
    it; and what the optimizer keeps for each parameter, named `<what>.<path>`.

    Steps are made on `masters`: the parameters themselves, or for one of half precision, in which small steps would
    vanish, a float32 copy `master.<path>`, which is rounded into the parameter after every step (Micikevicius et al.
    2018, arXiv:1710.03740, section 3.1).

    Raises:
        UsageError: when `groups` does not hold every parameter exactly once, or the decay is negative.
    """

    fuses_factor = False
    """Whether `move` takes the factor of the gradients and multiplies by itself."""

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
        self.has_halves = any(parameter.dtype != ms.float32 for parameter in params)
        self.masters = ParameterTuple(
            item if item.dtype == ms.float32 else _beside(item, "master", is_zero=False) for item in self.parameters
        )

    def construct(self, gradients, factor=None):
        """Update all parameters, given their gradients in the same order, to be multiplied with `factor`."""
        if self.has_halves:
            gradients = self.hyper_map(widened, gradients)
        if self.fuses_factor:
            moved = self.move(gradients, factor)
        else:
            if factor is not None:
                gradients = self.hyper_map(ops.partial(scaled, factor), gradients)
            moved = self.move(gradients)
        if self.has_halves:
            return self.hyper_map(ops.partial(_rounded, moved), self.parameters, self.masters)
        return moved

    def move(self, gradients):
        """Update `masters`, given float32 gradients in the same order."""
        raise NotImplementedError

    def follow_weights(self) -> None:
        """Let masters begin from weights that were loaded after they were made.

        A number that rounds to its weight stays: so do all whose own state was loaded with the weights.
        """
        for weight, master in zip(self.parameters, self.masters):
            if weight.dtype == ms.float32 or weight.has_init:  # without values: it is compiled only
                continue
            held = weight.astype(ms.float32).asnumpy()
            stays = master.astype(weight.dtype).astype(ms.float32).asnumpy() == held
            if not stays.all():
                ops.assign(master, Tensor(np.where(stays, master.asnumpy(), held)))

    def zeros(self, what: str) -> ParameterTuple:
        """Return a float32 zero for each element of each parameter, named `what`.<path>."""
        return ParameterTuple(_beside(item, what, is_zero=True) for item in self.parameters)

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
        self.group_numbers = Tensor(group_of, ms.int32)
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

    def paces(self):
        """Return a number for each parameter, 0 while it is frozen and else 1, float32; after `set_apart`."""
        return ops.gather(self.pace, self.group_numbers, 0)


def _beside(parameter: Parameter, what: str, is_zero: bool) -> Parameter:
    """Return a float32 parameter of the same shape and place as `parameter`, named `what`.<path>."""
    made = parameter.clone()
    made.name = f"{what}.{parameter.name}"
    made.set_dtype(ms.float32)
    if is_zero or made.has_init:  # values that do not exist yet keep their type otherwise
        made.set_data(initializer("zeros", parameter.shape, ms.float32))
    return made


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


def _check_groups(groups: Sequence[ParameterGroup], names: Sequence[str]) -> None:
    grouped = [path for group in groups for path in group.paths]
    problems = [f"{name}: in no group" for name in names if name not in set(grouped)]
    problems += [f"{path}: not a parameter of this optimizer" for path in grouped if path not in set(names)]
    problems += [f"{path}: in more than one group" for path in sorted({p for p in grouped if grouped.count(p) > 1})]
    if problems:
        raise UsageError(listing("parameter groups do not match the parameters:", problems))
