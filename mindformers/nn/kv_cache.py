"""Keys and values that stay where they are while a text is written, so that each token is computed once.

Shape suffixes: B rows, T new tokens, C capacity in tokens, N heads, K heads of key and value, H head size.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore import dtype as mstype

from mindformers.arch.stacks import StackArch
from mindformers.nn import functional


class KeyValueCache(nn.Cell):
    """Room for `capacity` keys and values of each of `rows` rows in one attention layer, and attention to them.

    The slot of a token is its position in its row, so rows of unequal length need no padding between them: slots after
    a row's last token hold remains that `slot_bias` hides and later tokens overwrite. Both parameters are flat,
    [B * K * C, H]: ScatterUpdate writes rows in place (0.3 ms of 25 MB; ScatterNdUpdate on four dimensions 2 ms), and
    a reshape of what it returns is what the products read. Query heads that share a key stand in one product, so that
    keys are never repeated. No gradient.
    """

    def __init__(
        self,
        arch: StackArch,
        rows: int,
        capacity: int,
        name: str,
        scale: float,
        dtype=mstype.float32,
    ):
        super().__init__()
        self.heads, self.size, self.scale = arch.kv_heads, arch.head_size, scale
        self.rows, self.capacity = rows, capacity
        empty = Tensor(np.zeros((rows * arch.kv_heads * capacity, arch.head_size), np.float32)).astype(dtype)
        self.keys = Parameter(empty, name=f"{name}.keys", requires_grad=False)
        self.values = Parameter(empty.copy(), name=f"{name}.values", requires_grad=False)
        self.put = ops.ScatterUpdate()
        self.scores = ops.BatchMatMul(transpose_b=True)
        self.softmax = ops.Softmax(-1)
        self.mix = ops.BatchMatMul()

    def construct(self, q_BNTH, k_BKTH, v_BKTH, places, score_bias):
        """Keep the keys and values of new tokens at `places` and return the context of their queries, [B, N, T, H].

        `places` as of `slot_places`; score_bias float32 [B, 1 or N, T, C].
        """
        keys = self.put(self.keys, places, k_BKTH.reshape(-1, self.size))
        values = self.put(self.values, places, v_BKTH.reshape(-1, self.size))
        return self.attend(q_BNTH, keys, values, score_bias)

    def fill(self, k_BKCH, v_BKCH):
        """Replace everything that is kept."""
        return (
            ops.assign(self.keys, k_BKCH.reshape(self.keys.shape)),
            ops.assign(self.values, v_BKCH.reshape(self.values.shape)),
        )

    def recall(self, q_BNTH, score_bias):
        """Return the context of queries to what is kept, as `construct`."""
        return self.attend(q_BNTH, self.keys, self.values, score_bias)

    def attend(self, q_BNTH, keys, values, score_bias):
        """Return the softmax-weighted values, [B, N, T, H]; sums of the softmax are float32."""
        shape = q_BNTH.shape
        stored = (self.rows * self.heads, self.capacity, self.size)
        q_grouped = (q_BNTH * self.scale).reshape(stored[0], -1, self.size)
        scores = self.scores(q_grouped, keys.reshape(stored)).astype(mstype.float32)
        scores_BNTC = scores.reshape(shape[:3] + (self.capacity,))
        probs_BNTC = self.softmax(scores_BNTC + ops.broadcast_to(score_bias, scores_BNTC.shape)).astype(q_BNTH.dtype)
        return self.mix(probs_BNTC.reshape(scores.shape), values.reshape(stored)).reshape(shape)

    def reorder(self, rows_B):
        """Make row i continue what row rows_B[i] holds."""
        return self.fill(
            ops.gather(self.keys.reshape(self.rows, -1), rows_B, 0),
            ops.gather(self.values.reshape(self.rows, -1), rows_B, 0),
        )


def new_slots(start_B, count_B, length):
    """Return the slots of `length` new tokens a row and their positions, each int32 [B, T].

    A row has `start` tokens already and `count` real ones among the new; those after them share the last position.
    A single new token is real.
    """
    if length == 1:
        return start_B.expand_dims(1), start_B.expand_dims(1)
    shape = (start_B.shape[0], length)
    steps_BT = ops.broadcast_to(ops.arange(length).astype(ms.int32).expand_dims(0), shape)
    slots_BT = steps_BT + ops.broadcast_to(start_B.expand_dims(1), shape)
    last_BT = ops.broadcast_to((start_B + count_B - 1).expand_dims(1), shape)
    return slots_BT, ops.minimum(slots_BT, last_BT)


def slot_places(slots_BT, heads, capacity):
    """Return where in a flat cache the tokens of these slots lie for every head of key and value: int32 [B * K * T]."""
    batch, length = slots_BT.shape
    first_BK1 = (ops.arange(batch * heads).astype(ms.int32) * capacity).reshape(batch, heads, 1)
    shape = (batch, heads, length)
    return (ops.broadcast_to(first_BK1, shape) + ops.broadcast_to(slots_BT.expand_dims(1), shape)).reshape(-1)


def slot_bias(slots_BT, capacity):
    """Return what is added to scores, float32 [B, 1, T, C]: 0 for slots up to the query's own, else MASKED."""
    shape = slots_BT.shape + (capacity,)
    slots_BTC = ops.broadcast_to(slots_BT.expand_dims(-1), shape)
    later_BTC = ops.greater(ops.broadcast_to(ops.arange(capacity).astype(ms.int32), shape), slots_BTC)
    return (later_BTC.astype(mstype.float32) * functional.MASKED).expand_dims(1)


def last_of(hidden_BTD, count_B):
    """Return the hidden state of each row's last real token, [B, D]."""
    batch, length, size = hidden_BTD.shape
    if length == 1:
        return hidden_BTD.reshape(batch, size)
    rows = ops.arange(batch).astype(ms.int32) * length + count_B - 1
    return ops.gather(hidden_BTD.reshape(-1, size), rows, 0)
