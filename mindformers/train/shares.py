"""How much each portion of a batch counts: by its labels, so that many portions have the gradient of one big batch.

A mean of the portions' means would give a label in a portion with few of them more weight than one among many.
"""

from __future__ import annotations

from typing import Mapping, Optional, Sequence

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from mindformers.errors import UsageError


class LabelShares(nn.Cell):
    """The share of all labels of a step that each of its portions has, over all ranks and over this one.

    Args:
        columns: names of the dataset's columns.
        ignored: column of labels -> the label that does not count; the first decides, none: every row counts alike.
        portions: parts that the rows of this rank are computed in, one after the other.
        num_ranks: ranks whose gradients are averaged.
        shifted: the first label of a row is compared with nothing, as in causal language modelling.

    Raises:
        UsageError: when `portions` is below 1.
    """

    def __init__(
        self,
        columns: Sequence[str],
        ignored: Optional[Mapping[str, float]] = None,
        portions: int = 1,
        num_ranks: int = 1,
        shifted: bool = False,
    ):
        super().__init__(auto_prefix=False)
        if portions < 1:
            raise UsageError(f"gradient_accumulation_steps is {portions}; it must be at least 1")
        self.portions, self.shifted = portions, shifted
        label = next(iter(ignored), None) if ignored else None
        self.position = -1 if label is None else list(columns).index(label)
        value = 0.0 if label is None else float(ignored[label])
        self.ignores_nan, self.ignored = value != value, value
        self.num_ranks = num_ranks
        # The bounds of the loop are parameters: constants would unroll it, and compiling would take so much longer.
        self.first = Parameter(Tensor(0, ms.int32), name="first_portion", requires_grad=False)
        self.end = Parameter(Tensor(portions, ms.int32), name="num_portions", requires_grad=False)
        self.one = Tensor(1.0, ms.float32)
        self.sum_of_ranks = ops.AllReduce() if num_ranks > 1 else nn.Identity()

    def construct(self, columns):
        """Return float32 [portions] twice: shares of all ranks' labels times their number, and of this rank's."""
        counts = self.counts(columns)
        here = ops.maximum(counts.sum(), self.one)
        everywhere = ops.maximum(self.sum_of_ranks(counts.sum()), self.one)
        return counts * (self.num_ranks / everywhere), counts / here

    def counts(self, columns):
        """Return the labels of each portion that count, float32 [portions]."""
        if self.position < 0:
            return ops.ones((self.portions,), ms.float32)
        labels = columns[self.position]
        if self.shifted:
            labels = labels[:, 1:]
        if self.ignores_nan:
            counted = ops.logical_not(ops.isnan(labels))
        else:
            counted = ops.not_equal(labels, ops.full_like(labels, self.ignored))
        return counted.astype(ms.float32).reshape(self.portions, -1).sum(1)

    def portioned(self, columns):
        """Return every column [rows, ...] as [portions, rows / portions, ...]."""
        parts = ()
        for column in columns:
            parts += (column.reshape((self.portions, -1) + column.shape[1:]),)
        return parts
