"""What happens when a step yields numbers that are not finite, and where the first of them is."""

from __future__ import annotations

import math
from typing import Any, List, Optional, Sequence

import numpy as np
from mindspore.train.callback import RunContext

from mindformers.errors import MindFormersError, counted
from mindformers.log import logger
from mindformers.train.checkpoint import load_training_state
from mindformers.train.checkpoint_callback import CheckpointMonitor
from mindformers.train.hooks import DECISION, TrainingCallback
from mindformers.train.loss_scale import SMALLEST, DynamicLossScale
from mindformers.train.progress import Progress
from mindformers.train.step import TrainStep

MOST_SKIPPED = 50
"""Updates that may be skipped in a row. A dynamic scale falls from 2^32 to 1 in 32 steps, so more cannot help."""
MOST_RETURNS = 3
"""Times that training may go back to the same checkpoint."""


class FiniteGuard(TrainingCallback):
    """Acts on a step whose gradients are not finite; the step itself has not changed anything.

    `skip` goes on with the next batch, `stop` ends training, `roll_back` puts the last good checkpoint back and goes
    on with the next batch. Gradients that overflow under a dynamic loss scale that can still fall are the scale's own
    business; it is only said when the loss is not finite either. In all cases training ends after 50 updates in a row
    were skipped. Ranks act alike: gradients and scale are the same on all of them, the loss is not.

    Args:
        progress: shared with the other callbacks.
        policy: skip, stop or roll_back.
        columns: names of the columns of a batch.
        saver: whose checkpoints `roll_back` takes.

    Raises:
        MindFormersError: while training, with the first tensor that is not finite.
    """

    priority = DECISION

    def __init__(
        self,
        progress: Progress,
        policy: str = "skip",
        columns: Sequence[str] = (),
        saver: Optional[CheckpointMonitor] = None,
    ):
        super().__init__()
        self.progress, self.policy, self.columns, self.saver = progress, policy, tuple(columns), saver
        self.skipped = 0
        self._returned_to: List[str] = []

    def on_train_begin(self, run_context: RunContext) -> None:
        """Follow the call of `Model.train` that begins."""
        self.progress.begin()

    def on_train_step_end(self, run_context: RunContext) -> None:
        """Look at what the step returned."""
        parameters = run_context.original_args()
        step = self.progress.advance(parameters.cur_step_num)
        loss, overflow, scale = (output.asnumpy().item() for output in parameters.net_outputs[:3])
        self.skipped = self.skipped + 1 if overflow else 0
        if self.skipped >= MOST_SKIPPED:
            raise MindFormersError(
                f"step {step}: the gradients were not finite in the last {self.skipped} steps (loss {loss}, loss "
                f"scale {scale:g}); training cannot go on. {self._report(parameters)}. Lower the learning rate, or "
                "look for broken values in the data or the weights"
            )
        falls = isinstance(parameters.train_network.loss_scale, DynamicLossScale) and scale > SMALLEST
        if overflow and (not falls or not math.isfinite(loss)):
            what = f"step {step}: loss {loss}; {self._report(parameters)}"
            self._act(parameters, "skip" if falls else self.policy, what)

    def _act(self, parameters: Any, policy: str, what: str) -> None:
        if policy == "stop":
            raise MindFormersError(
                f"{what}. Training stops, as runner_config.nonfinite asks; nothing of this step is in the weights"
            )
        if policy == "roll_back":
            self._roll_back(parameters.train_network, what)
        else:
            logger.warning("%s; the update was skipped", what)

    def _roll_back(self, step: TrainStep, what: str) -> None:
        path = self.saver.newest()
        if path is None or self._returned_to.count(path.name) >= MOST_RETURNS:
            why = f"{path} was put back {MOST_RETURNS} times already" if path else "there is no good checkpoint yet"
            raise MindFormersError(f"{what}. Training cannot be rolled back: {why}")
        self._returned_to.append(path.name)
        load_training_state(path, step.optimizer, step.state_cells, step.loss_cell.model)
        logger.warning("%s; weights and optimizer are those of %s again, the data goes on", what, path)

    def _report(self, parameters: Any) -> str:
        batch = getattr(parameters, "train_dataset_element", None) or ()
        gradients = parameters.net_outputs[4].asnumpy()
        return first_bad(parameters.train_network, gradients, dict(zip(self.columns, batch)))


def first_bad(step: TrainStep, gradients: np.ndarray, batch: Any) -> str:
    """Return a sentence on the first tensor that is not finite: of the batch, the weights, the gradients.

    `gradients` holds the sum of squares of each gradient, in the order of the step's weights.
    """
    for kind, tensors in (("the column", batch), ("the weight", step.loss_cell.model.parameters_dict())):
        for name, tensor in tensors.items():
            array = tensor.asnumpy()
            bad = array.size - int(np.isfinite(array).sum()) if tensor.is_floating_point() else 0
            if bad:
                return f"the first bad tensor is {kind} '{name}': {bad} of {counted(array.size, 'number')} not finite"
    names = [weight.name for weight, total in zip(step.weights, gradients) if not math.isfinite(total)]
    if not names:
        return "batch, weights and each gradient are finite, but the norm over all of them is not"
    return (
        "batch and weights are finite; the first bad tensor is the gradient of "
        f"'{names[0]}' ({len(names)} of {counted(len(step.weights), 'gradient')} not finite)"
    )
