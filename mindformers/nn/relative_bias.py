"""A learned bias per head and distance (Raffel et al. 2020, arXiv:1910.10683, section 2.1).

Shape suffixes: N heads, T queries, S keys.
"""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import initializer

from mindformers.nn import functional


def distance_buckets(bidirectional: bool, num_buckets: int, max_distance: int) -> np.ndarray:
    """Return the bucket of every distance (key - query) from -max_distance to max_distance, int32 [2 max + 1].

    Half of the buckets hold one distance each, the rest grow logarithmically up to `max_distance`, beyond which all
    share the last; with `bidirectional` later keys have buckets of their own, otherwise they share bucket 0.
    """
    distances = np.arange(-max_distance, max_distance + 1)
    if bidirectional:
        num_buckets //= 2
        first = np.where(distances > 0, num_buckets, 0)
        distances = np.abs(distances)
    else:
        first = np.zeros_like(distances)
        distances = np.maximum(-distances, 0)
    exact = num_buckets // 2
    # In float32 and in this order, as published models were trained: a border may fall one distance earlier or later.
    ratios = np.log(np.maximum(distances, 1).astype(np.float32) / np.float32(exact)) / np.float32(
        np.log(max_distance / exact)
    )
    grown = exact + (ratios * np.float32(num_buckets - exact)).astype(np.int64)
    return (first + np.where(distances < exact, distances, np.minimum(grown, num_buckets - 1))).astype(np.int32)


class RelativeBias(nn.Cell):
    """The table [buckets, N], spread over all pairs of positions."""

    def __init__(self, num_heads: int, bidirectional: bool, num_buckets: int, max_distance: int):
        super().__init__()
        self.weight = Parameter(initializer("zeros", (num_buckets, num_heads)), name="weight")
        self.gather = ops.Gather()
        self.max_distance = max_distance
        self.buckets = Tensor(distance_buckets(bidirectional, num_buckets, max_distance))

    def construct(self, query_positions_T, key_positions_S):
        """Integer positions -> what is added to every score, float32 [1, N, T, S]."""
        distances_TS = key_positions_S.expand_dims(0) - query_positions_T.expand_dims(1)
        near_TS = ops.clamp(distances_TS, -self.max_distance, self.max_distance) + self.max_distance
        buckets_TS = ops.gather(self.buckets, near_TS, 0)
        bias_TSN = functional.embedding(functional.readable(self.weight), buckets_TS, self.gather)
        return bias_TSN.transpose(2, 0, 1).expand_dims(0)
