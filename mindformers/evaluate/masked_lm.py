"""Scores of masked language modelling: how well the masked tokens are found, and what is said of two texts.

Shape suffixes: B batch, S sequence, P masked places, V vocabulary.
"""

from __future__ import annotations

from typing import Dict

import numpy as np
from mindspore import dtype as mstype
from mindspore import nn, ops

from mindformers.data.loader import FILLER_ROW
from mindformers.data.pack import IGNORED
from mindformers.errors import DataError
from mindformers.evaluate.perplexity import PerplexityMetric
from mindformers.evaluate.span_metric import to_numpy
from mindformers.nn import functional


class MaskedScores(nn.Cell):
    """A masked language model that returns what `MaskedLMMetric` takes instead of logits, which stay on the device."""

    def __init__(self, model: nn.Cell):
        super().__init__(auto_prefix=False)
        self.model = model

    def construct(
        self, input_ids, labels, masked_positions, attention_mask=None, token_type_ids=None, sentence_labels=None
    ):
        """Return of each row the sum of its losses, its masked tokens and those found, float32 [B].

        With sentence_labels [B] also whether they count and whether the model says the same.
        """
        outputs = self.model(input_ids, attention_mask, token_type_ids, masked_positions=masked_positions)
        logits_BPV = outputs[0] if isinstance(outputs, tuple) else outputs
        labels_BP = labels.astype(mstype.int32)
        rows = logits_BPV.reshape(-1, logits_BPV.shape[-1])
        losses, weights = functional.token_losses(rows, labels_BP.reshape(-1), IGNORED)
        hits_BP = self.hits(logits_BPV, labels_BP)
        scores = (losses.reshape(labels_BP.shape).sum(1), weights.reshape(labels_BP.shape).sum(1), hits_BP.sum(1))
        if sentence_labels is None:
            return scores
        counts_B = ops.not_equal(sentence_labels, IGNORED).astype(mstype.float32)
        return (*scores, counts_B, self.hits(outputs[1], sentence_labels.astype(mstype.int32)))

    def hits(self, logits, labels):
        """Return 1 where the largest logit is that of the label, else 0, float32 of the shape of the labels."""
        return ops.equal(ops.argmax(logits, -1).astype(mstype.int32), labels).astype(mstype.float32)


class MaskedLMMetric(PerplexityMetric):
    """Loss, perplexity and accuracy over all masked tokens, each with the same weight, and accuracy over pairs."""

    def clear(self) -> None:
        """Forget all rows."""
        super().clear()
        self._found, self._pairs, self._right = 0, 0, 0

    def update(self, *inputs) -> None:
        """Take rows [B] and what `MaskedScores` returns; rows of -1 fill up a batch and count not.

        Raises DataError for another number of inputs.
        """
        if len(inputs) not in (4, 6):
            raise DataError(
                f"{type(self).__name__} takes rows and the outputs of MaskedScores, 4 or 6 arrays, not {len(inputs)}"
            )
        super().update(*inputs[:3])
        real = to_numpy(inputs[0]).ravel() != FILLER_ROW
        sums = [int(to_numpy(item).ravel()[real].astype(np.float64).sum()) for item in inputs[3:]]
        self._found += sums[0]
        if len(sums) > 1:
            self._pairs += sums[1]
            self._right += sums[2]

    def eval(self) -> Dict[str, float]:
        """Return val_loss (nats a token), perplexity, tokens, accuracy; with pairs sentence_accuracy and sentences."""
        scores = {**super().eval(), "accuracy": self._found / self._tokens}
        if self._pairs:
            scores.update(sentence_accuracy=self._right / self._pairs, sentences=self._pairs)
        return scores
