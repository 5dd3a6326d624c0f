"""A progress bar on a terminal, in place of most log lines."""

from __future__ import annotations

import logging
import sys
from typing import List, Tuple

from mindformers.log import logger

STEP_LINE = "step_line"
"""Attribute of a log record that the bar makes superfluous on the terminal."""


class ProgressBar:
    """One line on standard error: epoch, step, loss, learning rate, samples a second, time left.

    While it lives, the stream handlers of our logger print above it and leave out the lines of single steps.
    """

    def __init__(self, total_steps: int, first_step: int = 0):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("train", total=total_steps, completed=first_step, epoch="", status="compiling")
        self._redirected: List[Tuple[logging.StreamHandler, object]] = []

    def start(self) -> None:
        """Show the bar; the stream handlers write through it from now on."""
        self._bar.start()
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                self._redirected.append((handler, handler.setStream(sys.stderr)))
                handler.addFilter(_is_no_step_line)

    def show(self, step: int, epoch: str, status: str) -> None:
        """Redraw with `step` batches done."""
        self._bar.update(self._task, completed=step, epoch=epoch, status=status)

    def stop(self) -> None:
        """Leave the last state on the terminal and give the stream handlers their stream back."""
        for handler, stream in self._redirected:
            handler.removeFilter(_is_no_step_line)
            if stream is not None:
                handler.setStream(stream)
        self._redirected.clear()
        self._bar.stop()


def _is_no_step_line(record: logging.LogRecord) -> bool:
    return not getattr(record, STEP_LINE, False)


def on_terminal() -> bool:
    """Return whether a person watches standard error."""
    return sys.stderr.isatty()
