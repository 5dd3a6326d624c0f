"""The question-answering metric that a MindSpore evaluation drives batch by batch."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

import numpy as np
from mindspore.train import Metric

from mindformers.data.loader import FILLER_ROW
from mindformers.data.qa_features import Features
from mindformers.data.squad import Example
from mindformers.errors import DataError
from mindformers.evaluate.spans import Answer, Candidates, SpanSettings, merged, question_answers, window_candidates
from mindformers.evaluate.squad import score
from mindformers.evaluate.squad_v2 import null_margin, score_with_unanswerable


class SpanMetric(Metric):
    """Exact match and F1 over all windows that were shown to it since `clear`."""

    def __init__(self, examples: Sequence[Example], features: Features, settings: SpanSettings):
        super().__init__()
        self._examples, self._features, self._settings = examples, features, settings
        self._candidates: List[Candidates] = []
        self.clear()

    def clear(self) -> None:
        """Forget all windows."""
        self._candidates = []

    def update(self, *inputs) -> None:
        """Take rows [B] and start and end logits [B, S], arrays or Tensors; rows of -1 fill up a batch and count not.

        Raises DataError for anything but three inputs of matching shapes.
        """
        if len(inputs) != 3:
            raise DataError(
                f"the question-answering metric takes rows, start logits and end logits, but got {len(inputs)} inputs"
            )
        rows, start_logits, end_logits = (to_numpy(item) for item in inputs)
        expected = (rows.size, self._features.input_ids.shape[1])
        if start_logits.shape != expected or end_logits.shape != expected:
            raise DataError(
                f"logits of shapes {start_logits.shape} and {end_logits.shape} do not fit {rows.size} "
                f"windows; expected is {expected}"
            )
        real = rows.ravel() != FILLER_ROW
        if real.any():
            self._candidates.append(
                window_candidates(
                    self._features, rows.ravel()[real], start_logits[real], end_logits[real], self._settings
                )
            )

    def answers(self) -> Dict[str, List[Answer]]:
        """Return the n-best list of every question of which a window was seen, by id."""
        if not self._candidates:
            return {}
        together = merged(self._candidates)
        seen = set(self._features.example_index[together.rows].tolist())
        lists = question_answers([item.context for item in self._examples], self._features, together, self._settings)
        return {item.id: answers for index, (item, answers) in enumerate(zip(self._examples, lists)) if index in seen}

    def predictions(self) -> Dict[str, str]:
        """Return the best answer text of every question of which a window was seen, by id; "" when it has no span."""
        return best_texts(self.answers())

    def details(self) -> Dict[str, Dict[str, Any]]:
        """Return what an evaluation also writes, each by id: best answers and n-best lists.

        Where questions may have no answer, `null_odds` says by how much "no answer" scores above the best span, None
        where there is no span.
        """
        answers = self.answers()
        found: Dict[str, Dict[str, Any]] = {"predictions": best_texts(answers)}
        found["nbest_predictions"] = {
            identity: [
                {"text": item.text, "probability": item.score, "start": item.start, "end": item.end} for item in items
            ]
            for identity, items in answers.items()
        }
        if self._settings.null_threshold is not None:
            margins = {identity: null_margin(items)[0] for identity, items in answers.items()}
            found["null_odds"] = {name: margin if np.isfinite(margin) else None for name, margin in margins.items()}
        return found

    def result(self) -> Dict[str, float]:
        """Return exact_match, f1 (0 to 100), scored and total; more where questions may have no answer."""
        if self._settings.null_threshold is None:
            return score(self.predictions(), self._examples)
        return score_with_unanswerable(self.answers(), self._examples)

    def eval(self) -> Dict[str, float]:
        """Return `result()`, under the name that MindSpore calls."""
        return self.result()


def best_texts(answers: Mapping[str, Sequence[Answer]]) -> Dict[str, str]:
    """Return the first text of every n-best list, by id; "" of an empty list."""
    return {identity: items[0].text if items else "" for identity, items in answers.items()}


def to_numpy(value) -> np.ndarray:
    """Return an array or Tensor as an array."""
    return value.asnumpy() if hasattr(value, "asnumpy") else np.asarray(value)
