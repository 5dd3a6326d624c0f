"""ALiBi: a penalty on each score that grows with the distance (Press et al. 2021, arXiv:2108.12409, section 3)."""

from __future__ import annotations

import numpy as np


def alibi_slopes(num_heads: int) -> np.ndarray:
    """Return the slope of every head, float32 [N].

    For a power of two n the slopes are 2^(-8/n), 2^(-16/n) ...; for other counts those of the next lower power of two,
    followed by every other one of the next higher (the authors' released code).
    """
    lower = 2 ** int(np.floor(np.log2(num_heads)))
    slopes = 2.0 ** (-8.0 / lower * np.arange(1, lower + 1))
    between = 2.0 ** (-4.0 / lower * np.arange(1, 2 * (num_heads - lower), 2))
    return np.concatenate([slopes, between]).astype(np.float32)


def alibi_key_bias(num_heads: int, length: int) -> np.ndarray:
    """Return slope * position of the key, float32 [1, N, S, 1].

    The distance to the query differs from it by a constant in each row of scores, which the softmax does not see.
    """
    return (alibi_slopes(num_heads)[:, None] * np.arange(length, dtype=np.float32))[None, :, :, None]
