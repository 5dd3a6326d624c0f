"""The negative log-likelihood of every row of logits, in two forms that give the same, and without logits.

Shape suffixes: R rows, C classes, D features, V vocabulary; a leading `...` is any batch.
"""

from __future__ import annotations

from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from mindformers.kernels.library import NOTHING
from mindformers.kernels.loss import VocabularyLoss
from mindformers.nn import functional
from mindformers.nn.linear import TableProduct, for_kernel


class TokenLosses(nn.Cell):
    """`functional.token_losses` for one device."""

    def __init__(self, ignore_index: int):
        super().__init__()
        self.ignore_index = ignore_index

    def construct(self, logits_RC, labels_R):
        """Return the loss of every row and its weight, each float32 [R]; both 0 for ignored rows."""
        return functional.token_losses(logits_RC, labels_R, self.ignore_index)


class PlacedTokenLosses(TokenLosses):
    """The same of operators that a plan places: the classes of a row may lie on several devices.

    A label is picked by its one-hot row, which the device that holds the class fills (Shoeybi et al. 2019,
    arXiv:1909.08053, section 3).
    """

    def __init__(self, ignore_index: int):
        super().__init__(ignore_index)
        self.greatest, self.centre, self.exponential = ops.ReduceMax(keep_dims=True), ops.Sub(), ops.Exp()
        self.total, self.log, self.counts = ops.ReduceSum(), ops.Log(), ops.NotEqual()
        self.one_hot, self.pick, self.picked = ops.OneHot(), ops.Mul(), ops.ReduceSum()
        self.one, self.zero = Tensor(1.0, mstype.float32), Tensor(0.0, mstype.float32)

    def construct(self, logits_RC, labels_R):
        """As `TokenLosses`."""
        greatest_R1 = ops.stop_gradient(self.greatest(logits_RC, -1))
        centred_RC = self.centre(logits_RC, greatest_R1)
        total_R = self.total(self.exponential(centred_RC), -1)
        # An ignored label, -100, has no one-hot row: it picks zero, and its weight is zero.
        label_RC = self.one_hot(labels_R, logits_RC.shape[-1], self.one, self.zero)
        picked_R = self.picked(self.pick(centred_RC, label_RC), -1)
        weight_R = self.counts(labels_R, self.ignore_index).astype(mstype.float32)
        return (self.log(total_R) - picked_R) * weight_R, weight_R


def token_losses(ignore_index: int) -> nn.Cell:
    """Return the form for cells that are made now."""
    return PlacedTokenLosses(ignore_index) if functional.is_placed() else TokenLosses(ignore_index)


class VocabularyLosses(nn.Cell):
    """The losses of logits that are hidden states times a table, plus a bias if it `has_bias`.

    With kernels of the CPU for `dtype` no logits are made.
    """

    def __init__(self, ignore_index: int, has_bias: bool, dtype=mstype.float32):
        super().__init__()
        self.ignore_index = ignore_index
        self.product, self.losses = TableProduct(), token_losses(ignore_index)
        self.kernel = VocabularyLoss(ignore_index, has_bias, dtype) if functional.has_kernels(dtype) else None

    def construct(self, hidden, table_VD, bias_V, labels_R):
        """Return the loss and the weight of every row of hidden [..., D], as `TokenLosses`; the bias may be None."""
        if self.kernel is None:
            logits = functional.vocabulary_logits(hidden, table_VD, self.product, bias_V)
            return self.losses(logits.reshape(-1, logits.shape[-1]), labels_R)
        rows_RD = hidden.reshape(-1, hidden.shape[-1])
        bias_V = NOTHING if bias_V is None else for_kernel(bias_V)
        losses_R = self.kernel(rows_RD, for_kernel(table_VD), bias_V, labels_R)[0]
        return losses_R, ops.not_equal(labels_R, self.ignore_index).astype(mstype.float32)
