"""Watches every step: loss, time, learning rate, overflow; as log lines, a progress bar and scalars."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import List, Optional

from mindspore import Parameter
from mindspore.train.callback import Callback, RunContext

from mindformers.errors import MindFormersError, UsageError
from mindformers.log import logger
from mindformers.train.progress import Progress
from mindformers.train.progress_bar import STEP_LINE, ProgressBar, on_terminal
from mindformers.train.scalars import ScalarWriter

MOST_SKIPPED = 50
"""Updates that may be skipped in a row. A dynamic scale falls from 2^32 to 1 in 32 steps, so more cannot help."""

RECENT = 20
"""Steps whose mean time the progress bar shows."""

BAR_PAUSE = 0.1
"""Seconds between two drawings of the progress bar."""


class LossMonitor(Callback):
    """Logs a line every `per_print_times` steps and one at the end of each epoch, in the format of MindFormers r0.3.

    A line shows the loss of the step and the mean over the epoch so far, the mean time of a step since the last line,
    what the step's learning rate was, whether it overflowed and which loss scale it used, then samples a second and
    the time left. The time of a step is real time from the end of the one before: waiting for data counts, evaluation
    and checkpoints do not. The first step, which contains the compilation of the graph, is reported once by itself and
    counted in no mean. On a terminal a progress bar takes the place of the lines of steps, which log files still get.

    Args:
        progress: shared with the other callbacks.
        batch_size: samples that one step consumes on all devices together.
        scalars: receives loss, lr, grad_norm, loss_scale, overflow and samples_per_second of every step.

    Raises:
        UsageError: for `per_print_times` below 1.
        MindFormersError: while training, after 50 updates in a row were skipped for gradients that are not finite.
    """

    def __init__(
        self, progress: Progress, batch_size: int, per_print_times: int = 1, scalars: Optional[ScalarWriter] = None
    ):
        super().__init__()
        if per_print_times < 1:
            raise UsageError(f"per_print_times is {per_print_times}; it must be at least 1")
        self.progress, self.batch_size, self.per_print_times = progress, batch_size, per_print_times
        self.scalars = scalars
        self.skipped = 0
        self._bar: Optional[ProgressBar] = None
        self._bar_drawn = 0.0
        self._first_seconds = math.nan
        self._losses: List[float] = []
        self._seconds: List[float] = []
        self._unprinted: List[float] = []
        self._last_step = progress.global_step
        self._epoch_started = 0.0
        self._step_from = (0.0, 0.0)
        self._timed_from = (0.0, 0)

    def on_train_begin(self, run_context: RunContext) -> None:
        """Follow the call of `Model.train` that begins; show the bar on a terminal."""
        self.progress.begin()
        if on_terminal():
            self._bar = ProgressBar(self.progress.total_steps, self.progress.global_step)
            self._bar.start()

    def on_train_epoch_begin(self, run_context: RunContext) -> None:
        """Begin the means of an epoch."""
        self._losses, self._seconds, self._unprinted = [], [], []
        self._epoch_started = time.perf_counter()
        self._step_from = (self._epoch_started, self.progress.paused)

    def on_train_step_end(self, run_context: RunContext) -> None:
        """Read the results of the step, which waits for the device, and show them."""
        parameters = run_context.original_args()
        step = self.progress.advance(parameters.cur_step_num)
        loss, overflow, scale, norm = (output.asnumpy().item() for output in parameters.net_outputs)
        now = time.perf_counter()
        self._note_time(now, step - self._last_step)
        self._last_step = step
        if math.isfinite(loss):
            self._losses.append(loss)
        self._count_skipped(overflow, scale, loss)
        rate = self._learning_rate(parameters.train_network.optimizer, overflow)
        printed = step % self.per_print_times == 0 or self.progress.at_epoch_end
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
                    "samples_per_second": self._samples_per_second(self._seconds[-1:]),
                },
            )

    def on_train_epoch_end(self, run_context: RunContext) -> None:
        """Log the line of the epoch."""
        milliseconds = 1e3 * (time.perf_counter() - self._epoch_started)
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
            logger.info("First step: %5.3f ms, including the compilation of the graph", 1e3 * seconds)
            return
        self._seconds.append(seconds / steps)
        self._unprinted.append(seconds / steps)

    def _count_skipped(self, overflow: bool, scale: float, loss: float) -> None:
        """Warn of skipped updates that no dynamic scale explains, and give up when they do not end."""
        self.skipped = self.skipped + 1 if overflow else 0
        if overflow and not math.isfinite(loss):
            logger.warning("step %d: the loss is %s; the update was skipped", self.progress.global_step, loss)
        if self.skipped >= MOST_SKIPPED:
            raise MindFormersError(
                f"step {self.progress.global_step}: the gradients were not finite in the last {self.skipped} steps "
                f"(loss {loss}, loss scale {scale:g}); training cannot go on. Lower the learning rate, or look for "
                f"broken values in the data or the weights"
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

    def _samples_per_second(self, seconds: List[float]) -> float:
        return self.batch_size / self._mean_seconds(seconds)

    def _speed(self, seconds: List[float]) -> str:
        """Return samples a second and the time left, the latter from wall-clock time with all that happens between."""
        since, at_step = self._timed_from
        done = self.progress.global_step - at_step
        left = "unknown"
        if done > 0:
            remaining = self.progress.total_steps - self.progress.global_step
            left = str(timedelta(seconds=round((time.perf_counter() - since) / done * remaining)))
        return f"{self._samples_per_second(seconds):.1f} samples/s, eta: {left}"


def _mean(values: List[float]) -> float:
    return sum(values) / len(values) if values else math.nan
