"""Each cell against NumPy in float64, written from the papers; gradients against central differences."""

import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from mindformers.arch.stacks import EncoderArch
from mindformers.models.encoder import EncoderModel
from mindformers.nn import functional
from mindformers.nn.attention import Attend, AttendWithDropout, Attention
from mindformers.nn.dropout import Dropout, DropoutNoise, mask_at
from mindformers.nn.embedding import Embedding
from mindformers.nn.feed_forward import FeedForward
from mindformers.nn.linear import Linear
from mindformers.nn.norm import LayerNorm, ResidualNorm
from tests.parity.tolerances import CELL, CELL_GRADIENT

RNG = np.random.default_rng(1)
SMALL = EncoderArch(
    vocab_size=20,
    hidden_size=8,
    num_layers=2,
    num_heads=2,
    intermediate_size=16,
    max_positions=8,
    hidden_dropout=0.3,
    attention_dropout=0.3,
)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def fill(cell):
    """Give every float parameter random values and return them by name, in float64."""
    values = {}
    for name, parameter in cell.parameters_and_names():
        if parameter.requires_grad:
            parameter.set_data(Tensor(normal(*parameter.shape) * 0.5))
            values[name] = parameter.asnumpy().astype(np.float64)
    return values


def distance(tensor, reference):
    return float(np.abs(tensor.asnumpy().astype(np.float64) - reference).max())


def dense(x, p, name):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x, weight, bias, eps):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + eps) * weight + bias


def attention(q, k, v, bias):
    return softmax(q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1]) + bias) @ v


