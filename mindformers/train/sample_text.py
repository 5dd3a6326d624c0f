"""What the model writes while it is trained."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Callable, List, Optional, Sequence, TextIO

from mindspore.train.callback import RunContext

from mindformers.errors import OutputError, UsageError
from mindformers.log import logger
from mindformers.train.hooks import EVALUATION, TrainingCallback
from mindformers.train.progress import Progress
from mindformers.train.scalars import open_records

FILE_NAME = "samples.jsonl"


class SampleText(TrainingCallback):
    """Lets the model continue `prompts` every `every_steps` steps; logs the texts and appends them to samples.jsonl.

    A line of the file has step, epoch, time (seconds since 1970), prompt and text.

    Args:
        write: returns a text for each prompt.
        progress: shared with the other callbacks.
        folder: where the file lies; a resumed run goes on in it.

    Raises:
        UsageError: for no prompt, or a period below 1.
        OutputError: when the file cannot be written.
    """

    priority = EVALUATION

    def __init__(
        self,
        write: Callable[[], List[str]],
        progress: Progress,
        prompts: Sequence[str],
        every_steps: int,
        folder: Path,
    ):
        super().__init__()
        if not prompts or every_steps < 1:
            raise UsageError(
                f"SampleText has {len(prompts)} prompts and writes every {every_steps} steps; at least one of each"
            )
        self.write, self.progress = write, progress
        self.prompts, self.every_steps = list(prompts), every_steps
        self.path = Path(folder) / FILE_NAME
        self._file: Optional[TextIO] = None
        self._last_step = progress.global_step

    def on_train_begin(self, run_context: RunContext) -> None:
        """Follow the call of `Model.train` that begins; open the file at the first one."""
        self.progress.begin()
        if self._file is None:
            self._file = open_records(self.path, self.progress.global_step)

    def on_train_step_end(self, run_context: RunContext) -> None:
        """Write when the step is due."""
        before = self._last_step
        self._last_step = self.progress.advance(run_context.original_args().cur_step_num)
        # A device that runs several steps at once may jump over the exact multiple.
        if self._last_step // self.every_steps > before // self.every_steps:
            started = time.perf_counter()
            self._record(self.write())
            self.progress.paused += time.perf_counter() - started

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _record(self, texts: Sequence[str]) -> None:
        place = {"step": self.progress.global_step, "epoch": self.progress.epoch, "time": round(time.time(), 3)}
        for prompt, text in zip(self.prompts, texts):
            logger.info("sample after step %d: %r -> %r", self.progress.global_step, prompt, text)
            try:
                self._file.write(json.dumps({**place, "prompt": prompt, "text": text}, ensure_ascii=False) + "\n")
            except OSError as error:
                raise OutputError(f"{self.path}: cannot be written: {error.strerror or error}") from error
