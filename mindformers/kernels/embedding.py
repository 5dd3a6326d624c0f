"""Rows of a table on the CPU kernels.

Shape suffixes: V table rows, D features.
"""

from __future__ import annotations

from typing import Optional

from mindspore import dtype as mstype
from mindspore import nn, ops

from mindformers.kernels.library import custom, settings


class Embedding(nn.Cell):
    """Rows of a table, float32, bfloat16 or int8 with scales (nn.quantize), whose gradient is float32.

    Rows have `size` numbers; the row `frozen` has no gradient, and rows of int8 have none.
    """

    def __init__(self, size: int, frozen: Optional[int] = None):
        super().__init__()
        self.settings = settings(-1 if frozen is None else frozen)
        self.forward = custom(
            "embedding_forward", lambda table, ids, *rest: [*ids, size], lambda *types: mstype.float32
        )
        self.backward = custom(
            "embedding_backward", lambda ids, grad, like, *rest: list(like), lambda *types: mstype.float32
        )

    def construct(self, table_VD, ids):
        """Int32 ids of any shape -> ids.shape + [D], float32. An id outside the table is an error."""
        return self.forward(table_VD, ids, self.settings)

    def bprop(self, table_VD, ids, out, grad):
        """Gradient of the table."""
        return self.backward(ids, grad, table_VD, self.settings), ops.zeros_like(ids)
