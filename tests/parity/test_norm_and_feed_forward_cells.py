"""Activations, dense layers, norms, feed-forwards and whole layers against NumPy in float64."""

import dataclasses

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from mindformers.arch.stacks import EncoderDecoderArch
from mindformers.nn import functional
from mindformers.nn.block import CrossBlock, PostNormBlock, PreNormBlock
from mindformers.nn.feed_forward import FeedForward, GatedFeedForward
from mindformers.nn.linear import Linear
from mindformers.nn.norm import LayerNorm, ResidualNorm, RMSNorm, norm
from tests.parity import reference
from tests.parity.reference import ACTIVATIONS, causal, check, differences, distance, fill, key_bias, normal
from tests.parity.tolerances import CELL, CELL_GRADIENT

mode, operators, same_numbers = reference.mode, reference.operators, reference.same_numbers

ARCH = EncoderDecoderArch(
    vocab_size=9,
    hidden_size=6,
    num_layers=1,
    num_heads=2,
    intermediate_size=10,
    max_positions=8,
    norm_eps=1e-5,
    num_decoder_layers=1,
)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_an_activation_is_its_formula_over_its_whole_range(name):
    x = np.linspace(-12, 12, 4001).astype(np.float32)
    assert distance(functional.activation(name)(Tensor(x)), ACTIVATIONS[name](x.astype(np.float64))) < CELL


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE], indirect=True, ids=["pynative"])  # a graph has no lambda
@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_an_activation_has_the_slope_of_its_formula(name, mode):
    x = np.linspace(-8, 8, 400).astype(np.float32)
    slopes = ops.grad(lambda y: functional.activation(name)(y).sum())(Tensor(x))
    step, wide = 1e-6, x.astype(np.float64)
    expected = (ACTIVATIONS[name](wide + step) - ACTIVATIONS[name](wide - step)) / (2 * step)
    assert distance(slopes, expected) < CELL_GRADIENT


def test_tanh_is_exact_where_the_operator_of_mindspore_saturates():
    x = np.linspace(-9, 9, 4001).astype(np.float32)
    assert distance(functional.tanh(Tensor(x)), np.tanh(x.astype(np.float64))) < CELL


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_a_product_and_an_offset(mode, bias):
    cell = Linear(6, 4, bias)
    assert [path for path, _ in cell.parameters_and_names()] == ["weight", "bias"][: 1 + bias]
    check(cell, lambda p, x: x @ p["weight"].T + p.get("bias", 0.0), normal(2, 3, 6))


def test_layer_norm_centres_and_scales(mode):
    formula = lambda p, x: reference.layer_norm(x, p["weight"], p["bias"], 1e-5)  # noqa: E731
    check(LayerNorm(12, 1e-5), formula, normal(2, 3, 12))


@pytest.mark.parametrize(("offset", "spread"), [(0.0, 1.0), (20.0, 0.5)])
def test_layer_norm_centres_what_is_far_from_zero(offset, spread):
    cell, x = LayerNorm(64, 1e-12), normal(5, 64) * np.float32(spread) + np.float32(offset)
    p = fill(cell)
    expected = reference.layer_norm(x.astype(np.float64), p["weight"], p["bias"], 1e-12)
    assert distance(cell(Tensor(x)), expected) < (CELL if offset == 0 else offset * CELL)


def test_rms_norm_scales_without_centring(mode):
    formula = lambda p, x: reference.rms_norm(x, p["weight"], 1e-3)  # noqa: E731
    check(RMSNorm(12, 1e-3), formula, normal(2, 3, 12) + np.float32(0.5))


def test_the_epsilon_of_a_norm_counts_for_small_inputs():
    x = normal(3, 16) * np.float32(1e-3)
    for kind, formula in (("layer_norm", reference.layer_norm), ("rms_norm", reference.rms_norm)):
        cell = norm(kind, 16, 1e-4)
        p = fill(cell)
        assert distance(cell(Tensor(x)), formula(x.astype(np.float64), *p.values(), 1e-4)) < CELL


def test_a_norm_of_half_precision_sums_in_single_precision():
    x = (normal(4, 64) * 300).astype(np.float16)  # squares do not fit into half precision
    for kind, formula in (("layer_norm", reference.layer_norm), ("rms_norm", reference.rms_norm)):
        cell = norm(kind, 64, 1e-5)
        p = fill(cell)
        out = cell(Tensor(x))
        assert out.dtype == ms.float16
        expected = formula(x.astype(np.float64), *p.values(), 1e-5)
        assert np.allclose(out.asnumpy(), expected, rtol=2**-10, atol=2**-14)  # one rounding to half precision


