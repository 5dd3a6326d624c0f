"""Optimizers that measure whole tensors: Adafactor and LAMB."""

from __future__ import annotations

from typing import Optional, Sequence, Union

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, ops

from mindformers.errors import UsageError
from mindformers.optim.groups import ParameterGroup
from mindformers.optim.scheduled import ScheduledOptimizer, check_betas, check_eps, square_sum

_assign = ops.Assign()
_assign_sub = ops.AssignSub()


def _factored_step(rates, decays, constants, is_matrix, group, parameter, rows, columns, gradient):
    """Update one parameter; `rows` holds the whole second moment of one that is no matrix."""
    kept, eps, clip_threshold = constants
    squares = gradient * gradient + eps
    if is_matrix:
        new_rows = rows * kept + squares.mean(1) * (1.0 - kept)
        new_columns = columns * kept + squares.mean(0) * (1.0 - kept)
        row_factors = ops.rsqrt(new_rows / new_rows.mean()).expand_dims(1)
        # An outer product by MatMul: a broadcasting one keeps index tables on CPU.
        step = ops.matmul(row_factors, ops.rsqrt(new_columns).expand_dims(0)) * gradient
    else:
        new_rows = rows * kept + squares * (1.0 - kept)
        new_columns = columns * 1.0
        step = ops.rsqrt(new_rows) * gradient
    size = ops.sqrt(square_sum(step) / step.size) / clip_threshold
    step = step * (rates[group] / ops.maximum(size, ops.ones_like(size)))
    if decays[group] > 0.0:
        step = step + parameter * (rates[group] * decays[group])
    updated = _assign_sub(parameter, step)
    return ops.depend(updated, (_assign(rows, new_rows), _assign(columns, new_columns)))


class Adafactor(ScheduledOptimizer):
    """Second moments of matrices as the product of rows and columns, steps clipped by their size.

    Source: Shazeer and Stern 2018, arXiv:1804.04235, algorithms 4 to 6, with the rate of the schedule and decoupled
    weight decay, as Hugging Face's Trainer uses it (neither relative steps nor scaling by the parameter). State:
    `rows.<path>` and `columns.<path>`; of what is no matrix `rows` is the whole moment.

    Raises:
        UsageError: as its base does, and for a constant out of its range.
    """

    def __init__(
        self,
        params,
        learning_rate: Union[float, np.ndarray] = 1e-3,
        eps: float = 1e-30,
        clip_threshold: float = 1.0,
        decay_rate: float = 0.8,
        weight_decay: float = 0.0,
        groups: Optional[Sequence[ParameterGroup]] = None,
    ):
        check_eps(eps)
        if not clip_threshold > 0 or not decay_rate > 0:
            raise UsageError(f"clip_threshold is {clip_threshold} and decay_rate {decay_rate}; both must be above 0")
        super().__init__(params, learning_rate, weight_decay, groups)
        self.eps, self.clip_threshold, self.decay_rate = float(eps), float(clip_threshold), float(decay_rate)
        self.is_matrix = tuple(parameter.ndim == 2 for parameter in self.parameters)
        self.rows = _moments("rows", self.parameters, lambda shape: shape[:1] if len(shape) == 2 else shape)
        self.columns = _moments("columns", self.parameters, lambda shape: shape[1:] if len(shape) == 2 else (1,))

    def move(self, gradients):
        """As `ScheduledOptimizer.move`."""
        rate, updates = self.begin_update()
        kept = 1.0 - ops.pow(updates, -self.decay_rate)
        constants = (kept, self.eps, self.clip_threshold)
        update = ops.partial(_factored_step, self.of_groups(rate), self.decays, constants)
        return self.hyper_map(update, self.is_matrix, self.group_of, self.masters, self.rows, self.columns, gradients)


def _moments(name, parameters, shape_of) -> ParameterTuple:
    return ParameterTuple(
        Parameter(
            Tensor(np.zeros(shape_of(tuple(item.shape)), np.float32)), name=f"{name}.{item.name}", requires_grad=False
        )
        for item in parameters
    )


def _trusted_step(rates, decays, constants, group, parameter, mean, square, gradient):
    beta1, beta2, first, second, eps = constants
    new_mean = mean * beta1 + gradient * (1.0 - beta1)
    new_square = square * beta2 + gradient * gradient * (1.0 - beta2)
    step = new_mean / first / (ops.sqrt(new_square / second) + eps)
    if decays[group] > 0.0:
        step = step + parameter * decays[group]
    length, step_length = ops.sqrt(square_sum(parameter)), ops.sqrt(square_sum(step))
    known = ops.logical_and(length > 0.0, step_length > 0.0)
    one = ops.ones_like(length)
    trust = ops.select(known, length / ops.select(known, step_length, one), one)
    updated = _assign_sub(parameter, step * (rates[group] * trust))
    return ops.depend(updated, (_assign(mean, new_mean), _assign(square, new_square)))


class Lamb(ScheduledOptimizer):
    """Adam's direction with weight decay, as long as the parameter it moves, for large batches.

    Source: You et al. 2020, arXiv:1904.00962, algorithm 2, with the identity for phi and bias correction. State:
    `lamb_m.<path>`, `lamb_v.<path>`.

    Raises:
        UsageError: as its base does, and for a constant out of its range.
    """

    def __init__(
        self,
        params,
        learning_rate: Union[float, np.ndarray] = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        groups: Optional[Sequence[ParameterGroup]] = None,
    ):
        check_betas(beta1, beta2, eps)
        super().__init__(params, learning_rate, weight_decay, groups)
        self.beta1, self.beta2 = Tensor(beta1, ms.float32), Tensor(beta2, ms.float32)
        self.eps = float(eps)
        self.lamb_m = self.zeros("lamb_m")
        self.lamb_v = self.zeros("lamb_v")

    def move(self, gradients):
        """As `ScheduledOptimizer.move`."""
        rate, updates = self.begin_update()
        first, second = 1.0 - ops.pow(self.beta1, updates), 1.0 - ops.pow(self.beta2, updates)
        constants = (self.beta1, self.beta2, first, second, self.eps)
        update = ops.partial(_trusted_step, self.of_groups(rate), self.decays, constants)
        return self.hyper_map(update, self.group_of, self.masters, self.lamb_m, self.lamb_v, gradients)
