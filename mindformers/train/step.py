"""One training step as one graph: loss, gradients, mean over devices, clipping, update."""

from __future__ import annotations

import inspect
from typing import Optional, Sequence, Tuple

import mindspore as ms
from mindspore import Tensor, nn, ops

from mindformers.errors import UsageError, suggestion
from mindformers.kernels import library
from mindformers.kernels.optimizer import SquareSums
from mindformers.optim.scheduled import ScheduledOptimizer, scaled, square_sum, widened
from mindformers.train.average import WeightAverage
from mindformers.train.shares import LabelShares

REDUCING_MODES = ("data_parallel", "hybrid_parallel")
"""Parallel modes in which MindSpore leaves the mean over devices to the step; in the others its compiler inserts it."""

NORM_EPS = 1e-6
"""Added to the norm before clipping divides by it, as torch.nn.utils.clip_grad_norm_ does."""

_add = ops.Add()
_sum = ops.ReduceSum()


def _wide_zeros(weight):
    return ops.zeros_like(ops.cast(weight, ms.float32))


def column_positions(parameters: Sequence[str], columns: Sequence[str]) -> tuple:
    """Return for each of `parameters` the number of its column, or -1; ends with the last one that has a column.

    Raises:
        UsageError: for a column that is not a parameter, or given twice.
    """
    unknown = [column for column in columns if column not in parameters]
    if unknown:
        raise UsageError(
            f"the model takes no column '{unknown[0]}'.{suggestion(unknown[0], tuple(parameters))} "
            f"Its inputs are {', '.join(parameters)}"
        )
    if len(set(columns)) < len(columns):
        raise UsageError(f"a column is given twice: {', '.join(columns)}")
    last = max((parameters.index(column) for column in columns), default=-1)
    return tuple(columns.index(name) if name in columns else -1 for name in parameters[: last + 1])


class ByColumn(nn.Cell):
    """Hands the columns of a dataset, in their order, to the inputs of `model.construct` that have these names.

    Inputs without a column keep their default when they come last and are None otherwise.

    Raises:
        UsageError: for a column that the model does not take, or an input without default that no column feeds.
    """

    def __init__(self, model: nn.Cell, columns: Sequence[str]):
        super().__init__(auto_prefix=False)
        self.model = model
        inputs = inspect.signature(model.construct).parameters
        self.positions = column_positions(list(inputs), list(columns))
        unfed = [
            name
            for name, value in inputs.items()
            if value.default is value.empty and name not in columns and value.kind is value.POSITIONAL_OR_KEYWORD
        ]
        if unfed:
            raise UsageError(f"no column feeds the model's input {', '.join(unfed)}; columns are {', '.join(columns)}")

    def outputs(self, columns):
        """Return what the model returns, always as a tuple."""
        arguments = ()
        for position in self.positions:
            arguments += (None if position < 0 else columns[position],)
        outputs = self.model(*arguments)
        if isinstance(outputs, tuple):
            return outputs
        return (outputs,)


class LossCell(ByColumn):
    """A model whose first output for a batch is its loss."""

    def construct(self, *columns):
        """Return the loss of one batch."""
        return self.outputs(columns)[0]


class EvalCell(ByColumn):
    """A model in evaluation: its columns and, last, the row numbers in; (row numbers, *outputs) out."""

    def construct(self, *columns):
        """Return the last column, the row numbers, and the model's outputs for the others."""
        return (columns[-1], *self.outputs(columns))


