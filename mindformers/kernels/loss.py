"""Cross entropy of a vocabulary on the CPU kernels, without logits in memory.

Shape suffixes: R rows, D features, V vocabulary.
"""

from __future__ import annotations

from mindspore import dtype as mstype
from mindspore import nn, ops

from mindformers.kernels.library import custom, settings


class VocabularyLoss(nn.Cell):
    """The negative log-likelihood of each row's label under softmax(x table^T + bias), 0 for ignored rows.

    The table and the bias are float32 or bfloat16. Products are computed in `dtype`, sums and gradients of table and
    bias in float32.
    """

    def __init__(self, ignore_index: int, has_bias: bool, dtype=mstype.float32):
        super().__init__()
        self.has_bias = has_bias
        self.settings = settings(ignore_index, has_bias, dtype == mstype.bfloat16)

        def grad_shapes(x, table, bias, *rest):
            return (list(x), list(table), list(bias)) if has_bias else (list(x), list(table))

        def grad_dtypes(x, *rest):
            return (x, *[mstype.float32] * (2 if has_bias else 1))

        self.forward = custom(
            "loss_forward", lambda x, *rest: ([x[0]], [x[0]]), lambda *types: (mstype.float32, mstype.float32)
        )
        self.backward = custom("loss_backward", grad_shapes, grad_dtypes)

    def construct(self, x_RD, table_VD, bias_V, labels_R):
        """Return the losses and what is kept, each float32 [R]; without a bias `bias_V` may be any tensor."""
        return self.forward(x_RD, table_VD, bias_V, labels_R, self.settings)

    def bprop(self, x_RD, table_VD, bias_V, labels_R, out, grad):
        """Gradients of x, table and bias."""
        grads = self.backward(x_RD, table_VD, bias_V, labels_R, out[1], grad[0], self.settings)
        return grads[0], grads[1], grads[2] if self.has_bias else ops.zeros_like(bias_V), ops.zeros_like(labels_R)
