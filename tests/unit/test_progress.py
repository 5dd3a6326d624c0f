"""Counting steps and epochs of a training, resumed ones too."""

import pytest

from mindformers.errors import UsageError
from mindformers.train.progress import Progress


def test_progress_counts_through_resumption_and_several_calls():
    progress = Progress(steps_per_epoch=5, epochs=2, first_step=3)
    assert (progress.epoch, progress.step) == (1, 3)
    progress.begin()
    assert progress.advance(2) == progress.advance(2) == 5
    assert (progress.epoch, progress.step, progress.at_epoch_end) == (1, 5, True)
    progress.begin()
    progress.begin()
    progress.advance(1)
    assert (progress.global_step, progress.epoch, progress.step, progress.at_epoch_end) == (6, 2, 1, False)


def test_a_run_that_is_over_says_so():
    with pytest.raises(UsageError, match="raise the number of epochs"):
        Progress(5, 2, first_step=11)