class TrainStep(nn.Cell):
    """Trains one batch; for `mindspore.train.Model(step).train(...)`.

    Returns (loss, overflow, loss scale, gradient norm, squares) of the step: the loss of this device's batch without
    the scale, whether a gradient was not finite, the scale that was used, the global norm of the gradients before
    clipping, all scalars, and the sum of squares of each gradient, scale included, [weights]. A step
    that overflows changes neither weights nor optimizer state; this holds without a loss scale too, since the norm,
    which is finite only if every gradient is, is worked out in any case.

    Args:
        loss_cell: returns the mean loss of a batch, a scalar.
        optimizer: its `parameters` are trained.
        max_grad_norm: gradients of a larger global norm are scaled down to it; None does not clip.
        loss_scale: FixedLossScale, DynamicLossScale or None.
        shares: LabelShares, when the batch is computed in several portions or each rank has labels of its own number;
            the gradient is then that of the mean over all labels, and so is the loss over this device's.
        average: WeightAverage, moved after every update.

    Raises:
        UsageError: when `max_grad_norm` is not above zero.
    """

    def __init__(
        self,
        loss_cell: nn.Cell,
        optimizer: nn.Optimizer,
        max_grad_norm: Optional[float] = None,
        loss_scale: Optional[nn.Cell] = None,
        shares: Optional[LabelShares] = None,
        average: Optional[WeightAverage] = None,
    ):
        super().__init__(auto_prefix=False)
        if max_grad_norm is not None and not max_grad_norm > 0:
            raise UsageError(f"max_grad_norm is {max_grad_norm}; it must be above 0, or absent for no clipping")
        self.loss_cell = loss_cell
        self.optimizer = optimizer
        self.loss_scale = loss_scale
        self.shares = shares
        self.average = average
        self.weights = optimizer.parameters
        self.optimizer_scales = isinstance(optimizer, ScheduledOptimizer)
        self.may_freeze = self.optimizer_scales and optimizer.pace is not None
        if self.optimizer_scales:
            optimizer.follow_weights()
        self.square_sums = SquareSums(len(self.weights)) if library.usable() else None
        self.gradient = ops.value_and_grad(self.scaled_loss, None, self.weights, has_aux=True)
        self.weighted_gradient = ops.value_and_grad(self.weighted_loss, None, self.weights, has_aux=True)
        self.hyper_map = ops.HyperMap()
        self.has_halves = any(weight.dtype != ms.float32 for weight in self.weights)
        self.clips = max_grad_norm is not None
        self.max_grad_norm = Tensor(max_grad_norm if self.clips else 0.0, ms.float32)
        self.one = Tensor(1.0, ms.float32)
        self.zero = Tensor(0.0, ms.float32)
        self.reduces = ms.get_auto_parallel_context("parallel_mode") in REDUCING_MODES
        self.reducer = nn.Identity()
        if self.reduces:
            # Mean or sum, as `gradients_mean` of the parallel context says, over all devices.
            self.reducer = nn.DistributedGradReducer(self.weights)

    @property
    def state_cells(self) -> Tuple[nn.Cell, ...]:
        """What has a state of its own beside model and optimizer."""
        return tuple(cell for cell in (self.loss_scale, self.average) if cell is not None)

    def scaled_loss(self, scale, *columns):
        """Return what is differentiated, and the loss itself."""
        loss = self.loss_cell(*columns)
        if self.loss_scale is None:
            return loss, loss
        return ops.cast(loss, ms.float32) * scale, loss

    def weighted_loss(self, weight, *columns):
        """Return what is differentiated for a portion of the batch, and its own loss."""
        loss = ops.cast(self.loss_cell(*columns), ms.float32)
        return loss * weight, loss

    def accumulated(self, scale, columns):
        """Return the mean loss over all labels of the batch and its gradients, portion by portion in one graph."""
        global_shares, local_shares = self.shares(columns)
        if self.shares.portions == 1:
            (_, loss), gradients = self.weighted_gradient(scale * global_shares[0], *columns)
            return loss, gradients
        portioned = self.shares.portioned(columns)
        gradients = self.hyper_map(_wide_zeros, self.weights)
        mean, number = self.zero * 1.0, self.shares.first * 1
        while number < self.shares.end:
            portion = ()
            for column in portioned:
                portion += (ops.gather(column, number, 0),)
            weight = ops.gather(global_shares, number, 0)
            (_, loss), added = self.weighted_gradient(scale * weight, *portion)
            gradients = self.hyper_map(_add, gradients, self.hyper_map(widened, added))
            mean = mean + loss * ops.gather(local_shares, number, 0)
            number = number + 1
        return mean, gradients

    def differentiated(self, scale, columns):
        """Return the loss of the batch and the gradients, of all devices and times `scale`."""
        if self.shares is None:
            (_, loss), gradients = self.gradient(scale, *columns)
        else:
            loss, gradients = self.accumulated(scale, columns)
        if self.reduces:
            gradients = self.reducer(gradients)
        return loss, gradients

    def squares(self, gradients):
        """Return the sum of squares of each gradient, float32 [weights]."""
        if self.has_halves:
            gradients = self.hyper_map(widened, gradients)
        if self.square_sums is not None:
            return self.square_sums(gradients)
        return ops.stack(self.hyper_map(square_sum, gradients))

    def sum_over_devices(self, squares):
        """Return the sum of squares of all gradients, a scalar."""
        return _sum(squares)

    def moving(self, squares):
        """Return the squares of the gradients that count: those of frozen weights are 0."""
        return squares * self.optimizer.paces() if self.may_freeze else squares

    def construct(self, *columns):
        """Train on one batch."""
        scale = self.one
        if self.loss_scale is not None:
            scale = self.loss_scale.current()
        loss, gradients = self.differentiated(scale, columns)
        squares = self.squares(gradients)
        norm = ops.sqrt(self.sum_over_devices(self.moving(squares))) / scale
        finite = ops.isfinite(norm)
        if finite:
            norm = ops.depend(norm, self.update(gradients, norm, scale))
        if self.loss_scale is not None:
            norm = ops.depend(norm, self.loss_scale(finite))
        return loss, ops.logical_not(finite), scale, norm, self.reported(squares)

    def reported(self, squares):
        """Return the squares as a step returns them."""
        return squares

    def update(self, gradients, norm, scale):
        """Undo the loss scale and clip, in one pass over the gradients, then let the optimizer step."""
        if self.clips or self.loss_scale is not None:
            factor = self.one / scale
            if self.clips:
                factor = factor * ops.minimum(self.max_grad_norm / (norm + NORM_EPS), self.one)
            if self.optimizer_scales:
                return self.averaged(self.optimizer(gradients, factor))
            gradients = self.hyper_map(ops.partial(scaled, factor), gradients)
        return self.averaged(self.optimizer(gradients))

    def averaged(self, updated):
        """Return what an update returned, after the average of the weights moved."""
        if self.average is not None:
            updated = ops.depend(updated, ops.depend(self.average, updated)())
        return updated
