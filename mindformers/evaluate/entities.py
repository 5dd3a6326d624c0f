"""Precision, recall and F1 of whole entities, and the metric that a MindSpore evaluation drives batch by batch.

The definition is that of conlleval (Tjong Kim Sang & De Meulder 2003, section 2.3), which seqeval follows: an entity is
right when type, beginning and end are. Shares are from 0 to 1; without any entity to divide by, they are 0.
"""

from __future__ import annotations

from collections import Counter
from typing import Dict, Iterable, List, NamedTuple, Sequence, Tuple

import numpy as np
from mindspore.train import Metric

from mindformers.data.entities import Record
from mindformers.data.loader import FILLER_ROW
from mindformers.data.tags import LabelSet, Span
from mindformers.data.token_features import TokenFeatures
from mindformers.errors import DataError
from mindformers.evaluate.span_metric import to_numpy
from mindformers.log import logger


class EntityScore(NamedTuple):
    """Scores of one type, or of all together."""

    precision: float
    recall: float
    f1: float
    entities: int
    """How many there are in the data."""


def score_entities(
    expected: Sequence[Iterable[Span]], predicted: Sequence[Iterable[Span]]
) -> Tuple[EntityScore, Dict[str, EntityScore]]:
    """Return the scores of all entities (micro average) and those of each type, types in alphabetical order.

    Both sequences hold the entities of one text after the other.
    """
    there: Counter = Counter()
    claimed: Counter = Counter()
    right: Counter = Counter()
    for truth, guess in zip(expected, predicted):
        truth, guess = set(truth), set(guess)
        for counter, spans in ((there, truth), (claimed, guess), (right, truth & guess)):
            counter.update(span.type for span in spans)
    by_type = {kind: _score(there[kind], claimed[kind], right[kind]) for kind in sorted({*there, *claimed})}
    return _score(*(sum(counter.values()) for counter in (there, claimed, right))), by_type


def _score(there: int, claimed: int, right: int) -> EntityScore:
    precision, recall = right / claimed if claimed else 0.0, right / there if there else 0.0
    return EntityScore(precision, recall, 2 * right / (there + claimed) if right else 0.0, there)


def slot_entities(
    labels: Sequence[int], spans: Sequence[Sequence[int]], label_set: LabelSet, strict: bool = False
) -> List[Tuple[Span, Span]]:
    """Return every entity that the labels of a text's slots show, as (span over slots, span over characters).

    `spans` [slots, 2] are the characters of the slots; `strict` takes complete entities only.
    """
    found = label_set.reader(strict)(labels)
    return [(span, Span(span.type, int(spans[span.start][0]), int(spans[span.end - 1][1]))) for span in found]


class EntityMetric(Metric):
    """Scores of entities over all rows of a dataset; entities of a row that was not shown count as not found.

    The entities of the data are those of its records, in characters: what `max_seq_len` cuts off or tokens cannot
    express counts as missed. In the mode `strict` only entities that are complete by the label set's scheme count as
    predicted; `default` reads tags as seqeval does without a mode.
    """

    def __init__(self, records: Sequence[Record], features: TokenFeatures, label_set: LabelSet, mode: str = "default"):
        super().__init__()
        self._records, self._features, self._labels, self._strict = records, features, label_set, mode == "strict"
        self._predicted: Dict[int, List[Span]] = {}
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        self._predicted = {}

    def update(self, *inputs) -> None:
        """Take rows [B] and logits [B, S, L], arrays or Tensors; rows of -1 fill up a batch and count not.

        Raises DataError for anything but two inputs of matching shapes.
        """
        if len(inputs) != 2:
            raise DataError(f"the entity metric takes rows and logits, but got {len(inputs)} inputs")
        rows, logits = (to_numpy(item) for item in inputs)
        expected = (rows.size, self._features.input_ids.shape[1], len(self._labels.labels))
        if logits.shape != expected:
            raise DataError(
                f"logits of shape {logits.shape} do not fit {rows.size} rows and {expected[2]} labels; expected is "
                f"{expected}"
            )
        best = logits.argmax(axis=-1)
        for row, labels in zip(rows.ravel().tolist(), best):
            if row != FILLER_ROW:
                spans = self._features.spans[row]
                slots = np.flatnonzero(spans[:, 1])
                found = slot_entities(labels[slots].tolist(), spans[slots], self._labels, self._strict)
                self._predicted[row] = [span for _, span in found]

    def scores(self) -> Tuple[EntityScore, Dict[str, EntityScore]]:
        """Return the scores of all entities and those of each type."""
        predicted = [self._predicted.get(row, []) for row in range(len(self._records))]
        return score_entities([record.entities for record in self._records], predicted)

    def result(self) -> Dict[str, float]:
        """Return precision, recall and f1 of all, the same of each type as ``<type>_f1`` ..., and scored and total.

        `scored` and `total` count texts. The table by type is logged.
        """
        whole, by_type = self.scores()
        width = max(len(name) for name in ("all", *by_type))
        logger.info("%s  precision  recall      f1  entities", " " * width)
        for name, row in (*by_type.items(), ("all", whole)):
            logger.info("%s  %9.4f  %6.4f  %6.4f  %8d", name.ljust(width), *row)
        shares = ("precision", "recall", "f1")
        named = {f"{kind}_{share}": getattr(row, share) for kind, row in by_type.items() for share in shares}
        overall = {share: getattr(whole, share) for share in shares}
        return {**overall, **named, "scored": len(self._predicted), "total": len(self._records)}

    def eval(self) -> Dict[str, float]:
        """Return `result()`, under the name that MindSpore calls."""
        return self.result()
