"""The scores of GLUE (Wang et al. 2019, arXiv:1804.07461, section 3), all as fractions, of whole data sets."""

from __future__ import annotations

from typing import Callable, Dict, Sequence

import numpy as np
from mindspore.train import Metric

from mindformers.data.loader import FILLER_ROW
from mindformers.errors import DataError, UsageError, suggestion
from mindformers.evaluate.span_metric import to_numpy

COMBINED = "combined_score"


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of right classes."""
    return float(np.mean(predicted == labels))


def f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Return the harmonic mean of precision and recall of class 1 of two; 0 where class 1 never occurs."""
    if max(predicted.max(), labels.max()) > 1:
        raise UsageError("f1 is the score of two classes, but there are more; use accuracy")
    hits = np.sum((predicted == 1) & (labels == 1))
    parts = np.sum(predicted == 1) + np.sum(labels == 1)
    return float(2 * hits / parts) if parts else 0.0


def matthews_correlation(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Return Matthews' correlation of classes (Gorodkin 2004 for more than two); 0 where one class is all there is."""
    size = 1 + max(predicted.max(), labels.max())
    one_hot_predicted, one_hot_labels = np.eye(size)[predicted], np.eye(size)[labels]
    centered = one_hot_predicted - one_hot_predicted.mean(axis=0), one_hot_labels - one_hot_labels.mean(axis=0)
    between = (centered[0] * centered[1]).sum()
    within = (centered[0] ** 2).sum() * (centered[1] ** 2).sum()
    return float(between / np.sqrt(within)) if within > 0 else 0.0


def pearson(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Return Pearson's correlation of numbers; 0 where one side never changes."""
    from scipy.stats import pearsonr

    return float(pearsonr(predicted, labels).statistic) if _vary(predicted, labels) else 0.0


def spearmanr(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Return Spearman's correlation of ranks; 0 where one side never changes."""
    from scipy.stats import spearmanr as correlation

    return float(correlation(predicted, labels).statistic) if _vary(predicted, labels) else 0.0


def _vary(predicted: np.ndarray, labels: np.ndarray) -> bool:
    return min(len(np.unique(predicted)), len(np.unique(labels))) > 1


OF_CLASSES = {"accuracy": accuracy, "f1": f1, "matthews_correlation": matthews_correlation}
OF_NUMBERS = {"pearson": pearson, "spearmanr": spearmanr}
SCORES: Dict[str, Callable[[np.ndarray, np.ndarray], float]] = {**OF_CLASSES, **OF_NUMBERS}
"""Name -> score of predictions against labels: classes, int [n], or numbers, float [n]."""


def check_scores(scores: Sequence[str], is_number: bool) -> None:
    """Raise UsageError for a score that does not exist or does not fit labels of this kind."""
    for name in scores:
        if name not in SCORES:
            raise UsageError(f"metric.scores: unknown score '{name}'.{suggestion(name, tuple(SCORES))}")
        if (name in OF_NUMBERS) != is_number:
            kind, able = ("numbers", OF_NUMBERS) if is_number else ("classes", OF_CLASSES)
            raise UsageError(f"metric.scores: '{name}' does not score {kind}; these do: {', '.join(able)}")


class LabelMetric(Metric):
    """Scores of all rows that were shown since `clear`."""

    def __init__(self, labels: np.ndarray, scores: Sequence[str]):
        """Take the labels of all rows, int [n] for classes or float [n] for numbers, and names in `SCORES`."""
        super().__init__()
        self._labels, self._scores = labels, tuple(scores)
        self._is_number = labels.dtype.kind == "f"
        check_scores(self._scores, self._is_number)
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        self._predicted = np.zeros_like(self._labels)
        self._seen = np.zeros(len(self._labels), bool)

    def update(self, *inputs) -> None:
        """Take rows [B] and logits [B, labels], arrays or Tensors; rows of -1 fill up a batch and count not.

        Raises DataError for anything but two inputs of matching shapes, or a class that the model has no output for.
        """
        if len(inputs) != 2:
            raise DataError(f"the classification metric takes rows and logits, but got {len(inputs)} inputs")
        rows, logits = to_numpy(inputs[0]).ravel(), to_numpy(inputs[1])
        if logits.ndim != 2 or len(logits) != len(rows) or (logits.shape[1] == 1) != self._is_number:
            kind = "one number" if self._is_number else "a score for each of several classes"
            raise DataError(f"logits of shape {logits.shape} do not fit {len(rows)} rows with {kind}")
        if not self._is_number and self._labels.max() >= logits.shape[1]:
            raise DataError(
                f"the model has {logits.shape[1]} outputs, but the data has label {self._labels.max()}, counted from 0"
            )
        real = rows != FILLER_ROW
        self._predicted[rows[real]] = (logits[:, 0] if self._is_number else logits.argmax(axis=1))[real]
        self._seen[rows[real]] = True

    def result(self) -> Dict[str, float]:
        """Return every score, their mean as combined_score when there are several, and scored and total rows."""
        if not self._seen.any():
            raise DataError("no row was scored")
        predicted, labels = self._predicted[self._seen], self._labels[self._seen]
        scores = {name: SCORES[name](predicted, labels) for name in self._scores}
        if len(scores) > 1:
            scores[COMBINED] = float(np.mean(list(scores.values())))
        return {**scores, "scored": int(self._seen.sum()), "total": len(self._seen)}

    def eval(self) -> Dict[str, float]:
        """Return `result()`, under the name that MindSpore calls."""
        return self.result()
