"""A user's own model and dataset: columns by the names of the model's inputs in, whatever the model returns out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from mindformers.catalog import REGISTRY
from mindformers.config.component import Component
from mindformers.config.schema import RunConfig
from mindformers.data.loader import FeatureSet
from mindformers.errors import DataError, UsageError
from mindformers.registry import MindFormerModuleType as Type
from mindformers.tasks.task import Task


@dataclass(frozen=True)
class EvalData:
    """A dataset for scoring: every column goes to the model, and to the metric's `bind` if it has one."""

    features: FeatureSet


class GeneralTask(Task):
    """Trains any registered model on any registered dataset.

    The dataset has `columns`, name to array [n, ...], or is a list of mappings; the names are the model's inputs. In
    training the model returns its loss. The metric is a `mindspore.train.Metric`: `update(rows, *outputs)` gets the row
    numbers [B] (-1 for rows that fill up a batch) and the model's outputs.
    """

    name = "general"
    metric_name = "Metric"

    def __init__(self, metric: Optional[Component] = None):
        self._metric = metric

    @classmethod
    def from_config(cls, config: RunConfig, tokenizer: Any) -> GeneralTask:
        """Return the task as a configuration describes it."""
        del tokenizer  # a user's dataset brings its own
        return cls(config.metric)

    def train_features(self, source: Any) -> FeatureSet:
        """Return the columns of a training set. Raises DataError when it has none."""
        return FeatureSet(columns_of(source), dict(getattr(source, "fillers", {})))

    def eval_features(self, source: Any) -> EvalData:
        """Return the columns of an evaluation set. Raises DataError when it has none."""
        return EvalData(FeatureSet(columns_of(source)))

    def metric(self, data: EvalData) -> Any:
        """Return the configured metric, bound to the columns it scores. Raises UsageError when there is none."""
        if self._metric is None:
            raise UsageError("evaluation needs a metric: set metric.type to a class registered as METRIC")
        metric = REGISTRY.resolve(Type.METRIC, self._metric.type)(**self._metric.arguments())
        if hasattr(metric, "bind"):
            metric.bind(data.features.columns)
        return metric

    def predict(self, forward: Callable, items: List[Dict[str, Any]], top_k: int = 1, batch_size: int = 1) -> List[Any]:
        """Return the model's outputs, one list per item; an item is a mapping from input name to one row."""
        del top_k, batch_size
        results = []
        for item in items:
            if not isinstance(item, dict):
                raise DataError(
                    f"input {item!r} cannot be read; give an object with one row for each input of the model"
                )
            outputs = forward({name: _row(value)[None] for name, value in item.items()})
            results.append([output[0].tolist() for output in (outputs if isinstance(outputs, tuple) else (outputs,))])
        return results


def _row(value: Any) -> np.ndarray:
    """Return one row in the 32-bit type that models take; plain numbers are 64-bit in NumPy."""
    array = np.asarray(value)
    return array.astype({"f": np.float32, "i": np.int32}.get(array.dtype.kind, array.dtype))


def columns_of(source: Any) -> Dict[str, np.ndarray]:
    """Return name -> array [n, ...] of a user's dataset. Raises DataError when it is of no readable kind."""
    columns = getattr(source, "columns", source)
    if isinstance(columns, dict):
        return {name: np.asarray(column) for name, column in columns.items()}
    try:
        rows = list(columns)
        return {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise DataError(
            f"the dataset {type(source).__name__} cannot be read ({error!r}); it needs `columns` (input name to "
            "array [n, ...]), or rows that are mappings with the same names"
        ) from error
