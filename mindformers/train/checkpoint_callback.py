"""Checkpoints during training."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Sequence

from mindspore.train.callback import Callback, RunContext

from mindformers.errors import OutputError, UsageError
from mindformers.log import logger
from mindformers.parallel.context import ParallelContext
from mindformers.train.background import Background
from mindformers.train.checkpoint import Snapshot, TrainState, save_checkpoint, take_snapshot
from mindformers.train.checkpoint_files import list_checkpoints, newest_valid, path_for
from mindformers.train.checkpoint_retention import best_of, free_prefix, remove_abandoned, remove_outdated
from mindformers.train.eval_callback import EvalCallback
from mindformers.train.hooks import LAST, TrainingCallback, states_of
from mindformers.train.progress import Progress
from mindformers.train.random_state import capture_random_state
from mindformers.train.step import TrainStep


class CheckpointMonitor(TrainingCallback):
    """Saves a checkpoint every `save_checkpoint_steps` steps and at the end of training; keeps the last and the best.

    Other checkpoints of this run and rank are removed once the new one is complete; those of other runs are never
    touched: when they carry the same prefix, this run's becomes `prefix`_1. With `async_save` training goes on once
    the state is copied in memory; what goes wrong in writing is raised at a later step, or logged when another error
    ends training. A step whose score is among the best is saved though none is due.

    Args:
        prefix: of the folder names.
        directory: where they go; created when absent.
        progress: shared with the other callbacks.
        save_checkpoint_steps: batches between two checkpoints; 0 leaves it to time and the end.
        save_checkpoint_seconds: also saves when so much time has passed since the last one; 0 for never.
        keep_checkpoint_max: how many of the newest stay; 0 keeps all.
        keep_checkpoint_best: how many of the best by `evaluation` stay besides.
        async_save: writes in a thread beside training.
        context: the ranks of this run; None for a single process.
        folder_of: tells where the checkpoints of each rank go, when that is not `directory`.
        run_id: of the run that is resumed; None starts a new one.
        identity: what a resumed run must share.
        evaluation: says the score of a step.
        states: callbacks whose state is saved.
        extras: write files of their own into the folder that each is called with.
        upload: called with the folder of every complete checkpoint; an error in it is logged and training goes on.

    Raises:
        UsageError: for a negative setting, the best without an evaluation, or seconds with several ranks.
        OutputError: when training begins, if `directory` cannot be written; later, if a checkpoint cannot.
    """

    priority = LAST

    def __init__(
        self,
        prefix: str,
        directory: Path,
        progress: Progress,
        save_checkpoint_steps: int = 0,
        save_checkpoint_seconds: int = 0,
        keep_checkpoint_max: int = 5,
        keep_checkpoint_best: int = 0,
        async_save: bool = False,
        *,
        context: Optional[ParallelContext] = None,
        folder_of: Optional[Callable[[int], Path]] = None,
        run_id: Optional[str] = None,
        identity: Optional[Dict[str, Any]] = None,
        evaluation: Optional[EvalCallback] = None,
        states: Sequence[Callback] = (),
        extras: Sequence[Callable[[Path], object]] = (),
        upload: Optional[Callable[[Path], object]] = None,
    ):
        super().__init__()
        for name, value in (
            ("save_checkpoint_steps", save_checkpoint_steps),
            ("save_checkpoint_seconds", save_checkpoint_seconds),
            ("keep_checkpoint_max", keep_checkpoint_max),
            ("keep_checkpoint_best", keep_checkpoint_best),
        ):
            if value < 0:
                raise UsageError(f"{name} is {value}; it must be 0 or more")
        if keep_checkpoint_best and (evaluation is None or evaluation.watch is None):
            raise UsageError(
                f"keep_checkpoint_best is {keep_checkpoint_best}, but no evaluation says which checkpoint is best; "
                "set do_eval, with a task that names a main metric, or remove it"
            )
        self.context = context or ParallelContext("CPU")
        if save_checkpoint_seconds and self.context.num_ranks > 1:
            raise UsageError(
                f"save_checkpoint_seconds is {save_checkpoint_seconds}, but each of the {self.context.num_ranks} ranks "
                "has a clock of its own and would save another step; set save_checkpoint_steps instead"
            )
        self.prefix, self.directory, self.progress = prefix, Path(directory), progress
        self.every_steps, self.every_seconds = save_checkpoint_steps, save_checkpoint_seconds
        self.keep, self.keep_best = keep_checkpoint_max, keep_checkpoint_best
        self.folder_of = folder_of or (lambda rank: self.directory)
        self.rank, self.run_id, self.identity = self.context.rank, run_id or uuid.uuid4().hex, identity or {}
        self.evaluation, self.states = evaluation, tuple(states)
        self.extras, self.upload = tuple(extras), upload
        self._background = Background() if async_save else None
        self._last_step = progress.global_step
        self._saved_step = -1
        self._saved_time = time.monotonic()

    def on_train_begin(self, run_context: RunContext) -> None:
        """Make sure that checkpoints can be written, and under which prefix, before anything is trained."""
        self.progress.begin()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            probe = self.directory / f".write-test-{self.run_id}-{self.rank}"
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
        """Save when the step, the time or its score says so."""
        parameters = run_context.original_args()
        before, self._last_step = self._last_step, self.progress.advance(parameters.cur_step_num)
        if self._background is not None:
            self._background.check()
        # A device that runs several steps at once may jump over the exact multiple.
        due = self.every_steps > 0 and self._last_step // self.every_steps > before // self.every_steps
        late = self.every_seconds > 0 and time.monotonic() - self._saved_time >= self.every_seconds
        if due or late or self._is_among_the_best():
            self._save(parameters.train_network)

    def on_train_end(self, run_context: RunContext) -> None:
        """Save what the last step left unsaved, and return when everything is on the disk."""
        if self._saved_step != self.progress.global_step:
            self._save(run_context.original_args().train_network)
        self.finish()

    def __exit__(self, *error: object) -> None:
        # Training that ends by an exception does not reach `on_train_end`; that exception is the one to raise.
        try:
            self.finish()
        except Exception:
            logger.exception("a checkpoint that was being written when training ended is lost")

    def newest(self) -> Optional[Path]:
        """Return this rank's newest checkpoint of the run that is valid on every rank, the same step on all of them.

        All ranks call it together; rank 0 decides.
        """
        self.finish()
        entry = newest_valid(self.folder_of, self.run_id)[0] if self.rank == 0 else None
        step = self.context.agree(-1 if entry is None else entry.global_step)
        entries = [item for item in list_checkpoints(self.folder_of(0), 0) if item.global_step == step >= 0]
        return path_for(entries[-1], self.folder_of, self.rank) if entries else None

    def finish(self) -> None:
        """Return when no checkpoint is being written. Raises what went wrong in it."""
        if self._background is not None:
            self._background.wait()

    def _is_among_the_best(self) -> bool:
        score = self.evaluation.score if self.keep_best and self.evaluation is not None else None
        if score is None:
            return False
        self.finish()
        own = [entry for entry in list_checkpoints(self.directory, self.rank) if entry.run_id == self.run_id]
        best = best_of(own, self.keep_best, self.evaluation.watch_max)
        return len(best) < self.keep_best or self.evaluation.improves(score, best[-1].metric)

    def _save(self, step: TrainStep) -> None:
        started = time.monotonic()
        snapshot = take_snapshot(
            self._state(), step.loss_cell.model, step.optimizer, step.state_cells, copy=self._background is not None
        )
        if self._background is None:
            self._write(snapshot)
        else:
            self._background.start(lambda: self._write(snapshot))
        self._saved_step, self._saved_time = self.progress.global_step, time.monotonic()
        self.progress.paused += self._saved_time - started

    def _state(self) -> TrainState:
        progress, evaluation = self.progress, self.evaluation
        return TrainState(
            epoch=progress.epoch,
            step=progress.step,
            global_step=progress.global_step,
            run_id=self.run_id,
            best_metric=evaluation.best if evaluation is not None else None,
            metric=evaluation.score if evaluation is not None else None,
            random=capture_random_state(),
            identity=self.identity,
            callbacks=states_of(self.states),
            ranks=self.context.num_ranks,
        )

    def _write(self, snapshot: Snapshot) -> None:
        started = time.monotonic()
        path = save_checkpoint(self.directory, self.prefix, self.rank, snapshot, self.extras)
        if self.keep:
            larger = self.evaluation is None or self.evaluation.watch_max
            remove_outdated(self.directory, self.run_id, self.rank, self.keep, self.keep_best, larger)
        logger.info("Saved checkpoint %s in %.1f s", path, time.monotonic() - started)
        if self.upload is not None:
            self._upload(path)

    def _upload(self, path: Path) -> None:
        try:
            self.upload(path)
        except Exception:  # the user's code; weeks of training do not end because a store is away
            logger.exception("the checkpoint %s is complete here, but its upload failed", path)
