"""The engine's own profile of a few training steps."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Optional

import mindspore as ms
from mindspore.profiler import ProfilerActivity, profile, tensorboard_trace_handler
from mindspore.train.callback import RunContext

from mindformers.log import logger
from mindformers.train.hooks import LAST, TrainingCallback
from mindformers.train.profile_summary import Recorded, summary
from mindformers.train.progress import Progress

ACTIVITIES = {"CPU": [ProfilerActivity.CPU], "Ascend": [ProfilerActivity.CPU, ProfilerActivity.NPU]}
SUMMARY_FILE = "summary.txt"


class ProfileMonitor(TrainingCallback):
    """Records steps `start_step` to `stop_step` (counted from 1, within this process) into `folder`.

    On a CPU a summary is logged afterwards and written beside the trace.

    Args:
        progress: shared with the other callbacks.
        folder: receives MindSpore's trace files.
        from_start: also records what comes before the first step, the compilation included.
        memory: records memory too, where the device can.
    """

    priority = LAST + 1
    """After all others, so that what lies between the end of a step and the next one is the wait for data."""

    def __init__(
        self,
        progress: Progress,
        folder: Path,
        start_step: int,
        stop_step: int,
        from_start: bool = False,
        memory: bool = True,
    ):
        super().__init__()
        self.progress = progress
        self.folder, self.start_step, self.stop_step = Path(folder), start_step, stop_step
        self.from_start, self.memory = from_start, memory
        self._profile: Optional[Any] = None
        self._first_step: Optional[int] = None
        self._began = self._ended = self._waited = 0.0

    def on_train_begin(self, run_context: RunContext) -> None:
        """Start at once when the compilation is to be seen."""
        if self.from_start:
            self._start()

    def on_train_step_begin(self, run_context: RunContext) -> None:
        """Start before the first step that is recorded."""
        step = run_context.original_args().cur_step_num
        if self._first_step is None and step >= self.start_step:
            if self._profile is None:
                self._start()
            self._first_step, self._began = step, time.perf_counter()
        elif self._profile is not None:
            self._waited += time.perf_counter() - self._ended

    def on_train_step_end(self, run_context: RunContext) -> None:
        """Stop after the last step that is recorded."""
        self._ended = time.perf_counter()
        step = run_context.original_args().cur_step_num
        if step >= self.stop_step:
            self._stop(step)

    def on_train_end(self, run_context: RunContext) -> None:
        """Stop when training is shorter than the profile."""
        self._stop(run_context.original_args().cur_step_num)

    def _start(self) -> None:
        device = ms.get_context("device_target")
        self._profile = profile(
            activities=ACTIVITIES.get(device, ACTIVITIES["CPU"]),
            profile_memory=self.memory and device != "CPU",
            on_trace_ready=tensorboard_trace_handler(str(self.folder)),
        )

    def _stop(self, last_step: int) -> None:
        if self._profile is None:
            return
        self._profile.stop()
        self._profile = None
        logger.info("profile of the engine: %s", self.folder)
        if self._first_step is not None:
            steps = last_step - self._first_step + 1
            said = summary(self.folder, Recorded(steps, self._ended - self._began, self._waited))
            if said is not None:
                (self.folder / SUMMARY_FILE).write_text(said + "\n", encoding="utf-8")
                logger.info("summary of the profile:\n%s", said)
        self.progress.paused += time.perf_counter() - self._ended
