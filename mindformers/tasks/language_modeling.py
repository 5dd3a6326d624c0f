"""What the tasks have in common whose labels are tokens of the text itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, ClassVar, Optional

import numpy as np

from mindformers.arch.stacks import StackArch
from mindformers.catalog import REGISTRY
from mindformers.config.component import Component
from mindformers.data.loader import FeatureSet
from mindformers.errors import DataError
from mindformers.registry import MindFormerModuleType as Type
from mindformers.tasks.task import Task


@dataclass(frozen=True)
class EvalData:
    """A dataset for scoring."""

    features: FeatureSet
    """What the model sees."""


class LanguageModelingTask(Task):
    """A task that makes its labels from text; a subclass says how rows are made (`_features`) and scored.

    `arch`, when known, says how long a row may be and which tokens there are; `seed` draws what is drawn in training;
    `metric` is the section of that name.
    """

    larger_is_better = False
    usual_metric: ClassVar[Callable[[], Any]]
    """Makes the metric of a configuration that names none."""

    def __init__(self, tokenizer: Any, arch: Optional[StackArch], seed: int, metric: Optional[Component]):
        self.tokenizer, self.arch, self.seed = tokenizer, arch, seed
        self._metric = metric

    def train_features(self, source: Any) -> FeatureSet:
        """Return the rows of a training set.

        `source` is a data loader, a path to text, texts of the user's own (or mappings with `text`), or columns by
        name. Raises DataError when the data cannot be used.
        """
        return self._features(source, training=True)

    def eval_features(self, source: Any) -> EvalData:
        """Return the rows of an evaluation set, the last one padded; `source` as in `train_features`."""
        return EvalData(self._features(source, training=False))

    def metric(self, data: EvalData) -> Any:
        """Return a fresh metric; it takes rows and what the cell of `scored` returns."""
        del data
        if self._metric is None:
            return type(self).usual_metric()
        return REGISTRY.resolve(Type.METRIC, self._metric.type)(**self._metric.arguments())

    def _features(self, source: Any, training: bool) -> FeatureSet:
        raise NotImplementedError

    def _check_tokens(self, features: FeatureSet) -> None:
        """Raise DataError for a token outside of the vocabulary."""
        vocab_size = None if self.arch is None else self.arch.vocab_size
        for name in () if vocab_size is None else ("input_ids", "labels"):
            ids = features.columns[name]
            allowed = (ids >= 0) | (ids == features.fillers.get(name, 0))
            wrong = np.argwhere(~allowed | (ids >= vocab_size))
            if len(wrong):
                row, place = (int(item) for item in wrong[0])
                raise DataError(
                    f"row {row}, place {place}: {name} has {int(ids[row, place])}, outside of the model's vocabulary "
                    f"of {vocab_size}; give the model that the rows were made for, or its vocab_size"
                )
