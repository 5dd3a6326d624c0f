"""Where in the run a step is: counted in batches, through resumption and several calls of `Model.train`."""

from __future__ import annotations

from mindformers.errors import UsageError


class Progress:
    """Counts the batches that training has consumed; one object is shared by all callbacks of a run.

    Every callback calls `begin` when training begins and `advance` when a step ends; both may be called by several
    callbacks with the same effect as once.

    Args:
        steps_per_epoch: batches in a whole epoch, also when this run starts within one.
        epochs: epochs of the whole run, those before a resumption included.
        first_step: batches consumed before this process started, 0 for a new run.

    `paused` holds the seconds that evaluation and checkpoints took so far, which are no part of a step's time; a
    callback that does such work adds to it.

    Raises:
        UsageError: for an empty run, or a first step beyond its end.
    """

    def __init__(self, steps_per_epoch: int, epochs: int, first_step: int = 0):
        if steps_per_epoch < 1 or epochs < 1:
            raise UsageError(f"a run of {epochs} epochs of {steps_per_epoch} steps; both must be at least 1")
        if not 0 <= first_step <= steps_per_epoch * epochs:
            raise UsageError(
                f"training would start after step {first_step}, but the run has "
                f"{steps_per_epoch * epochs} steps; raise the number of epochs to train further"
            )
        self.steps_per_epoch, self.epochs, self.first_step = steps_per_epoch, epochs, first_step
        self.global_step = first_step
        self.paused = 0.0
        self._base = first_step

    def begin(self) -> None:
        """Start to follow one call of `Model.train`, whose own counter starts at zero."""
        self._base = self.global_step

    def advance(self, steps_of_call: int) -> int:
        """Note that `Model.train` has done `steps_of_call` steps in this call; return the batches of the run so far."""
        self.global_step = self._base + steps_of_call
        return self.global_step

    @property
    def total_steps(self) -> int:
        """Batches of the whole run."""
        return self.steps_per_epoch * self.epochs

    @property
    def epoch(self) -> int:
        """The epoch of the last batch, from 1; before the first batch of an epoch still the one before."""
        return max(self.global_step - 1, 0) // self.steps_per_epoch + 1

    @property
    def step(self) -> int:
        """The number of the last batch within its epoch, from 1; 0 before the first batch of the run."""
        return self.global_step - (self.epoch - 1) * self.steps_per_epoch

    @property
    def at_epoch_end(self) -> bool:
        """Whether the last batch ended its epoch."""
        return self.step == self.steps_per_epoch
