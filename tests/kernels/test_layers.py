"""Layers of a decoder over new tokens against the same formulas in float64, and the caches that they extend."""

from dataclasses import dataclass, replace
from typing import Optional

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import Parameter, Tensor

from mindformers.kernels.attention import HALVES, INTERLEAVED, NO_ROTARY, Form
from mindformers.kernels.layers import LayerForm, Layers
from mindformers.kernels.library import NOTHING
from tests.kernels.reference import BOUNDS, normal, wide

BATCH, CAPACITY, MEMORY, SIZE, WIDTH, INNER = 3, 40, 11, 12, 24, 20
FORM = LayerForm(
    attention=Form(4, 2, SIZE, 0.3),
    capacity=CAPACITY,
    memory_capacity=0,
    is_centred=True,
    eps=1e-5,
    qkv_bias=True,
    out_bias=True,
    mlp_bias=True,
    is_gated=False,
    activation="gelu_tanh",
)
SELF = ("norm", "norm_bias", "q", "k", "v", "q_bias", "k_bias", "v_bias", "o", "o_bias", "keys", "values")
CROSS = ("cross_norm", "cross_norm_bias", "cross_q", "cross_q_bias", "cross_o", "cross_o_bias", "m_keys", "m_values")
MLP = ("mlp_norm", "mlp_norm_bias", "gate", "up", "down", "gate_bias", "up_bias", "down_bias")


def weights_of(form: LayerForm, weight_type) -> dict:
    """Return random weights of a layer by name, and NOTHING for what it has not."""
    heads, kv_heads = form.attention.heads * SIZE, form.attention.kv_heads * SIZE
    outs = {"q": (heads, WIDTH), "k": (kv_heads, WIDTH), "v": (kv_heads, WIDTH), "o": (WIDTH, heads)}
    outs |= {"cross_q": outs["q"], "cross_o": outs["o"]}
    outs |= {"gate": (INNER, WIDTH), "up": (INNER, WIDTH), "down": (WIDTH, INNER)}
    found = {}
    for name, (out, inputs) in outs.items():
        kind = form.out_bias if name.endswith("o") else form.mlp_bias if name in MLP else form.qkv_bias
        found[name] = normal(out, inputs, scale=inputs**-0.5, dtype=weight_type)
        found[f"{name}_bias"] = normal(out) if kind else NOTHING
    for name in ("norm", "cross_norm", "mlp_norm"):
        found[name], found[f"{name}_bias"] = normal(WIDTH), normal(WIDTH) if form.is_centred else NOTHING
    for name in ("keys", "values"):
        rows = BATCH * form.attention.kv_heads
        found[name] = Parameter(normal(rows * CAPACITY, SIZE), name=name)
        found[f"m_{name}"] = Parameter(normal(rows * MEMORY, SIZE), name=name)
    if not form.is_gated:
        found["gate"] = found["gate_bias"] = NOTHING
    return found


@dataclass
class Inputs:
    """What layers get beside x and their weights."""

    start: np.ndarray
    bias: Optional[Tensor] = None
    angles: Optional[tuple] = None
    memory_bias: Optional[Tensor] = None


