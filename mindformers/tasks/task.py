"""What a run asks of every task beside its data, metric and predictions; a task changes what differs."""

from __future__ import annotations

from typing import Optional

from mindspore import nn


class Task:
    """Base of the tasks."""

    metric_name: str
    """The name that a score is logged under."""
    main_metric: Optional[str] = None
    """The score that says which of two models is better; None when none is known to."""
    larger_is_better = True
    names_outputs = False
    """Whether outputs have names, kept beside the weights: `adopt_labels(labels)` and `save_labels(folder)` exist."""

    def scored(self, model: nn.Cell) -> nn.Cell:
        """Return the cell whose outputs the metric takes: the model itself, unless the task needs less of it."""
        return model
