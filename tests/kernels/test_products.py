"""Linear layers and feed-forwards of the kernels against float64, in both types and odd sizes."""

import mindspore as ms
import pytest
import torch
from torch.nn import functional as f

from mindformers.kernels.feed_forward import ACTIVATIONS, FeedForward
from mindformers.kernels.linear import Linear
from tests.kernels.reference import NOTHING, check, kept, normal, words

TYPES = [ms.float32, ms.bfloat16]
CURVES = {
    "gelu": f.gelu,
    "gelu_tanh": lambda x: f.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": f.relu,
    "silu": f.silu,
}
SHAPES = [(1, 1, 1, 1), (2, 5, 24, 7), (3, 33, 50, 129), (1, 64, 16, 32)]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("has_bias", [True, False], ids=["bias", "no_bias"])
def test_products_with_some_weights_are_those_of_float64(dtype, shape, number, has_bias):
    batch, length, in_size, out_size = shape
    outs = [out_size + 3 * i for i in range(number)]
    weights = tuple(normal(out, in_size, scale=in_size**-0.5) for out in outs)
    biases = tuple(normal(out) for out in outs) if has_bias else ()

    def formula(x, weights, biases):
        y = x @ torch.cat(weights).T
        return y + torch.cat(biases) if has_bias else y

    x = normal(batch, length, in_size, dtype=dtype if number == 1 else ms.float32)
    check(Linear(number, has_bias, dtype), formula, (x, weights, biases), dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("gated", [True, False], ids=["gated", "plain"])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_a_feed_forward_is_that_of_float64(dtype, activation, gated, rate):
    size, width, first = 24, 37, 3
    inner = tuple(normal(width, size, scale=0.4) for _ in range(2 if gated else 1))
    down = normal(size, width, scale=0.2)
    has_bias = not gated
    biases = (normal(width), normal(size)) if has_bias else ()
    rows, columns = words(2 * 5, width, first) if rate else (NOTHING, NOTHING)
    mask = kept(rows, columns, first, rate).reshape(2, 5, width) if rate else 1.0

    def formula(x, inner, down, biases, *_):
        hidden = CURVES[activation](x @ inner[0].T + (biases[0] if has_bias else 0.0))
        hidden = hidden * (x @ inner[1].T) if gated else hidden
        return (hidden * mask) @ down.T + (biases[1] if has_bias else 0.0)

    cell = FeedForward(activation, gated, has_bias, rate, first, dtype)
    x = normal(2, 5, size, dtype=dtype)
    for same in {x.dtype: x, ms.float32: x.astype(ms.float32)}.values():
        check(cell, formula, (same, inner, down, biases, rows, columns), dtype)
