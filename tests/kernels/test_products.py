"""Linear layers and feed-forwards of the kernels against float64, in both types and odd sizes."""

import mindspore as ms
import pytest
import torch
from torch.nn import functional as f

from mindformers.kernels.feed_forward import ACTIVATIONS, FeedForward
from mindformers.kernels.library import NOTHING
from mindformers.kernels.linear import Linear, LinearPair, LinearTriple
from tests.kernels.reference import NO_WORDS, check, kept, normal, words

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
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("has_bias", [True, False], ids=["bias", "no_bias"])
def test_products_with_some_weights_are_those_of_float64(dtype, shape, number, has_bias):
    batch, length, in_size, out_size = shape
    outs = [out_size + 3 * i for i in range(number)]
    types = [TYPES[place % 2] for place in range(number)]  # some weights are narrow
    weights = tuple(normal(out, in_size, scale=in_size**-0.5, dtype=type) for out, type in zip(outs, types))
    biases = tuple(normal(out) if has_bias else NOTHING for out in outs)

    def formula(x, *parameters):
        y = x @ torch.cat(parameters[:number]).T
        return y + torch.cat(parameters[number:]) if has_bias else y

    x = normal(batch, length, in_size, dtype=dtype if number == 1 else ms.float32)
    cell = {1: Linear, 2: LinearPair, 3: LinearTriple}[number](has_bias, dtype)
    check(cell, formula, (x, *weights, *biases), dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("gated", [True, False], ids=["gated", "plain"])
@pytest.mark.parametrize("has_bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_a_feed_forward_is_that_of_float64(dtype, activation, gated, has_bias, rate):
    size, width, first = 24, 37, 3
    gate, gate_bias = (normal(width, size, scale=0.4), normal(width)) if gated else (NOTHING, NOTHING)
    up, down = normal(width, size, scale=0.4), normal(size, width, scale=0.2)
    biases = (gate_bias, normal(width), normal(size)) if has_bias else (NOTHING,) * 3
    rows, columns = words(2 * 5, width, first) if rate else (NO_WORDS, NO_WORDS)
    mask = kept(rows, columns, first, rate).reshape(2, 5, width) if rate else 1.0

    def formula(x, gate, up, down, *others):
        gate_bias, up_bias, down_bias = others[:3] if has_bias else (0.0, 0.0, 0.0)
        hidden = x @ up.T + up_bias
        hidden = CURVES[activation](x @ gate.T + gate_bias) * hidden if gated else CURVES[activation](hidden)
        return (hidden * mask) @ down.T + down_bias

    cell = FeedForward(activation, gated, has_bias, rate, first, dtype)
    x = normal(2, 5, size, dtype=dtype)
    for same in {x.dtype: x, ms.float32: x.astype(ms.float32)}.values():
        check(cell, formula, (same, gate, up, down, *biases, rows, columns), dtype)
