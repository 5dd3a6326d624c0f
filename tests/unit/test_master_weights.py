"""Weights of half precision: steps are made on float32 copies, which are saved, counted, and rounded into them."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops

from mindformers import GPT2Config, GPT2LMHeadModel
from mindformers.optim.adamw import Adam, AdamW
from mindformers.optim.gradient_descent import SGD, Adagrad
from mindformers.optim.groups import decay_groups
from mindformers.optim.layerwise import Adafactor, Lamb
from mindformers.optim.schedules import linear
from mindformers.parallel.plan import make_plan
from mindformers.train.average import WeightAverage
from mindformers.train.checkpoint import (
    TrainState,
    load_training_state,
    read_state,
    save_checkpoint,
    take_snapshot,
)
from mindformers.train.guard import first_bad
from mindformers.train.loss_scale import FixedLossScale
from mindformers.train.shares import LabelShares
from mindformers.train.step import LossCell, TrainStep
from mindformers.weights.readers import read_weights
from tests.unit.parallel_jobs import job

SHAPES = {"embed.tokens": (6, 4), "layers.0.mlp.up.weight": (4, 8), "layers.0.mlp.up.bias": (8,)}
TYPES = dict(zip(SHAPES, (ms.float16, ms.bfloat16, ms.float32)))
STEPS = 5


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)


def wide(tensor):
    return tensor.astype(ms.float32).asnumpy()


def drawn(seed, scale=1.0):
    generator = np.random.default_rng(seed)
    return {
        path: Tensor((scale * generator.standard_normal(shape)).astype(np.float32)).astype(TYPES[path])
        for path, shape in SHAPES.items()
    }


class Both(nn.Cell):
    """Gives one optimizer gradients in the types of its weights, and another one the same in float32."""

    def __init__(self, half, whole):
        super().__init__(auto_prefix=False)
        self.half, self.whole, self.hyper_map = half, whole, ops.HyperMap()

    def construct(self, factor, *gradients):
        return self.half(gradients, factor), self.whole(self.hyper_map(_wide, gradients), factor)


def _wide(gradient):
    return ops.cast(gradient, ms.float32)


@pytest.mark.parametrize("cls", [AdamW, Adam, SGD, Adagrad, Adafactor, Lamb])
def test_steps_are_those_of_float32_weights_bit_for_bit(cls):
    first = drawn(0)
    made = []
    for prefix, of in (("", lambda tensor: tensor), ("whole_", lambda tensor: Tensor(wide(tensor)))):
        parameters = [Parameter(of(tensor), name=prefix + path) for path, tensor in first.items()]
        groups = decay_groups([item.name for item in parameters], 0.1)
        made.append(cls(parameters, linear(1e-3, total_steps=2 * STEPS), groups=groups))
    half, whole = made
    both = Both(half, whole)
    for step in range(STEPS):
        both(Tensor(0.37, ms.float32), *drawn(1 + step).values())
    for path, weight, master, other in zip(SHAPES, half.parameters, half.masters, whole.parameters):
        assert weight.dtype == TYPES[path]
        np.testing.assert_array_equal(master.asnumpy(), other.asnumpy(), err_msg=path)
        np.testing.assert_array_equal(wide(weight), wide(other.astype(weight.dtype)), err_msg=path)
        assert (master is weight) == (weight.dtype == ms.float32)


class Perceptron(nn.Cell):
    """Two layers whose weights are of half precision; or float32 ones that it rounds before it reads them."""

    types = (ms.float16, ms.bfloat16)

    def __init__(self, keeps_halves):
        super().__init__()
        generator = np.random.default_rng(0)
        first = [generator.standard_normal(shape).astype(np.float32) for shape in ((8, 3), (1, 8))]
        halves = [Tensor(value).astype(kind) for value, kind in zip(first, self.types)]
        held = halves if keeps_halves else [Tensor(wide(value)) for value in halves]
        self.up, self.down = (Parameter(value, name=name) for value, name in zip(held, ("up", "down")))

    def construct(self, inputs, targets):
        up, down = (_wide(ops.cast(self.up, self.types[0])), _wide(ops.cast(self.down, self.types[1])))
        hidden = ops.matmul(inputs, up.transpose())
        outputs = ops.matmul(hidden * hidden, down.transpose())
        return ops.mean(ops.square(outputs - targets))


def training_step(keeps_halves=True):
    model = Perceptron(keeps_halves)
    optimizer = AdamW(model.trainable_params(), linear(1e-3, total_steps=2 * STEPS))
    shares = LabelShares(("inputs", "targets"), None, portions=2)
    average = WeightAverage(optimizer.parameters, 0.9) if keeps_halves else None
    return TrainStep(LossCell(model, ["inputs", "targets"]), optimizer, 1.0, FixedLossScale(64.0), shares, average)


def batch(number):
    generator = np.random.default_rng(100 + number)
    return [Tensor(generator.standard_normal((4, width)).astype(np.float32)) for width in (3, 1)]


def contents(step):
    return {item.name: wide(item) for item in step.get_parameters() if item.dtype in (ms.float32, *Perceptron.types)}


def kinds(source):
    files = read_weights(source)
    return {name: files.stored(name).kind for name in files}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run of half precision: its step, losses, weights after each update, and a checkpoint of the middle."""
    step, losses, weights = training_step(), [], []
    for number in range(STEPS):
        losses.append(step(*batch(number))[0].asnumpy())
        weights.append([wide(item) for item in step.weights])
        if number == 1:
            snapshot = take_snapshot(TrainState(1, 2, 2, "run"), step.loss_cell.model, step.optimizer, step.state_cells)
            saved = save_checkpoint(tmp_path_factory.mktemp("half"), "mlp", 0, snapshot)
    return step, losses, weights, saved


