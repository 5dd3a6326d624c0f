"""What a run asks of every task beside its data, metric and predictions; a task changes what differs."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional, Tuple

import numpy as np
from mindspore import Tensor, nn

from mindformers.data.loader import FeatureSet
from mindformers.data.records import RecordFiles
from mindformers.errors import DataError
from mindformers.models.heads import IGNORED
from mindformers.train.step import EvalCell

NAMES_OF_BERT = {"input_mask": "attention_mask", "segment_ids": "token_type_ids", "label_ids": "labels"}
"""What Google's BERT scripts, and MindFormers r0.3 after them, call a column -> its name here."""
MODEL_COLUMNS = ("input_ids", "attention_mask", "token_type_ids")


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

    def eval_cell(self, model: nn.Cell, columns: Tuple[str, ...]) -> nn.Cell:
        """Return what takes a batch of evaluation, its columns and the row numbers: (row numbers, *outputs) out."""
        return EvalCell(self.scored(model), columns)

    def forward(self, model: nn.Cell) -> Callable[[Dict[str, np.ndarray]], Any]:
        """Return what `predict` takes of a model: from here, named arrays of a batch to its outputs as arrays."""
        return forward_of(model)

    @property
    def label_fillers(self) -> Dict[str, float]:
        """The columns of labels in a training row, each with the value that the loss ignores."""
        return {"labels": IGNORED}

    def recorded(self, source: RecordFiles) -> FeatureSet:
        """Return rows of tokens that were written once, e.g. by `mindformers preprocess`, as a training set.

        Raises DataError when labels are missing, or columns that a model takes.
        """
        columns = {NAMES_OF_BERT.get(name, name): array for name, array in source.columns().items()}
        missing = [name for name in ("input_ids", *self.label_fillers) if name not in columns]
        if missing:
            raise DataError(
                f"{source.dataset_dir}: has no column {', '.join(missing)}; its columns are {', '.join(columns)}. "
                "Write such files with 'mindformers preprocess'"
            )
        width = columns["input_ids"].shape[1]
        single = [name for name in self.label_fillers if columns[name].shape[1] == 1 < width]
        columns.update({name: columns[name][:, 0] for name in single})
        tokens = [name for name in MODEL_COLUMNS if name in columns]
        return FeatureSet({name: columns[name] for name in (*tokens, *self.label_fillers)}, self.label_fillers)

    def written(self, features: FeatureSet) -> Mapping[str, np.ndarray]:
        """Return the columns of a training set in the form in which `recorded` reads them."""
        return features.columns

    def learned(self, row: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return which tokens of a row have a label that the loss looks at, bool [S]."""
        labels = row.get("labels", np.array(IGNORED))
        if labels.ndim == 0:
            return np.zeros(len(row["input_ids"]), bool)
        return labels[: len(row["input_ids"])] != IGNORED

    def notes(self, row: Mapping[str, np.ndarray]) -> Dict[str, str]:
        """Return what a row says besides its tokens, for people."""
        return {}


def forward_of(model: nn.Cell) -> Any:
    """Return a function from named arrays to the model's outputs as arrays, in inference mode."""
    cells: Dict[tuple, nn.Cell] = {}

    def forward(batch: Dict[str, np.ndarray]) -> Any:
        names = (*batch, "row")
        if names not in cells:
            model.set_train(False)
            cells[names] = EvalCell(model, tuple(batch))
        rows = Tensor(np.zeros(1, np.int32))
        _, *outputs = cells[names](*(Tensor(array) for array in batch.values()), rows)
        arrays = tuple(output.asnumpy() for output in outputs)
        return arrays if len(arrays) > 1 else arrays[0]

    return forward
