"""Norms, dropout and residual sums of the kernels against float64."""

import mindspore as ms
import pytest
import torch
from torch.nn import functional as f

from mindformers.kernels.norm import Add, Dropout, Norm, ResidualNorm
from tests.kernels.reference import NO_WORDS, check, kept, normal, words

TYPES = [ms.float32, ms.bfloat16]
SIZES = [1, 7, 64, 100]
FIRST = 4


def masks(size, rate):
    if not rate:
        return NO_WORDS, NO_WORDS, 1.0
    rows, columns = words(2 * 35, size, FIRST)
    return rows, columns, kept(rows, columns, FIRST, rate).reshape(2, 35, size)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("size", [3, 7, 64, 100])
@pytest.mark.parametrize("is_centred", [True, False], ids=["layer_norm", "rms_norm"])
def test_norms_are_those_of_float64(dtype, size, is_centred):
    def formula(x, weight, bias, _):
        if is_centred:
            return f.layer_norm(x, (size,), weight, bias, 1e-5)
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * weight

    x = normal(2, 35, size)
    check(Norm(is_centred, 1e-5), formula, (x, normal(size), normal(size), NO_WORDS.astype(dtype)), dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("size", [3, 7, 64, 100])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_a_norm_after_a_residual_is_that_of_float64(dtype, size, rate):
    rows, columns, mask = masks(size, rate)

    def formula(branch, residual, weight, bias, *_):
        return f.layer_norm(residual + branch * mask, (size,), weight, bias, 1e-12)

    inputs = normal(2, 35, size, dtype=dtype), normal(2, 35, size), normal(size), normal(size)
    check(ResidualNorm(1e-12, rate, FIRST), formula, (*inputs, rows, columns), dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_sums_and_dropout_are_those_of_float64(dtype, size, rate):
    rows, columns, mask = masks(size, rate)
    residual, branch = normal(2, 35, size), normal(2, 35, size, dtype=dtype)
    check(Dropout(rate, FIRST), lambda x, *_: x * mask, (residual, rows, columns), ms.float32)
    inputs = residual, branch, rows, columns
    check(Add(rate, FIRST, dtype), lambda residual, branch, *_: residual + branch * mask, inputs, dtype)
