"""Attention to a static cache against the same formula in float64, and the cache that it extends in place."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor

from mindformers.kernels.attention import HALVES, NO_ROTARY, Form
from mindformers.kernels.cache import CacheAttention
from tests.kernels.reference import BOUNDS, normal, wide

BATCH, CAPACITY, SIZE = 3, 40, 20


def turned(x, cosines, sines):
    """Return [B, T, N, H] turned by angles [B, 1, T, H], halves against each other."""
    half = x.shape[-1] // 2
    swapped = np.concatenate([-x[..., half:], x[..., :half]], -1)
    return x * cosines.swapaxes(1, 2) + swapped * sines.swapaxes(1, 2)


def context(q, keys, values, seen, bias, scale):
    """Return the context [N, H] of the queries of one token; keys and values [K, C, H], of which it sees some."""
    group = q.shape[0] // keys.shape[0]
    out = np.empty_like(q)
    for head in range(q.shape[0]):
        scores = keys[head // group, :seen] @ q[head] * scale + bias[head, :seen]
        shares = np.exp(scores - scores.max())
        out[head] = shares / shares.sum() @ values[head // group, :seen]
    return out


@pytest.mark.parametrize("tokens", [1, 2, 19])
@pytest.mark.parametrize("heads, kv_heads", [(3, 3), (6, 2), (5, 1)])
@pytest.mark.parametrize("bias_shape", [None, (BATCH, 1, 1, CAPACITY), (1, -1, -1, CAPACITY)], ids=str)
@pytest.mark.parametrize("rotary", [NO_ROTARY, HALVES])
def test_new_tokens_see_all_before_them(tokens, heads, kv_heads, bias_shape, rotary):
    start = np.array([0, 7, CAPACITY - tokens])
    form = Form(heads, kv_heads, SIZE, 0.3, has_score_bias=bias_shape is not None, rotary=rotary)
    new = normal(BATCH, tokens, (heads + 2 * kv_heads) * SIZE)
    caches = [Parameter(normal(BATCH * kv_heads * CAPACITY, SIZE), name=name) for name in ("keys", "values")]
    before = [wide(cache).reshape(BATCH, kv_heads, CAPACITY, SIZE) for cache in caches]
    bias = normal(1)
    if bias_shape is not None:
        bias = normal(*(size if size > 0 else (heads, tokens)[place - 1] for place, size in enumerate(bias_shape)))
    angles = np.random.default_rng(0).uniform(0, 6, (BATCH, 1, tokens, SIZE // 2)).astype(np.float32)
    cosines, sines = (Tensor(np.concatenate([curve(angles)] * 2, -1)) for curve in (np.cos, np.sin))
    first = np.arange(BATCH * kv_heads).reshape(BATCH, kv_heads, 1) * CAPACITY
    places = (first + start[:, None, None] + np.arange(tokens)).reshape(-1).astype(np.int32)

    found = CacheAttention(form, CAPACITY, True)(new, *caches, Tensor(places), bias, cosines, sines)

    split = np.split(wide(new).reshape(BATCH, tokens, -1, SIZE), [heads, heads + kv_heads], 2)
    q, k, v = split
    if rotary:
        q, k = (turned(part, wide(cosines), wide(sines)) for part in (q, k))
    expected_bias = np.zeros((BATCH, heads, tokens, CAPACITY))
    if bias_shape is not None:
        expected_bias = np.broadcast_to(wide(bias), expected_bias.shape)
    expected = np.empty((BATCH, tokens, heads, SIZE))
    for row in range(BATCH):
        for store, given in zip(before, (k, v)):
            store[row, :, start[row] : start[row] + tokens] = given[row].swapaxes(0, 1)
        for token in range(tokens):
            seen = start[row] + token + 1
            expected[row, token] = context(
                q[row, token], before[0][row], before[1][row], seen, expected_bias[row, :, token], 0.3
            )
    error = np.linalg.norm(wide(found).reshape(expected.shape) - expected) / np.linalg.norm(expected)
    assert error < BOUNDS[ms.float32]
    for cache, store in zip(caches, before):
        assert np.abs(wide(cache).reshape(store.shape) - store).max() < 1e-6


def test_a_memory_is_read_and_stays():
    form = Form(4, 4, SIZE, 1.0, has_score_bias=True)
    q, keys, values = (normal(*shape) for shape in ((BATCH, 1, 4 * SIZE), *[(BATCH * 4 * CAPACITY, SIZE)] * 2))
    bias = np.zeros((BATCH, 1, 1, CAPACITY), np.float32)
    bias[1, ..., 5:] = -1e30
    nothing = normal(1)
    found = wide(CacheAttention(form, CAPACITY, False)(q, keys, values, None, Tensor(bias), nothing, nothing))
    stores = [wide(given).reshape(BATCH, 4, CAPACITY, SIZE) for given in (keys, values)]
    for row, seen in enumerate((CAPACITY, 5, CAPACITY)):
        heads = wide(q)[row, 0].reshape(4, SIZE)
        expected = context(heads, stores[0][row], stores[1][row], seen, np.zeros((4, CAPACITY)), 1.0)
        assert np.abs(found[row, 0].reshape(4, SIZE) - expected).max() < 1e-5


def test_a_row_without_room_is_an_error_and_not_a_write_elsewhere():
    form = Form(1, 1, SIZE, 1.0)
    caches = [Parameter(normal(BATCH * CAPACITY, SIZE), name=name) for name in ("keys", "values")]
    before = [cache.asnumpy().copy() for cache in caches]
    places = Tensor(np.array([CAPACITY, CAPACITY, 2 * CAPACITY], np.int32))
    nothing = normal(1)
    with pytest.raises(RuntimeError):
        CacheAttention(form, CAPACITY, True)(
            normal(BATCH, 1, 3 * SIZE), *caches, places, nothing, nothing, nothing
        ).asnumpy()
    assert all((cache.asnumpy() == kept).all() for cache, kept in zip(caches, before))