def turned(x, angles, kind):
    """Return [B, N, T, H] turned by angles [B, 1, T, H]."""
    cosines, sines = (torch.tensor(wide(each)) for each in angles)
    if kind == HALVES:
        swapped = torch.cat([-x[..., SIZE // 2 :], x[..., : SIZE // 2]], -1)
    else:
        swapped = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    return x * cosines + swapped * sines


def layer(x, form: LayerForm, given: dict, inputs: Inputs):
    """Return x after a layer and its keys and values, in float64."""
    store = {name: torch.tensor(wide(value)) for name, value in given.items()}
    attention, length = form.attention, x.shape[1]

    def norm(x, name):
        if form.is_centred:
            return torch.nn.functional.layer_norm(x, (WIDTH,), store[name], store[f"{name}_bias"], form.eps)
        return x / (x.pow(2).mean(-1, keepdim=True) + form.eps).sqrt() * store[name]

    def linear(x, name, has_bias):
        return x @ store[name].T + (store[f"{name}_bias"] if has_bias else 0.0)

    def heads(x):
        return x.unflatten(-1, (-1, SIZE)).transpose(1, 2)

    def context(q, keys, values, bias):
        group = attention.heads // attention.kv_heads
        keys, values = keys.repeat_interleave(group, 1), values.repeat_interleave(group, 1)
        mixed = (q @ keys.transpose(2, 3) * attention.scale + bias).softmax(-1) @ values
        return mixed.transpose(1, 2).flatten(2)

    normed = norm(x, "norm")
    q, k, v = (heads(linear(normed, name, form.qkv_bias)) for name in "qkv")
    if inputs.angles:
        q, k = turned(q, inputs.angles, attention.rotary), turned(k, inputs.angles, attention.rotary)
    kept = [store[name].reshape(BATCH, attention.kv_heads, CAPACITY, SIZE) for name in ("keys", "values")]
    order = torch.full((BATCH, 1, length, CAPACITY), -torch.inf, dtype=torch.float64)
    for row, first in enumerate(inputs.start):
        for all_of, new in zip(kept, (k, v)):
            all_of[row, :, first : first + length] = new[row]
        for token in range(length):
            order[row, :, token, : first + token + 1] = 0.0
    bias = torch.tensor(wide(inputs.bias)) if inputs.bias is not None else 0.0
    x = x + linear(context(q, *kept, order + bias), "o", form.out_bias)
    if form.memory_capacity:
        q = heads(linear(norm(x, "cross_norm"), "cross_q", form.qkv_bias))
        memory = [store[name].reshape(BATCH, attention.kv_heads, MEMORY, SIZE) for name in ("m_keys", "m_values")]
        mixed = context(q, *memory, torch.tensor(wide(inputs.memory_bias)))
        x = x + linear(mixed, "cross_o", form.out_bias)
    function = {
        "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        "silu": torch.nn.functional.silu,
        "relu": torch.relu,
    }[form.activation]
    normed = norm(x, "mlp_norm")
    hidden = linear(normed, "up", form.mlp_bias)
    hidden = function(linear(normed, "gate", form.mlp_bias)) * hidden if form.is_gated else function(hidden)
    return x + linear(hidden, "down", form.mlp_bias), kept


def check(form: LayerForm, tokens: int, inputs: Inputs, weight_type=ms.float32, dtype=ms.float32, number=2):
    """Compare two layers, one after the other, with the formulas."""
    names = SELF + (CROSS if form.memory_capacity else ()) + MLP
    layers = [weights_of(form, weight_type) for _ in range(number)]
    x = normal(BATCH, tokens, WIDTH)
    expected, stores = torch.tensor(wide(x)), []
    for given in layers:
        expected, kept = layer(expected, form, given, inputs)
        stores.append(kept)
    slots = Tensor((inputs.start[:, None] + np.arange(tokens)).astype(np.int32))
    others = [NOTHING if each is None else each for each in (inputs.bias, inputs.memory_bias)]
    cosines, sines = inputs.angles or (NOTHING, NOTHING)
    memories = [[given[name].asnumpy().copy() for name in ("m_keys", "m_values")] for given in layers]
    weights = tuple(given[name] for given in layers for name in names)

    found = wide(Layers(form, dtype)(x, slots, others[0], cosines, sines, others[1], weights))

    bound = BOUNDS[dtype]
    error = np.linalg.norm(found - expected.numpy()) / np.linalg.norm(expected.numpy())
    assert error < bound
    for given, kept, memory in zip(layers, stores, memories):
        for name, store in zip(("keys", "values"), kept):
            difference = np.linalg.norm(wide(given[name]).reshape(store.shape) - store.numpy())
            assert difference < bound * np.linalg.norm(store.numpy())
        for name, before in zip(("m_keys", "m_values"), memory):
            assert (given[name].asnumpy() == before).all()


def inputs_of(tokens: int, **others) -> Inputs:
    return Inputs(np.array([0, 7, CAPACITY - tokens]), **others)


def angles_of(tokens: int, kind: int) -> tuple:
    angles = np.random.default_rng(0).uniform(0, 6, (BATCH, 1, tokens, SIZE // 2)).astype(np.float32)
    spread = np.repeat(angles, 2, -1) if kind == INTERLEAVED else np.concatenate([angles] * 2, -1)
    return Tensor(np.cos(spread)), Tensor(np.sin(spread))


@pytest.mark.parametrize("tokens", [1, 2, 5, 19])
@pytest.mark.parametrize("heads, kv_heads", [(3, 3), (6, 2), (5, 1)])
@pytest.mark.parametrize("bias_shape", [None, (BATCH, 1, 1, CAPACITY), (1, -1, -1, CAPACITY)], ids=str)
def test_new_tokens_see_all_before_them(tokens, heads, kv_heads, bias_shape):
    form = replace(FORM, attention=Form(heads, kv_heads, SIZE, 0.3, has_score_bias=bias_shape is not None))
    bias = None
    if bias_shape is not None:
        bias = normal(*(size if size > 0 else (heads, tokens)[place - 1] for place, size in enumerate(bias_shape)))
    check(form, tokens, inputs_of(tokens, bias=bias))


@pytest.mark.parametrize("tokens", [1, 19])
@pytest.mark.parametrize("rotary", [HALVES, INTERLEAVED])
def test_queries_and_keys_are_turned(tokens, rotary):
    form = replace(FORM, attention=replace(FORM.attention, rotary=rotary))
    check(form, tokens, inputs_of(tokens, angles=angles_of(tokens, rotary)))


@pytest.mark.parametrize("weight_type", [ms.float32, ms.bfloat16, ms.int8], ids=str)
@pytest.mark.parametrize("dtype", [ms.float32, ms.bfloat16], ids=str)
@pytest.mark.parametrize("tokens", [1, 19])
@pytest.mark.parametrize("is_gated", [False, True])
def test_layers_of_any_kind_and_type(weight_type, dtype, tokens, is_gated):
    form = replace(FORM, is_gated=is_gated, activation="silu" if is_gated else "gelu_tanh")
    form = replace(form, is_centred=not is_gated, mlp_bias=not is_gated, out_bias=False)
    check(form, tokens, inputs_of(tokens), weight_type, dtype)


@pytest.mark.parametrize("tokens", [1, 7])
def test_a_memory_is_read_and_stays(tokens):
    form = replace(FORM, memory_capacity=MEMORY, qkv_bias=False, activation="relu")
    bias = np.zeros((BATCH, 1, 1, MEMORY), np.float32)
    bias[1, ..., 5:] = -1e30
    check(form, tokens, inputs_of(tokens, memory_bias=Tensor(bias)))


def test_no_rotary_is_a_rotation_by_nothing():
    """The two forms of the same numbers agree, so that angles are applied where they are due."""
    still = Tensor(np.ones((1, 1, 2, SIZE), np.float32)), Tensor(np.zeros((1, 1, 2, SIZE), np.float32))
    assert FORM.attention.rotary == NO_ROTARY
    check(replace(FORM, attention=replace(FORM.attention, rotary=HALVES)), 2, inputs_of(2, angles=still))


def test_a_row_without_room_is_an_error_and_not_a_write_elsewhere():
    given = weights_of(FORM, ms.float32)
    before = {name: given[name].asnumpy().copy() for name in ("keys", "values")}
    slots = Tensor(np.array([[3], [CAPACITY], [0]], np.int32))
    weights = tuple(given[name] for name in SELF + MLP)
    with pytest.raises(RuntimeError):
        Layers(FORM)(normal(BATCH, 1, WIDTH), slots, NOTHING, NOTHING, NOTHING, NOTHING, weights).asnumpy()
    assert all((given[name].asnumpy() == kept).all() for name, kept in before.items())
