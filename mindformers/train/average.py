"""A moving average of the weights beside those that are trained; evaluation and checkpoints use it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Dict, Iterator

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from mindformers.errors import UsageError

PREFIX = "ema"
_move = ops.Assign()


def _moved(step_size, average, weight):
    return _move(average, average + (ops.cast(weight, ms.float32) - average) * step_size)


class WeightAverage(nn.Cell):
    """average <- decay average + (1 - decay) weight after every update, from the weights that training starts with.

    Source: Polyak and Juditsky 1992, doi:10.1137/0330046, with exponential weights. State: `ema.<path>`, float32
    whatever the weights are, since a step of the average is far below the digits of half precision.

    Raises:
        UsageError: for a decay outside 0..1.
    """

    def __init__(self, weights: ParameterTuple, decay: float):
        super().__init__(auto_prefix=False)
        if not 0 < decay < 1:
            raise UsageError(f"ema_decay is {decay}; it must be above 0 and below 1, e.g. 0.999")
        self.weights = weights
        self.averages = weights.clone(prefix=PREFIX, init="same")
        for average in self.averages:
            average.set_dtype(ms.float32)
        self.step_size = Tensor(1.0 - decay, ms.float32)
        self.hyper_map = ops.HyperMap()

    def construct(self):
        """Move every average towards its weight."""
        return self.hyper_map(ops.partial(_moved, self.step_size), self.averages, self.weights)

    def restart(self) -> None:
        """Begin anew from the weights as they are, e.g. after they were loaded."""
        for average, weight in zip(self.averages, self.weights):
            assign(average, weight.astype(ms.float32).asnumpy())

    @contextmanager
    def in_place_of_weights(self) -> Iterator[None]:
        """Let the model compute with the averages; its own weights come back afterwards."""
        trained = [weight.asnumpy().copy() for weight in self.weights]
        for average, weight in zip(self.averages, self.weights):
            assign(weight, average.asnumpy())
        try:
            yield
        finally:
            for weight, value in zip(self.weights, trained):
                assign(weight, value)


def assign(parameter: Parameter, value: np.ndarray) -> None:
    """Let `parameter` hold `value`, rounded to its type, in compiled graphs too.

    `Parameter.set_data` (MindSpore 2.10) gives it other memory: a compiled graph that adds to it in place, as every
    optimizer does to its count of updates, reads the new value but writes into the old memory.
    """
    held = Tensor(np.array(value)).astype(parameter.dtype)
    if parameter.dtype == ms.bfloat16:
        parameter.copy_(held)  # Assign does not take it on CPU (MindSpore 2.10)
    else:
        ops.assign(parameter, held)


def averages_in(parameters: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """Return the averages among saved parameters by the paths of their weights."""
    return {name[len(PREFIX) + 1 :]: value for name, value in parameters.items() if name.startswith(f"{PREFIX}.")}