erf = np.vectorize(math.erf)
ACTIVATIONS = {
    "gelu": lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_an_activation_is_its_formula_over_its_whole_range(name):
    x = np.linspace(-12, 12, 4001).astype(np.float32)
    assert distance(functional.activation(name)(Tensor(x)), ACTIVATIONS[name](x.astype(np.float64))) < CELL


def test_tanh_is_exact_where_the_operator_of_mindspore_saturates():
    x = np.linspace(-9, 9, 4001).astype(np.float32)
    assert distance(functional.tanh(Tensor(x)), np.tanh(x.astype(np.float64))) < CELL


def test_a_linear_layer_is_a_product_and_an_offset():
    cell, x = Linear(6, 4), normal(2, 3, 6)
    p = fill(cell)
    assert distance(cell(Tensor(x)), x @ p["weight"].T + p["bias"]) < CELL


@pytest.mark.parametrize(("offset", "spread"), [(0.0, 1.0), (20.0, 0.5)])
def test_layer_norm_centres_and_scales(offset, spread):
    cell, x = LayerNorm(64, 1e-12), normal(5, 64) * spread + offset
    p = fill(cell)
    expected = layer_norm(x.astype(np.float64), p["weight"], p["bias"], 1e-12)
    assert distance(cell(Tensor(x)), expected) < (CELL if offset == 0 else offset * CELL)


def test_a_residual_norm_is_the_norm_of_the_sum_outside_training():
    cell, branch, residual = ResidualNorm(16, 1e-5, 0.5, 0), normal(2, 3, 16), normal(2, 3, 16)
    p = fill(cell)
    cell.set_train(False)
    expected = layer_norm((branch + residual).astype(np.float64), p["weight"], p["bias"], 1e-5)
    assert distance(cell(Tensor(branch), Tensor(residual)), expected) < CELL


def test_a_feed_forward_is_down_of_the_activation_of_up():
    cell, x = FeedForward(8, 32, "gelu"), normal(2, 3, 8)
    p = fill(cell)
    expected = dense(ACTIVATIONS["gelu"](dense(x.astype(np.float64), p, "up")), p, "down")
    assert distance(cell(Tensor(x)), expected) < CELL


def test_attention_mixes_values_by_the_scores_of_unmasked_keys():
    cell, x = Attention(12, 3, 0.1, 0), normal(2, 5, 12)
    p = fill(cell)
    cell.set_train(False)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    split = lambda y: y.reshape(2, 5, 3, 4).transpose(0, 2, 1, 3)  # noqa: E731
    q, k, v = (split(dense(x.astype(np.float64), p, name)) for name in "qkv")
    context = attention(q, k, v, np.where(mask, 0.0, -1e30)[:, None, None, :])
    expected = dense(context.transpose(0, 2, 1, 3).reshape(2, 5, 12), p, "o")
    assert distance(cell(Tensor(x), functional.attention_bias(Tensor(mask))), expected) < CELL


def test_a_row_without_any_key_gives_finite_numbers():
    bias = functional.attention_bias(ms.ops.zeros((1, 3), ms.int32))
    q, k, v = Tensor(normal(1, 2, 3, 4)), Tensor(normal(1, 2, 3, 4)), Tensor(normal(1, 2, 3, 4))
    assert np.isfinite(Attend(4)(q, k, v, bias).asnumpy()).all()


def differences(f, x, step=1e-5):
    """Return the gradient of the scalar f at x by central differences, in float64."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (f(up) - f(down)) / (2 * step)
    return gradient


@pytest.fixture(params=[ms.GRAPH_MODE, ms.PYNATIVE_MODE], ids=["graph", "pynative"])
def mode(request):
    before = ms.get_context("mode")
    ms.set_context(mode=request.param)
    yield request.param
    ms.set_context(mode=before)


class Weighted(nn.Cell):
    """A scalar that weighs every output of a cell differently."""

    def __init__(self, cell, weights):
        super().__init__(auto_prefix=False)
        self.cell, self.weights = cell, Tensor(weights)

    def construct(self, *inputs):
        return (self.cell(*inputs) * self.weights).sum()


def test_the_written_gradient_of_attention_is_that_of_its_formula(mode):
    q, k, v = normal(1, 2, 3, 4), normal(1, 2, 3, 4), normal(1, 2, 3, 4)
    mask, weights = np.array([[1, 1, 0]]), normal(1, 2, 3, 4)
    scalar = Weighted(Attend(4), weights)
    grads = ops.grad(scalar, (0, 1, 2))(Tensor(q), Tensor(k), Tensor(v), functional.attention_bias(Tensor(mask)))
    inputs = [array.astype(np.float64) for array in (q, k, v)]
    bias = np.where(mask, 0.0, -1e30)[:, None, None, :]
    for place, grad in enumerate(grads):

        def f(value, place=place):
            changed = [*inputs[:place], value, *inputs[place + 1 :]]
            return (attention(*changed, bias) * weights).sum()

        assert distance(grad, differences(f, inputs[place])) < CELL_GRADIENT


def test_the_written_gradient_of_attention_with_dropout_is_that_of_its_formula(mode):
    q, k, v = normal(1, 2, 3, 4), normal(1, 2, 3, 4), normal(1, 2, 3, 4)
    weights, table = normal(1, 2, 3, 4), RNG.random((120, 3)) > 0.3
    scalar = Weighted(AttendWithDropout(4, 0.3, 1), weights)
    bias = functional.attention_bias(ms.ops.ones((1, 3), ms.int32))
    grads = ops.grad(scalar, (0, 1, 2))(Tensor(q), Tensor(k), Tensor(v), bias, Tensor(table))
    kept = mask_at(Tensor(table), 1, (1, 2, 3, 3), ms.float32).asnumpy()
    inputs = [array.astype(np.float64) for array in (q, k, v)]
    for place, grad in enumerate(grads):

        def f(value, place=place):
            a, b, c = [*inputs[:place], value, *inputs[place + 1 :]]
            return (softmax(a @ b.swapaxes(-1, -2) / 2) * kept / 0.7 @ c * weights).sum()

        assert distance(grad, differences(f, inputs[place])) < CELL_GRADIENT


def test_the_written_gradient_of_a_linear_layer_is_that_of_its_formula(mode):
    cell, x, weights = Linear(3, 4), normal(2, 5, 3), normal(2, 5, 4)
    p = fill(cell)
    scalar = Weighted(cell, weights)
    by_input, by_parameter = ops.grad(scalar, 0, cell.trainable_params())(Tensor(x))
    assert distance(by_input, weights @ p["weight"]) < CELL
    assert distance(by_parameter[0], weights.reshape(10, 4).T.astype(np.float64) @ x.reshape(10, 3)) < CELL
    assert distance(by_parameter[1], weights.sum((0, 1), dtype=np.float64)) < CELL


def test_the_padding_row_of_a_table_gets_no_gradient():
    cell = Embedding(5, 3, padding_id=0)
    fill(cell)
    ids = Tensor(np.array([[1, 0, 1, 4]], np.int32))
    grad = ops.grad(Weighted(cell, np.ones((1, 4, 3), np.float32)), None, cell.trainable_params())(ids)[0].asnumpy()
    assert grad.tolist() == [[0] * 3, [2] * 3, [0] * 3, [0] * 3, [1] * 3]


def test_the_loss_is_the_mean_over_rows_that_count():
    logits, labels = normal(4, 6), np.array([2, 6, 0, 5], np.int32)
    rows = [0, 2, 3]
    expected = -np.log(softmax(logits.astype(np.float64))[rows, labels[rows]]).mean()
    assert abs(float(functional.cross_entropy(Tensor(logits), Tensor(labels), 6)) - expected) < CELL


def test_the_loss_of_rows_that_are_all_ignored_is_zero_with_zero_gradient(mode):
    labels = Tensor(np.full(3, 4, np.int64))

    def loss(logits):
        return functional.cross_entropy(logits, labels, 4)

    value, grad = ops.value_and_grad(loss)(Tensor(normal(3, 4)))
    assert float(value) == 0.0
    assert (grad.asnumpy() == 0).all()


def noise_of(seed, steps=1, rate=0.1):
    cell = DropoutNoise(hidden_size=64, num_heads=4, num_layers=2, hidden_rate=rate, attention_rate=rate, seed=seed)
    for _ in range(steps):
        tables = cell(2, 32)
    return [table.asnumpy() for table in tables]


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_drops_its_share_in_every_region_of_a_table(rate):
    table = noise_of(0, rate=rate)[1]
    spread = math.sqrt(rate * (1 - rate))
    assert abs((~table).mean() - rate) < 5 * spread / math.sqrt(table.size)
    for axis in (0, 1):  # each row and column by itself, at six standard deviations
        share = (~table).mean(axis)
        assert np.abs(share - rate).max() < 6 * spread / math.sqrt(table.shape[axis])


def test_masks_of_rows_columns_steps_and_sites_do_not_follow_each_other():
    first, second = noise_of(0, 1)[1], noise_of(0, 2)[1]
    rows = first.shape[0] - 101
    pairs = [(first, second), (first[:rows], first[101:]), (first[:-1], first[1:]), (first[:, :-1], first[:, 1:])]
    for one, other in pairs:
        correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 5 / math.sqrt(one.size)


def test_masks_repeat_for_a_seed_and_differ_between_seeds(mode):
    assert (noise_of(5, 2)[0] == noise_of(5, 2)[0]).all()
    assert (noise_of(5, 2)[0] != noise_of(6, 2)[0]).any()


def test_dropout_scales_what_stays_and_does_nothing_outside_training():
    cell, x = Dropout(0.25, 1), Tensor(normal(2, 4, 8))
    tables = (Tensor(RNG.random((200, 8)) > 0.25), None)
    cell.set_train(True)
    kept = mask_at(tables[0], 1, (2, 4, 8), ms.float32).asnumpy()
    assert distance(cell(x, tables), x.asnumpy() * kept / 0.75) < CELL
    cell.set_train(False)
    assert (cell(x, None).asnumpy() == x.asnumpy()).all()


def test_every_use_of_dropout_in_a_model_reads_rows_of_its_own():
    model = EncoderModel(SMALL)
    cells = [cell for _, cell in model.cells_and_names()]
    hidden = [cell.site for cell in cells if isinstance(cell, Dropout)]
    scores = [cell.site for cell in cells if isinstance(cell, AttendWithDropout)]
    assert (sorted(hidden), sorted(scores)) == ([0, 1, 2, 3, 4], [0, 1])
    tables = model.dropout(2, 6)
    for sites, table, shape in ((hidden, tables[0], (2, 6, 8)), (scores, tables[1], (2, 2, 6, 6))):
        masks = [mask_at(table, site, shape, ms.float32).asnumpy() for site in sites]
        assert all(mask.shape == shape for mask in masks)  # the last site still fits into the table
        assert all((one != other).any() for i, one in enumerate(masks) for other in masks[:i])


def test_a_counter_that_is_put_back_repeats_a_training_step_bit_for_bit():
    before = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        model, ids = EncoderModel(SMALL), Tensor(np.array([[3, 4, 5, 6, 7, 8]], np.int32))
        model.set_train(True)
        first = model(ids).asnumpy()
        state = model.dropout.state.asnumpy().copy()
        second, third = model(ids).asnumpy(), model(ids).asnumpy()
        model.dropout.state.set_data(Tensor(state))
        assert state.tolist() == [0, 1]
        assert (first != second).any()
        assert (model(ids).asnumpy() == second).all()
        assert (model(ids).asnumpy() == third).all()
        model.set_train(False)
        assert (model(ids).asnumpy() == model(ids).asnumpy()).all()
        assert model.dropout.state.asnumpy().tolist() == [0, 3]
    finally:
        ms.set_context(mode=before)
