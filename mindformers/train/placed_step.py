"""The step of a model whose operators the parallel compiler splits over devices."""

from __future__ import annotations

import inspect
from typing import Any, Sequence

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.parallel.nn import GradAccumulation, Pipeline

from mindformers.optim.scheduled import square_sum, widened
from mindformers.train.step import TrainStep

SUMS = "accu_grads"
"""Beginning of the names by which MindSpore's compiler finds where gradients of micro-batches are added up."""
KEYS = "dropout_keys"
"""Input of models from which the masks of a row's dropout follow; made by the step, so that every micro-batch has its
own and no stage of a pipeline needs the counter."""


class PlacedStep(TrainStep):
    """`TrainStep` that sees the whole batch of all devices; the compiler gives each its part, and adds gradients up.

    With several micro-batches the loss is the mean of theirs.

    Args:
        copies: for each of the optimizer's parameters the number of devices that hold the same part of it, so that
            the norm counts every gradient once.
        micro_batches: parts of the batch, for the stages of a pipeline or one after the other.
        stages: stages of the pipeline.
        split: for each of these parameters whether the optimizer splits it further, among devices with the same part.
        others: as of `TrainStep`.
    """

    def __init__(
        self,
        loss_cell: nn.Cell,
        optimizer: nn.Optimizer,
        copies: Sequence[int],
        micro_batches: int = 1,
        stages: int = 1,
        split: Sequence[bool] = (),
        **others: Any,
    ):
        noise = loss_cell.model.dropout if loss_cell.model.drops else None
        if noise is not None:
            _take_keys(loss_cell)
        if micro_batches > 1:
            loss_cell = (Pipeline if stages > 1 else GradAccumulation)(loss_cell, micro_batches)
        super().__init__(loss_cell, optimizer, **others)
        self.noise = noise
        self.accumulates, self.split = micro_batches > 1, tuple(split) or (False,) * len(copies)
        if self.accumulates:
            self.sums = self.weights.clone(prefix=SUMS, init="zeros")
        self.gradient_of = ops.GradOperation(get_by_list=True, sens_param=True)
        self.share = Tensor(1.0 / micro_batches, ms.float32)
        self.weight_of = tuple(1.0 / number for number in copies)
        self.add_all = ops.AddN()
        self.sum_of_devices = ops.AllReduce()

    def differentiated(self, scale, columns):
        """As in `TrainStep`. In a pipeline the loss is there on the last stage only.

        What is differentiated returns the loss alone: every device has it, so the compiler divides its gradient by
        their number, but it (2.10) finds no loss in a tuple, and gradients came out that many times too large. And a
        factor on the loss would stand on no stage.
        """
        if self.noise is not None:
            columns += (self.noise.row_keys(columns[0].shape[0]),)
        loss = self.loss_cell(*columns)
        factor = ops.fill(loss.dtype, loss.shape, scale * self.share)
        gradients = self.gradient_of(self.loss_cell, self.weights)(*columns, factor)
        if self.accumulates:
            gradients = self.hyper_map(_taken, self.split, self.sums, gradients)
        return loss * self.share, gradients

    def squares(self, gradients):
        """As in `TrainStep`, but a tuple, of which the compiler takes away what another stage of a pipeline has."""
        return self.hyper_map(square_sum, self.hyper_map(widened, gradients))

    def moving(self, squares):
        """As in `TrainStep`."""
        if not self.may_freeze:
            return squares
        paces = ()
        for group in range(len(self.optimizer.scales)):
            paces += (self.optimizer.pace[group],)
        return self.hyper_map(ops.partial(_times_pace, paces), self.optimizer.group_of, squares)

    def sum_over_devices(self, squares):
        """As in `TrainStep`; a gradient that several devices hold counts once."""
        return self.sum_of_devices(self.add_all(self.hyper_map(_weighed, self.weight_of, squares)))

    def reported(self, squares):
        """As in `TrainStep`."""
        return ops.stack(squares)


def _take_keys(loss_cell: nn.Cell) -> None:
    """Let `loss_cell` hand a further last column to the model as the keys of its dropout."""
    place = list(inspect.signature(loss_cell.model.construct).parameters).index(KEYS)
    positions = loss_cell.positions
    loss_cell.positions = (*positions, *(-1,) * (place - len(positions)), max(positions) + 1)


def _taken(is_split, total, gradient):
    """Return the sum of the micro-batches' gradients, and empty the place where it was added up.

    Where the optimizer is split its part of the sum is the gradient; otherwise the sum is left in `total`.
    """
    total = ops.depend(total, gradient)
    taken = gradient if is_split else total * 1.0
    return ops.depend(taken, ops.assign(ops.depend(total, taken), ops.zeros_like(total)))


def _weighed(weight, square):
    return square * weight


def _times_pace(paces, group, square):
    return square * paces[group]
