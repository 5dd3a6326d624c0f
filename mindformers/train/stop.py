"""Stopping a run from outside: SIGTERM lets the step under way end, saves a checkpoint and ends the run."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any, Optional

from mindspore.train.callback import RunContext

from mindformers.log import logger
from mindformers.train.hooks import DECISION, TrainingCallback
from mindformers.train.progress import Progress

EXIT_CODE = 128 + signal.SIGTERM
"""What a run that SIGTERM stopped exits with, 143: the code a shell shows for a process that the signal ended."""


class RunStoppedError(Exception):
    """Training ended before its last step because it was asked to; its checkpoint is complete."""


class StopOnSignal(TrainingCallback):
    """Ends training after the step under way when this process, or another rank's, receives SIGTERM.

    Ranks agree by a file. A rank that has the signal at the end of step n writes n + 1 into it: no other rank can
    have ended step n + 1, which needs this rank's gradients, and every rank looks when it ends that step. The first
    writer decides.

    Args:
        progress: shared with the other callbacks.
        shared: the file; None for a single process.

    `stopped` says whether training was ended by it.
    """

    priority = DECISION

    def __init__(self, progress: Progress, shared: Optional[Path] = None):
        super().__init__()
        self.progress, self.shared = progress, shared
        self.stopped = False
        self._signalled = False
        self._former: Any = None

    def __enter__(self) -> StopOnSignal:
        # Only the main thread receives signals; a run in another one is stopped by whoever owns the process.
        if threading.current_thread() is threading.main_thread():
            self._former = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        if self._former is not None:
            signal.signal(signal.SIGTERM, self._former)
            self._former = None

    def on_train_begin(self, run_context: RunContext) -> None:
        """Forget what an earlier part of the run agreed on; no rank can have written yet."""
        self.progress.begin()
        if self.shared is not None:
            self.shared.unlink(missing_ok=True)

    def on_train_step_end(self, run_context: RunContext) -> None:
        """Ask for the end when it is due."""
        step = self.progress.advance(run_context.original_args().cur_step_num)
        if self._is_last(step):
            self.stopped = step < self.progress.total_steps
            logger.info("stopping after step %d, as SIGTERM asked", step)
            run_context.request_stop()

    def _is_last(self, step: int) -> bool:
        if self.shared is None:
            return self._signalled
        if self._signalled and not self.shared.exists():
            self._propose(step + 1)
        try:
            return step >= int(self.shared.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False

    def _propose(self, step: int) -> None:
        """Write `step`, whole at once; another rank's proposal stays."""
        draft = self.shared.with_name(f"{self.shared.name}.{os.getpid()}")
        draft.write_text(str(step), encoding="utf-8")
        try:
            os.link(draft, self.shared)
        except FileExistsError:
            logger.info("another rank has proposed where to stop")
        finally:
            draft.unlink()

    def _note(self, number: int, frame: object) -> None:
        self._signalled = True
