"""Weights that stay as they are for a part of training."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Optional, Sequence

from mindspore.train.callback import RunContext

from mindformers.errors import UsageError
from mindformers.log import logger
from mindformers.optim.scheduled import ScheduledOptimizer
from mindformers.train.hooks import FIRST, TrainingCallback
from mindformers.train.progress import Progress


class Freeze(TrainingCallback):
    """Keeps the weights whose paths match after `from_step` steps of the run, until `until_step` steps are done.

    What is frozen follows from the step alone, so a resumed run needs no state. The graph of the step is the same.

    Args:
        progress: shared with the other callbacks.
        optimizer: of the step, which must not have been built yet.
        paths: patterns of parameter paths, e.g. "layers.0.*".
        until_step: None for the rest of training.

    Raises:
        UsageError: for a pattern that matches no trained weight, a weight that another `Freeze` has, steps that are no
            interval, or an optimizer that is not one of this package.
    """

    priority = FIRST

    def __init__(
        self,
        progress: Progress,
        optimizer: ScheduledOptimizer,
        paths: Sequence[str],
        from_step: int = 0,
        until_step: Optional[int] = None,
    ):
        super().__init__()
        if not isinstance(optimizer, ScheduledOptimizer):
            raise UsageError(
                f"Freeze works with the optimizers of mindformers, and not with {type(optimizer).__name__}"
            )
        if from_step < 0 or (until_step is not None and until_step <= from_step):
            raise UsageError(
                f"Freeze from step {from_step} until step {until_step}; the first is at least 0, the second above it"
            )
        self.progress, self.optimizer, self.paths = progress, optimizer, tuple(paths)
        self.from_step, self.until_step = from_step, until_step
        self._groups = optimizer.set_apart(matching(paths, [item.name for item in optimizer.parameters]))
        self._frozen = False

    def on_train_begin(self, run_context: RunContext) -> None:
        """Follow the call of `Model.train` that begins."""
        self.progress.begin()

    def on_train_step_begin(self, run_context: RunContext) -> None:
        """Freeze before the first step that is to leave the weights alone, let them go before the first that is not."""
        done = self.progress.global_step
        frozen = done >= self.from_step and (self.until_step is None or done < self.until_step)
        if frozen != self._frozen:
            self._frozen = frozen
            self.optimizer.freeze(self._groups, frozen)
            logger.info("step %d: %s %s", done + 1, "frozen:" if frozen else "trained again:", ", ".join(self.paths))


def matching(patterns: Sequence[str], paths: Sequence[str]) -> Sequence[str]:
    """Return the paths that match any of the patterns; raises UsageError for a pattern that matches none."""
    idle = [pattern for pattern in patterns if not any(fnmatchcase(path, pattern) for path in paths)]
    if idle or not patterns:
        raise UsageError(
            f"Freeze.paths: {', '.join(map(repr, idle)) or 'an empty list'} matches no trained weight; "
            f"paths look like {', '.join(paths[:3])}"
        )
    return [path for path in paths if any(fnmatchcase(path, pattern) for pattern in patterns)]
