"""Watches every step: loss, time, learning rate, overflow; as log lines, a progress bar and scalars."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import List, Optional

from mindspore import Parameter
from mindspore.train.callback import RunContext

from mindformers.errors import UsageError
from mindformers.log import logger
from mindformers.train.hooks import FIRST, TrainingCallback
from mindformers.train.progress import Progress
from mindformers.train.progress_bar import STEP_LINE, ProgressBar, on_terminal
from mindformers.train.scalars import ScalarWriter
from mindformers.train.throughput import StepWork

RECENT = 20
"""Steps whose mean time the progress bar shows."""

BAR_PAUSE = 0.1
"""Seconds between two drawings of the progress bar."""


class LossMonitor(TrainingCallback):
    """Logs a line every `per_print_times` steps and one at the end of each epoch, in the format of MindFormers r0.3.

    A line shows the loss of the step and the mean over the epoch so far, the mean time of a step since the last line,
    what the step's learning rate was, whether it overflowed and which loss scale it used, then samples a second and
    the time left. The time of a step is real time from the end of the one before: waiting for data counts, evaluation
    and checkpoints do not. The first step, which contains the compilation of the graph, is reported once by itself and
    counted in no mean. On a terminal a progress bar takes the place of the lines of steps, which log files still get.

    Args:
        progress: shared with the other callbacks.
        work: what one step does on all devices together.
        per_print_times: steps from one line to the next; None for none at all, with scalars only.
        scalars: receives loss, lr, grad_norm, loss_scale, overflow, wait_seconds (callbacks and data before it) and
            the rates of the work of every step.

    Raises:
        UsageError: for `per_print_times` below 1.
    """

    priority = FIRST

    def __init__(
        self,
        progress: Progress,
        work: StepWork,
        per_print_times: Optional[int] = 1,
        scalars: Optional[ScalarWriter] = None,
    ):
        super().__init__()
        if per_print_times is not None and per_print_times < 1:
            raise UsageError(f"per_print_times is {per_print_times}; it must be at least 1")
        self.progress, self.work, self.per_print_times = progress, work, per_print_times
        self.scalars = scalars
        self._bar: Optional[ProgressBar] = None
        self._bar_drawn = 0.0
        self._first_seconds = math.nan
        self._graphs = 1
        self._losses: List[float] = []
        self._seconds: List[float] = []
        self._unprinted: List[float] = []
        self._last_step = progress.global_step
        self._epoch_from = (0.0, 0.0)
        self._step_from = (0.0, 0.0)
        self._waited = 0.0
        self._timed_from = (0.0, 0)

    def on_train_begin(self, run_context: RunContext) -> None:
        """Follow the call of `Model.train` that begins; show the bar on a terminal."""
        self.progress.begin()
        if self.per_print_times is not None and on_terminal():
            self._bar = ProgressBar(self.progress.total_steps, self.progress.global_step)
            self._bar.start()

    def on_train_epoch_begin(self, run_context: RunContext) -> None:
        """Begin the means of an epoch."""
        self._losses, self._seconds, self._unprinted = [], [], []
        self._epoch_from = self._step_from = (time.perf_counter(), self.progress.paused)

    def on_train_step_begin(self, run_context: RunContext) -> None:
        """Note how long the device had nothing to do: the time that callbacks and the data took since the last step."""
        started, paused = self._step_from
        self._waited = time.perf_counter() - started - (self.progress.paused - paused)

    def on_train_step_end(self, run_context: RunContext) -> None:
        """Read the results of the step, which waits for the device, and show them."""
        parameters = run_context.original_args()
        step = self.progress.advance(parameters.cur_step_num)
        loss, overflow, scale, norm = (output.asnumpy().item() for output in parameters.net_outputs[:4])
        now = time.perf_counter()
        self._note_time(now, step - self._last_step)
        self._last_step = step
        if math.isfinite(loss):
            self._losses.append(loss)
        self._note_graphs(len(parameters.train_network.compile_cache))
        rate = self._learning_rate(parameters.train_network.optimizer, overflow)
        every = self.per_print_times
        printed = every is not None and (step % every == 0 or self.progress.at_epoch_end)
        if self._bar is not None and (printed or now - self._bar_drawn >= BAR_PAUSE):
            self._bar_drawn = now
            self._bar.show(
                step,
                f"epoch {self.progress.epoch}/{self.progress.epochs}",
                f"loss {loss:.3f}  lr {rate:.3g}  {self._speed(self._seconds[-RECENT:])}",
            )
        if printed:
            logger.info(self._line(loss, rate, overflow, scale), extra={STEP_LINE: True})
            self._unprinted = []
        if self.scalars is not None:
            self.scalars.write(
                step,
                self.progress.epoch,
                {
                    "loss": loss,
                    "lr": rate,
                    "grad_norm": norm,
                    "loss_scale": scale,
                    "overflow": float(overflow),
                    "wait_seconds": self._waited,
                    **self.work.rates(self._mean_seconds(self._seconds[-1:])),
                },
            )

    def on_train_epoch_end(self, run_context: RunContext) -> None:
        """Log the line of the epoch."""
        if self.per_print_times is None:
            return
        started, paused = self._epoch_from
        milliseconds = 1e3 * (time.perf_counter() - started - (self.progress.paused - paused))
        logger.info(
            "Epoch time: %5.3f ms, per step time: %5.3f ms, avg loss: %5.3f",
            milliseconds,
            1e3 * self._mean_seconds(self._seconds),
            _mean(self._losses),
        )

    def on_train_end(self, run_context: RunContext) -> None:
        """Leave the terminal as it was."""
        self._stop_bar()

    def __exit__(self, *error) -> None:
        # Training that ends by an exception does not reach `on_train_end`.
        self._stop_bar()

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _note_time(self, now: float, steps: int) -> None:
        """Record the time of the step that just ended, or of each of several that a device ran at once."""
        started, paused = self._step_from
        seconds = now - started - (self.progress.paused - paused)
        self._step_from = (now, self.progress.paused)
        if math.isnan(self._first_seconds):
            self._first_seconds = seconds
            self._timed_from = (now, self.progress.global_step)
            if self.per_print_times is not None:
                logger.info("First step: %5.3f ms, including the compilation of the graph", 1e3 * seconds)
            return
        self._seconds.append(seconds / steps)
        self._unprinted.append(seconds / steps)

    def _note_graphs(self, number: int) -> None:
        """Warn when the step was compiled again, which takes as long as the first time."""
        if number > self._graphs:
            self._graphs = number
            logger.warning(
                "step %d: the graph was compiled again, %d graphs by now: the batch has another shape or type than "
                "before; let the dataset yield one shape (pad, or drop the remainder)",
                self.progress.global_step,
                number,
            )

    def _learning_rate(self, optimizer, overflow: bool) -> float:
        """Return the rate of the step that just ended; a skipped one did not move the optimizer's count."""
        updates = int(optimizer.global_step.asnumpy().item())
        step = updates if overflow else updates - 1
        rate_at = getattr(optimizer, "learning_rate_at", None)
        if rate_at is not None:
            return rate_at(step)
        # A user's own optimizer: MindSpore keeps one rate, or an array by step, or a cell that tells it.
        rate = optimizer.learning_rate
        if not isinstance(rate, Parameter):
            return math.nan
        values = rate.asnumpy().ravel()
        return float(values[min(step, len(values) - 1)])

    def _line(self, loss: float, rate: float, overflow: bool, scale: float) -> str:
        progress = self.progress
        return (
            f"Epoch:[{progress.epoch:3d}/{progress.epochs:3d}], "
            f"step:[{progress.step:5d}/{progress.steps_per_epoch:5d}], "
            f"loss:[{loss:5.3f}/{_mean(self._losses):5.3f}], "
            f"time:{1e3 * self._mean_seconds(self._unprinted):5.3f} ms, "
            f"lr:{rate:.6g}, overflow cond: {bool(overflow)}, loss_scale: {scale}, {self._speed(self._unprinted)}"
        )

    def _mean_seconds(self, seconds: List[float]) -> float:
        """Return the mean, or the time of the first step while there is no other."""
        return _mean(seconds) if seconds else self._first_seconds

    def _speed(self, seconds: List[float]) -> str:
        """Return what is done a second and the time left, the latter with all that happens between steps."""
        since, at_step = self._timed_from
        done = self.progress.global_step - at_step
        left = "unknown"
        if done > 0:
            remaining = self.progress.total_steps - self.progress.global_step
            left = str(timedelta(seconds=round((time.perf_counter() - since) / done * remaining)))
        return f"{self.work.text(self._mean_seconds(seconds))}, eta: {left}"


def _mean(values: List[float]) -> float:
    return sum(values) / len(values) if values else math.nan
