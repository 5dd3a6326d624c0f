"""Evaluation during training."""

from __future__ import annotations

import math
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from mindspore import nn
from mindspore.train.callback import RunContext

from mindformers.errors import UsageError
from mindformers.log import logger
from mindformers.train.hooks import EVALUATION, TrainingCallback
from mindformers.train.progress import Progress
from mindformers.train.scalars import ScalarWriter


class EvalCallback(TrainingCallback):
    """Calls `evaluate` every `every_steps` steps or at the end of every `every_epochs` epochs; logs what it returns.

    All cells of the network are in evaluation mode during the call and get their own mode back afterwards, also when
    `evaluate` raises.

    Args:
        evaluate: returns metrics by name.
        progress: shared with the other callbacks.
        scalars: receives the metrics as `eval/<name>`.
        watch: the metric whose best value is kept in `best`, e.g. "f1"; `watch_max` says that larger is better.

    `metrics` holds the result of the last evaluation, empty before the first.

    Raises:
        UsageError: when neither or both periods are given, or, while training, `watch` is not among the metrics.
    """

    priority = EVALUATION

    def __init__(
        self,
        evaluate: Callable[[], Mapping[str, float]],
        progress: Progress,
        every_steps: int = 0,
        every_epochs: int = 0,
        scalars: Optional[ScalarWriter] = None,
        watch: Optional[str] = None,
        watch_max: bool = True,
    ):
        super().__init__()
        if (every_steps > 0) == (every_epochs > 0) or min(every_steps, every_epochs) < 0:
            raise UsageError(
                f"evaluation every {every_steps} steps and every {every_epochs} epochs; "
                f"one of the two must be above 0 and the other 0"
            )
        self.evaluate, self.progress, self.scalars = evaluate, progress, scalars
        self.every_steps, self.every_epochs = every_steps, every_epochs
        self.watch, self.watch_max = watch, watch_max
        self.best: Optional[float] = None
        self.metrics: Mapping[str, float] = {}
        self._scored_step = -1
        self._last_step = progress.global_step

    def on_train_begin(self, run_context: RunContext) -> None:
        """Follow the call of `Model.train` that begins."""
        self.progress.begin()

    def state_dict(self) -> Dict[str, Any]:
        """Return the best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Go on with the best value of the run that is resumed."""
        self.best = state["best"]

    @property
    def score(self) -> Optional[float]:
        """The watched metric of the model as it is after the last step; None when that step was not evaluated."""
        return self.metrics.get(self.watch) if self._scored_step == self.progress.global_step else None

    def improves(self, value: float, on: Optional[float], by: float = 0.0) -> bool:
        """Return whether `value` is better than `on` by more than `by`."""
        if on is None or not math.isfinite(value):
            return math.isfinite(value)
        return value > on + by if self.watch_max else value < on - by

    def on_train_step_end(self, run_context: RunContext) -> None:
        """Evaluate when the step is due, or ends an epoch that is."""
        parameters = run_context.original_args()
        before, self._last_step = self._last_step, self.progress.advance(parameters.cur_step_num)
        # A device that runs several steps at once may jump over the exact multiple.
        due = self.every_steps and self._last_step // self.every_steps > before // self.every_steps
        ends = self.every_epochs and self.progress.at_epoch_end and self.progress.epoch % self.every_epochs == 0
        if due or ends:
            self._run(parameters.train_network)

    def _run(self, network: nn.Cell) -> None:
        modes = _modes(network)
        started = time.perf_counter()
        network.set_train(False)
        try:
            self.metrics = metrics = dict(self.evaluate())
            self._scored_step = self.progress.global_step
        finally:
            _restore(modes)
        shown = ", ".join(f"{name}: {value:.6g}" for name, value in metrics.items())
        seconds = time.perf_counter() - started
        self.progress.paused += seconds
        logger.info(
            "Evaluation after step %d (epoch %d): %s, in %.1f s",
            self.progress.global_step,
            self.progress.epoch,
            shown,
            seconds,
        )
        if self.scalars is not None:
            self.scalars.write(
                self.progress.global_step,
                self.progress.epoch,
                {f"eval/{name}": value for name, value in metrics.items()},
            )
        if self.watch is not None:
            self._note_best(metrics)

    def _note_best(self, metrics: Mapping[str, float]) -> None:
        if self.watch not in metrics:
            raise UsageError(
                f"the metric '{self.watch}' is to be watched, but evaluation returns "
                f"{', '.join(sorted(metrics)) or 'nothing'}"
            )
        value = float(metrics[self.watch])
        if self.improves(value, self.best):
            self.best = value


def _modes(network: nn.Cell) -> List[Tuple[nn.Cell, bool]]:
    """Return every cell, parents first, with its training flag."""
    return [(cell, cell.training) for _, cell in network.cells_and_names()]


def _restore(modes: List[Tuple[nn.Cell, bool]]) -> None:
    """Give every cell its flag back. `set_train` sets the cells below too, so parents come first."""
    for cell, training in modes:
        if cell.training != training:
            cell.set_train(training)
