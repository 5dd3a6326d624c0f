"""Attention of the kernels against float64: orders, biases, groups, rotary positions, dropout, odd lengths."""

import math

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import Tensor

from mindformers.kernels.attention import HALVES, INTERLEAVED, CrossAttention, Form, SelfAttention
from mindformers.nn.functional import MASKED
from tests.kernels.reference import NO_WORDS, check, kept, normal, words

TYPES = [ms.float32, ms.bfloat16]
ZERO = Tensor(np.zeros((1, 1, 1, 1), np.float32))
FIRST = 2


def padding(batch, keys, hides_all=False):
    """Return the bias of keys, [B, 1, S, 1], whose rows end at different places; the last may have no key at all."""
    bias = np.zeros((batch, 1, keys, 1), np.float32)
    for b in range(batch):
        bias[b, :, keys - b :] = MASKED
    if hides_all:
        bias[-1] = MASKED
    return Tensor(bias)


def angles(batch, length, size, interleaved):
    phases = np.random.default_rng(3).random((batch, 1, length, size // 2)) * 6
    spread = np.repeat(phases, 2, -1) if interleaved else np.concatenate([phases, phases], -1)
    return Tensor(np.cos(spread).astype(np.float32)), Tensor(np.sin(spread).astype(np.float32))


def turned(x, cosines, sines, rotary):
    half = x.shape[-1] // 2
    if rotary == INTERLEAVED:
        other = torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
    else:
        other = torch.cat((-x[..., half:], x[..., :half]), -1)
    return x * cosines + other * sines


def heads(x, count):
    return x.reshape(*x.shape[:2], count, -1).transpose(1, 2)


def attended(q, k, v, form, key_bias, score_bias, mask, angles=None):
    """Return the context of q [B, T, N * H] and k, v [B, S, K * H]."""
    q, k, v = heads(q, form.heads), heads(k, form.kv_heads), heads(v, form.kv_heads)
    if form.rotary:
        q, k = turned(q, *angles, form.rotary), turned(k, *angles, form.rotary)
    group = form.heads // form.kv_heads
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = q @ k.transpose(-1, -2) * form.scale + key_bias.detach().transpose(-1, -2)
    if form.has_score_bias:
        scores = scores + score_bias
    if form.is_causal:
        scores = scores.masked_fill(
            torch.ones(scores.shape[-2:]).tril(scores.shape[-1] - scores.shape[-2]) == 0, -1e300
        )
    context = (torch.softmax(scores, -1) * mask) @ v
    return context.transpose(1, 2).flatten(-2)


def compare(form, batch, length, dtype, key_bias, score_bias=ZERO, keys=None):
    rows, columns, mask = NO_WORDS, NO_WORDS, 1.0
    seen = length if keys is None else keys
    if form.rate:
        rows, columns = words(batch * form.heads * length, seen, FIRST)
        mask = kept(rows, columns, FIRST, form.rate).reshape(batch, form.heads, length, seen)
    width, kv_width = form.heads * form.size, form.kv_heads * form.size
    if keys is not None:
        inputs = normal(batch, length, width, dtype=dtype), normal(batch, keys, 2 * kv_width, dtype=dtype)

        def cross(q, kv, key_bias, *_):
            return attended(q, *kv.split(kv_width, -1), form, key_bias, None, mask)

        check(CrossAttention(form), cross, (*inputs, key_bias, rows, columns), dtype)
        return
    turns = angles(batch, length, form.size, form.rotary == INTERLEAVED) if form.rotary else (ZERO, ZERO)

    def formula(packed, key_bias, score_bias, cosines, sines, *_):
        q, k, v = packed.split([width, kv_width, kv_width], -1)
        return attended(
            q,
            k,
            v,
            form,
            key_bias,
            score_bias if form.trains_score_bias else score_bias.detach(),
            mask,
            (cosines.detach(), sines.detach()),
        )

    packed = normal(batch, length, width + 2 * kv_width, dtype=dtype)
    check(SelfAttention(form), formula, (packed, key_bias, score_bias, *turns, rows, columns), dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("is_causal", [False, True], ids=["all", "causal"])
@pytest.mark.parametrize("length", [1, 7, 129, 300])
def test_self_attention_is_that_of_float64(dtype, length, is_causal, rate):
    form = Form(3, 3, 10, 1 / math.sqrt(10), is_causal, rate=rate, first_row=FIRST)
    compare(form, 2, length, dtype, padding(2, length))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("rotary", [HALVES, INTERLEAVED], ids=["halves", "interleaved"])
@pytest.mark.parametrize("batch", [1, 2])
def test_grouped_heads_with_rotary_positions_are_those_of_float64(dtype, rotary, batch):
    compare(Form(4, 2, 6, 0.4, True, rotary=rotary), batch, 19, dtype, padding(batch, 19))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 1), (2, 3)], ids=str)
def test_a_trained_bias_of_scores_gets_its_gradient(dtype, shape):
    form = Form(3, 3, 8, 1.0, False, True, True, rate=0.2, first_row=FIRST)
    compare(form, 2, 21, dtype, padding(2, 21), normal(*shape, 21, 21))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_a_bias_per_head_and_a_fixed_bias_of_scores(dtype):
    compare(Form(3, 3, 8, 0.3, True, True), 2, 21, dtype, normal(2, 3, 21, 1), normal(2, 1, 21, 21))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("lengths", [(5, 9), (130, 3), (1, 140)], ids=str)
def test_attention_to_another_sequence(dtype, lengths):
    queries, keys = lengths
    compare(Form(4, 2, 8, 0.3, rate=0.2, first_row=FIRST), 2, queries, dtype, padding(2, keys), keys=keys)


@pytest.mark.parametrize("is_causal", [False, True], ids=["all", "causal"])
def test_rows_without_any_key_are_uniform_over_those_in_order(is_causal):
    compare(Form(2, 2, 8, 0.3, is_causal), 2, 9, ms.float32, padding(2, 9, hides_all=True))