def test_a_run_equals_one_of_float32_weights_that_are_rounded_when_they_are_read(straight):
    step, losses, _, _ = straight
    other = training_step(keeps_halves=False)
    np.testing.assert_array_equal(losses, [other(*batch(number))[0].asnumpy() for number in range(STEPS)])
    for master, expected in zip(step.optimizer.masters, other.weights):
        np.testing.assert_array_equal(master.asnumpy(), expected.asnumpy())
    assert any((master.asnumpy() != wide(item)).any() for item, master in zip(step.weights, step.optimizer.masters))


def test_the_average_follows_half_weights_in_float32(straight):
    step, _, weights, saved = straight
    expected = [wide(item) for item in Perceptron(True).trainable_params()]
    for after in weights:
        expected = [mean + np.float32(0.1) * (weight - mean) for mean, weight in zip(expected, after)]
    for average, value in zip(step.average.averages, expected):
        np.testing.assert_allclose(average.asnumpy(), value, rtol=1e-6, atol=0)
    with step.average.in_place_of_weights():
        assert all(
            (wide(item) == wide(mean.astype(item.dtype))).all()
            for item, mean in zip(step.weights, step.average.averages)
        )
    np.testing.assert_array_equal(wide(step.weights[1]), weights[-1][1])
    assert kinds(saved / "averaged") == kinds(saved) == {"up": "F16", "down": "BF16"}


def test_a_checkpoint_has_every_state_of_a_weight_in_float32(straight):
    states = {name: kind for name, kind in kinds(straight[-1] / "optimizer.safetensors").items() if "." in name}
    whats = ("adam_m", "adam_v", "master", "ema")
    assert states == {f"{what}.{path}": "F32" for what in whats for path in ("up", "down")}


def test_a_resumed_run_goes_on_bit_for_bit(straight):
    step, losses, _, saved = straight
    resumed = training_step()
    load_training_state(saved, resumed.optimizer, resumed.state_cells, resumed.loss_cell.model)
    resumed.optimizer.follow_weights()
    again = [resumed(*batch(number))[0].asnumpy() for number in range(read_state(saved).global_step, STEPS)]
    np.testing.assert_array_equal(again, losses[2:])
    expected = contents(step)
    for name, value in contents(resumed).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_a_bad_half_weight_is_found():
    step = training_step()
    step.weights[1].set_data(Tensor(np.full((1, 8), np.inf, np.float32)).astype(ms.bfloat16))
    assert "the weight 'down': 8 of 8 numbers not finite" in first_bad(step, np.zeros(2), {})


def test_masters_begin_from_weights_that_were_loaded():
    model = Perceptron(True)
    optimizer = AdamW(model.trainable_params(), 1e-3)
    model.up.set_data(Tensor(np.full((8, 3), 0.1, np.float32)).astype(ms.float16))
    ops.assign(optimizer.masters[1], optimizer.masters[1] * (1 + 2**-12))
    kept = optimizer.masters[1].asnumpy()
    TrainStep(LossCell(model, ["inputs", "targets"]), optimizer)
    np.testing.assert_array_equal(optimizer.masters[0].asnumpy(), np.full((8, 3), np.float16(0.1), np.float32))
    np.testing.assert_array_equal(optimizer.masters[1].asnumpy(), kept)


@pytest.mark.parametrize("dtype, number", [("float32", 4), ("float16", 2), ("bfloat16", 2)])
def test_the_state_has_the_bytes_that_a_plan_counts(dtype, number):
    config = GPT2Config(vocab_size=40, n_embd=12, n_layer=1, n_head=2, n_positions=16, param_init_type=dtype)
    optimizer = AdamW(list(GPT2LMHeadModel(config).trainable_params()), 1e-3)
    paths = {item.name for item in optimizer.parameters}
    held = [
        item for item in optimizer.get_parameters() if item.name not in paths and item.name.partition(".")[2] in paths
    ]
    (memory,) = make_plan(job(config.arch("causal_lm"), param_bytes=number)).memory
    assert sum(item.nbytes for item in held) == memory.optimizer
    assert sum(item.nbytes for item in optimizer.parameters) == memory.weights
