"""Attention to a static cache of keys and values, which one operator extends in place.

Shape suffixes: B batch, T new tokens, C capacity in tokens, N heads, K heads of key and value, H head size.
"""

from __future__ import annotations

from mindspore import Tensor, nn
from mindspore import dtype as mstype

from mindformers.kernels.attention import Form
from mindformers.kernels.library import custom, settings


class CacheAttention(nn.Cell):
    """Keep the keys and values of new tokens, when it `appends`, and return the context of their queries.

    The caches are float32 Parameters [B * K * C, H], which the operator writes into. It does not declare that: in a
    graph no other operator may touch them, so there is no order to keep, and a declared write makes MindSpore (2.10)
    copy a table that stands in the graph on both sides of it, as a tied one does, on every call. No gradient.
    """

    def __init__(self, form: Form, capacity: int, appends: bool):
        super().__init__()
        self.settings = settings(
            form.heads, form.kv_heads, form.size, capacity, form.scale, appends, form.has_score_bias, form.rotary
        )
        self.places = Tensor([0], mstype.int32)
        width = form.heads * form.size
        self.attend = custom("cache", lambda new, *rest: [new[0], new[1], width], lambda new, *rest: new)

    def construct(self, new_BTW, keys, values, places, score_bias, cosines, sines):
        """Return the context, [B, T, N * H], of [B, T, (N + 2 K) * H], or of queries alone, [B, T, N * H].

        `places` as of `nn.kv_cache.slot_places`, None when nothing is appended; score_bias float32 [1 or B, 1 or N,
        1 or T, C], cosines and sines float32 [1 or B, 1, T, H]; what the form has no use for may be any tensor.
        """
        places = self.places if places is None else places
        return self.attend(new_BTW, keys, values, places, score_bias, cosines, sines, self.settings)