def test_a_residual_norm_is_the_norm_of_the_sum_outside_training(mode):
    cell = ResidualNorm(8, 1e-5, 0.5, 0)
    cell.set_train(False)
    formula = lambda p, x, y: reference.layer_norm(x + y, p["weight"], p["bias"], 1e-5)  # noqa: E731
    check(cell, formula, normal(2, 3, 8), normal(2, 3, 8))


@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no_biases"])
@pytest.mark.parametrize("gated", [False, True], ids=["plain", "gated"])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_a_feed_forward_is_down_of_the_activation_of_up_or_gate(activation, gated, bias):
    arch = dataclasses.replace(ARCH, activation=activation, gated=gated, mlp_bias=bias)
    cell = (GatedFeedForward if gated else FeedForward)(arch, 0)
    cell.set_train(False)
    assert ("up.bias" in dict(cell.parameters_and_names())) == bias
    check(cell, lambda p, x: reference.feed_forward(p, "", arch, x), normal(2, 2, 6))


@pytest.mark.parametrize("gated", [False, True], ids=["plain", "gated"])
def test_a_feed_forward_drops_after_the_activation(gated):
    arch = dataclasses.replace(ARCH, mlp_dropout=0.5, gated=gated, activation="silu")
    cell, x = (GatedFeedForward if gated else FeedForward)(arch, 1), normal(1, 4, 6)
    p, table = fill(cell), reference.RNG.random((4 + 101, 10)) > 0.5
    cell.set_train(True)
    inner = ACTIVATIONS["silu"](reference.dense(p, "gate" if gated else "up", x.astype(np.float64)))
    inner = inner * reference.dense(p, "up", x) if gated else inner
    expected = reference.dense(p, "down", inner * table[101:105] / 0.5)
    assert distance(cell(Tensor(x), (None, None, None, Tensor(table), None)), expected) < CELL


MASK = np.array([[1, 1, 1], [1, 1, 0]])


def test_a_post_norm_layer_norms_the_sum_of_each_branch_and_its_input(mode):
    cell = PostNormBlock(ARCH, 0)
    cell.set_train(False)
    bias = functional.attention_bias(Tensor(MASK)).asnumpy()
    check(
        cell, lambda p, x, _: reference.post_norm_block(p, "", ARCH, x, key_bias(MASK)), normal(2, 3, 6), bias, by=(0,)
    )


@pytest.mark.parametrize("kind", ["layer_norm", "rms_norm"])
def test_a_pre_norm_layer_adds_branches_of_normed_inputs(kind):
    arch = dataclasses.replace(ARCH, norm=kind, gated=kind == "rms_norm", pre_norm=True)
    cell = PreNormBlock(arch, 0, has_score_bias=True)
    cell.set_train(False)
    biases = functional.attention_bias(Tensor(MASK)).asnumpy(), functional.causal_bias(3, 3).asnumpy()

    def formula(p, x, *_):
        return reference.pre_norm_block(p, "", arch, x, key_bias(MASK) + causal(3))

    check(cell, formula, normal(2, 3, 6), *biases, by=(0,))


def test_a_cross_layer_attends_to_an_encoder_between_its_branches(mode):
    arch = dataclasses.replace(ARCH, norm="rms_norm", qkv_bias=False, out_bias=False, mlp_bias=False)
    cell = CrossBlock(arch, 0, has_score_bias=True)
    cell.set_train(False)
    memory_mask = np.array([[1, 1, 1, 1], [1, 0, 0, 0]])
    biases = [functional.attention_bias(Tensor(mask)).asnumpy() for mask in (MASK, memory_mask)]

    def formula(p, x, _, __, memory, ___):
        bias = key_bias(MASK) + causal(3)
        return reference.pre_norm_block(p, "", arch, x, bias, None, memory, key_bias(memory_mask))

    inputs = normal(2, 3, 6), biases[0], functional.causal_bias(3, 3).asnumpy(), normal(2, 4, 6), biases[1]
    check(cell, formula, *inputs, by=(0, 3))


def test_the_loss_is_the_mean_over_rows_that_count(mode):
    labels = np.array([2, 6, 0, 5], np.int32)

    def loss(logits):
        return functional.cross_entropy(logits, Tensor(labels), 6)

    logits = normal(4, 6)
    value, grad = ops.value_and_grad(loss)(Tensor(logits))
    formula = lambda x: reference.cross_entropy(x, labels, 6)  # noqa: E731
    assert distance(value, formula(logits.astype(np.float64))) < CELL
    assert distance(grad, differences(formula, logits.astype(np.float64))) < CELL_GRADIENT


def test_the_loss_of_rows_that_are_all_ignored_is_zero_with_zero_gradient(mode):
    labels = Tensor(np.full(3, 4, np.int64))

    def loss(logits):
        return functional.cross_entropy(logits, labels, 4)

    value, grad = ops.value_and_grad(loss)(Tensor(normal(3, 4)))
    assert float(value) == 0.0
    assert (grad.asnumpy() == 0).all()
