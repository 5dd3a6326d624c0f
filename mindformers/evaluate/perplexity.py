"""Perplexity: how many tokens, equally likely, a model hesitates between on average."""

from __future__ import annotations

import math
from typing import Dict

import numpy as np
from mindspore import nn
from mindspore.train import Metric

from mindformers.data.loader import FILLER_ROW
from mindformers.errors import DataError, UsageError
from mindformers.evaluate.span_metric import to_numpy


class RowLosses(nn.Cell):
    """A causal model that returns what `PerplexityMetric` takes instead of logits, which stay on the device.

    Raises UsageError for a model that has no `row_losses`.
    """

    def __init__(self, model: nn.Cell):
        super().__init__(auto_prefix=False)
        if not hasattr(model, "row_losses"):
            raise UsageError(
                f"{type(model).__name__} cannot be scored by perplexity: it has no method row_losses(input_ids, "
                "labels, attention_mask, position_ids, document_ids) that returns sums and counts [B]; give a causal "
                "model, or write that method"
            )
        self.model = model

    def construct(self, input_ids, labels, attention_mask=None, position_ids=None, document_ids=None):
        """Return the sum of each row's token losses and their number, float32 [B]; `labels` as the model takes them."""
        return self.model.row_losses(input_ids, labels, attention_mask, position_ids, document_ids)


class PerplexityMetric(Metric):
    """exp of the mean loss over all tokens that were shown to it since `clear`, each token with the same weight."""

    def __init__(self) -> None:
        super().__init__()
        self.clear()

    def clear(self) -> None:
        """Forget all tokens."""
        self._loss, self._tokens = 0.0, 0

    def update(self, *inputs) -> None:
        """Take rows [B], sums of losses [B] and numbers of tokens [B]; rows of -1 fill up a batch and count not.

        Raises DataError for anything but three inputs of one length.
        """
        arrays = [to_numpy(item).ravel() for item in inputs]
        if len(arrays) != 3 or len({array.size for array in arrays}) != 1:
            raise DataError(
                "perplexity takes rows, sums of losses and numbers of tokens, one each a row, but got inputs of the "
                f"sizes {[array.size for array in arrays]}"
            )
        real = arrays[0] != FILLER_ROW
        self._loss += float(arrays[1][real].astype(np.float64).sum())
        self._tokens += int(arrays[2][real].astype(np.float64).sum())

    def eval(self) -> Dict[str, float]:
        """Return val_loss (nats a token), perplexity and tokens. Raises DataError when no token was seen."""
        if not self._tokens:
            raise DataError("no token of the evaluation data has a label that counts; every one is ignored")
        loss = self._loss / self._tokens
        try:
            perplexity = math.exp(loss)
        except OverflowError:
            perplexity = math.inf
        return {"val_loss": loss, "perplexity": perplexity, "tokens": self._tokens}
