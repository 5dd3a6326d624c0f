"""The engine's own profile of a few training steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import mindspore as ms
from mindspore.profiler import ProfilerActivity, profile, tensorboard_trace_handler
from mindspore.train.callback import RunContext

from mindformers.log import logger
from mindformers.train.hooks import FIRST, TrainingCallback

ACTIVITIES = {"CPU": [ProfilerActivity.CPU], "Ascend": [ProfilerActivity.CPU, ProfilerActivity.NPU]}


class ProfileMonitor(TrainingCallback):
    """Records steps `start_step` to `stop_step` (counted from 1, within this process) into `folder`.

    Args:
        folder: receives MindSpore's trace files.
        from_start: also records what comes before the first step, the compilation included.
        memory: records memory too, where the device can.
    """

    priority = FIRST

    def __init__(self, folder: Path, start_step: int, stop_step: int, from_start: bool = False, memory: bool = True):
        super().__init__()
        self.folder, self.start_step, self.stop_step = Path(folder), start_step, stop_step
        self.from_start, self.memory = from_start, memory
        self._profile: Optional[Any] = None

    def on_train_begin(self, run_context: RunContext) -> None:
        """Start at once when the compilation is to be seen."""
        if self.from_start:
            self._start()

    def on_train_step_begin(self, run_context: RunContext) -> None:
        """Start before the first step that is recorded."""
        if self._profile is None and run_context.original_args().cur_step_num + 1 == self.start_step:
            self._start()

    def on_train_step_end(self, run_context: RunContext) -> None:
        """Stop after the last step that is recorded."""
        if run_context.original_args().cur_step_num >= self.stop_step:
            self._stop()

    def on_train_end(self, run_context: RunContext) -> None:
        """Stop when training is shorter than the profile."""
        self._stop()

    def _start(self) -> None:
        device = ms.get_context("device_target")
        self._profile = profile(
            activities=ACTIVITIES.get(device, ACTIVITIES["CPU"]),
            profile_memory=self.memory and device != "CPU",
            on_trace_ready=tensorboard_trace_handler(str(self.folder)),
        )

    def _stop(self) -> None:
        if self._profile is not None:
            self._profile.stop()
            self._profile = None
            logger.info("profile of the engine: %s", self.folder)
