"""Checkpoints during training."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Callable, Optional, Sequence

from mindspore.train.callback import Callback, RunContext

from mindformers.errors import OutputError, UsageError
from mindformers.log import logger
from mindformers.train.checkpoint import TrainState, save_checkpoint
from mindformers.train.checkpoint_files import free_prefix, remove_abandoned, remove_outdated
from mindformers.train.progress import Progress
from mindformers.train.random_state import capture_random_state
from mindformers.train.step import TrainStep


class CheckpointMonitor(Callback):
    """Saves a checkpoint every `save_checkpoint_steps` steps and at the end of training, and keeps the last ones.

    Earlier checkpoints of this run and rank beyond `keep_checkpoint_max` are removed once the new one is complete;
    those of other runs are never touched: when they carry the same prefix, this run's becomes `prefix`_1.

    Args:
        prefix: of the folder names.
        directory: where they go; created when absent.
        progress: shared with the other callbacks.
        save_checkpoint_steps: batches between two checkpoints; 0 leaves it to time and the end.
        save_checkpoint_seconds: also saves when so much time has passed since the last one; 0 for never.
        keep_checkpoint_max: how many stay; 0 keeps all.
        batch_size: samples that one step consumes on all devices together.
        run_id: of the run that is resumed; None starts a new one.
        best_metric: returns the best value so far, e.g. of an EvalCallback.
        extras: write files of their own into the folder that each is called with.

    Raises:
        UsageError: for a negative setting.
        OutputError: when training begins, if `directory` cannot be written; later, if a checkpoint cannot.
    """

    def __init__(
        self,
        prefix: str,
        directory: Path,
        progress: Progress,
        save_checkpoint_steps: int = 0,
        save_checkpoint_seconds: int = 0,
        keep_checkpoint_max: int = 5,
        *,
        rank: int = 0,
        batch_size: int = 0,
        seed: int = 0,
        run_id: Optional[str] = None,
        best_metric: Callable[[], Optional[float]] = lambda: None,
        extras: Sequence[Callable[[Path], object]] = (),
    ):
        super().__init__()
        for name, value in (
            ("save_checkpoint_steps", save_checkpoint_steps),
            ("save_checkpoint_seconds", save_checkpoint_seconds),
            ("keep_checkpoint_max", keep_checkpoint_max),
        ):
            if value < 0:
                raise UsageError(f"{name} is {value}; it must be 0 or more")
        self.prefix, self.directory, self.progress = prefix, Path(directory), progress
        self.every_steps, self.every_seconds = save_checkpoint_steps, save_checkpoint_seconds
        self.keep, self.rank, self.batch_size, self.seed = keep_checkpoint_max, rank, batch_size, seed
        self.run_id = run_id or uuid.uuid4().hex
        self.best_metric, self.extras = best_metric, tuple(extras)
        self._last_step = progress.global_step
        self._saved_step = -1
        self._saved_time = time.monotonic()

    def on_train_begin(self, run_context: RunContext) -> None:
        """Make sure that checkpoints can be written, and under which prefix, before anything is trained."""
        self.progress.begin()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            probe = self.directory / f".write-test-{self.run_id}"
            probe.touch()
            probe.unlink()
            remove_abandoned(self.directory, self.prefix, self.rank)
        except OSError as error:
            raise OutputError(
                f"{self.directory}: checkpoints cannot be written there: {error.strerror or error}"
            ) from error
        self.prefix = free_prefix(self.directory, self.prefix, self.rank, self.run_id)
        self._saved_time = time.monotonic()

    def on_train_step_end(self, run_context: RunContext) -> None:
        """Save when the step or the time is due."""
        parameters = run_context.original_args()
        before, self._last_step = self._last_step, self.progress.advance(parameters.cur_step_num)
        # A device that runs several steps at once may jump over the exact multiple.
        due = self.every_steps > 0 and self._last_step // self.every_steps > before // self.every_steps
        late = self.every_seconds > 0 and time.monotonic() - self._saved_time >= self.every_seconds
        if due or late:
            self._save(parameters.train_network)

    def on_train_end(self, run_context: RunContext) -> None:
        """Save what the last step left unsaved."""
        if self._saved_step != self.progress.global_step:
            self._save(run_context.original_args().train_network)

    def _save(self, step: TrainStep) -> None:
        started = time.monotonic()
        progress = self.progress
        state = TrainState(
            epoch=progress.epoch,
            step=progress.step,
            global_step=progress.global_step,
            batch_size=self.batch_size,
            seed=self.seed,
            run_id=self.run_id,
            best_metric=self.best_metric(),
            random=capture_random_state(),
        )
        path = save_checkpoint(
            self.directory,
            self.prefix,
            self.rank,
            state,
            step.loss_cell.model,
            step.optimizer,
            step.loss_scale,
            self.extras,
        )
        if self.keep:
            remove_outdated(self.directory, self.run_id, self.rank, self.keep)
        self._saved_step, self._saved_time = progress.global_step, time.monotonic()
        progress.paused += self._saved_time - started
        logger.info("Saved checkpoint %s in %.1f s", path, self._saved_time - started)
