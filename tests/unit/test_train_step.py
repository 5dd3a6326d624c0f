"""The training step against PyTorch's loop, and its behaviour on overflow."""

from __future__ import annotations

import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops

from mindformers.errors import UsageError
from mindformers.models.bert import BertConfig, BertForTokenClassification
from mindformers.optim.adamw import AdamW
from mindformers.optim.schedules import linear
from mindformers.train.loss_scale import DynamicLossScale, FixedLossScale
from mindformers.train.step import LossCell, TrainStep, column_positions

STEPS = 8
EQUAL = 1e-5
"""Relative and absolute, after 8 steps in float32."""


class Regression(nn.Cell):
    """A two-layer network with the inputs of a model: some absent, the loss first of several results."""

    def __init__(self):
        super().__init__()
        generator = np.random.default_rng(0)
        self.up = Parameter(Tensor(generator.standard_normal((6, 4)).astype(np.float32)), name="up")
        self.down = Parameter(Tensor(generator.standard_normal((1, 6)).astype(np.float32)), name="down")
        self.frozen = Parameter(Tensor(np.float32(0.5)), name="frozen", requires_grad=False)

    def construct(self, features, mask=None, weight=None, targets=None):
        hidden = ops.tanh(ops.matmul(features, self.up.T))
        outputs = ops.matmul(hidden, self.down.T) + self.frozen
        if mask is not None:
            outputs = outputs * mask
        return ops.mean(ops.square(outputs - targets)), outputs


def batches(steps=STEPS, size=5):
    generator = np.random.default_rng(1)
    return [
        (
            generator.standard_normal((size, 1)).astype(np.float32) * 3,
            generator.standard_normal((size, 4)).astype(np.float32),
        )
        for _ in range(steps)
    ]


def training_step(max_grad_norm=None, loss_scale=None, rate=None):
    model = Regression()
    curve = linear(0.05, total_steps=STEPS, warmup_steps=2) if rate is None else rate
    optimizer = AdamW(model.trainable_params(), curve, weight_decay=0.1)
    step = TrainStep(LossCell(model, ["targets", "features"]), optimizer, max_grad_norm, loss_scale)
    step.set_train()
    return model, step


def run(step, data):
    return [[result.asnumpy() for result in step(*(Tensor(column) for column in batch))] for batch in data]


def torch_run(max_grad_norm):
    torch = pytest.importorskip("torch", reason="compares with torch: pip install torch")
    model = Regression()
    up, down = (torch.nn.Parameter(torch.tensor(weight.asnumpy())) for weight in (model.up, model.down))
    optimizer = torch.optim.AdamW([up, down], lr=0.05, weight_decay=0.1)
    curve = linear(0.05, total_steps=STEPS, warmup_steps=2)
    results = []
    for number, (targets, features) in enumerate(batches()):
        optimizer.zero_grad()
        outputs = torch.tanh(torch.tensor(features) @ up.T) @ down.T + 0.5
        loss = ((outputs - torch.tensor(targets)) ** 2).mean()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([up, down], max_grad_norm or math.inf)
        optimizer.param_groups[0]["lr"] = float(curve[number])
        optimizer.step()
        results.append((loss.item(), norm.item()))
    return results, (up.detach().numpy(), down.detach().numpy())


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.mark.parametrize("max_grad_norm, scale", [(None, None), (0.7, None), (0.7, 1024.0)])
def test_losses_norms_and_weights_equal_pytorch(max_grad_norm, scale):
    expected, weights = torch_run(max_grad_norm)
    model, step = training_step(max_grad_norm, FixedLossScale(scale) if scale else None)
    results = run(step, batches())
    np.testing.assert_allclose([(result[0], result[3]) for result in results], expected, rtol=EQUAL, atol=EQUAL)
    np.testing.assert_allclose(model.up.asnumpy(), weights[0], rtol=EQUAL, atol=EQUAL)
    np.testing.assert_allclose(model.down.asnumpy(), weights[1], rtol=EQUAL, atol=EQUAL)
    assert not any(result[1] for result in results)
    assert {float(result[2]) for result in results} == {scale or 1.0}


def test_parameters_keep_the_names_of_the_model():
    _, step = training_step()
    names = {parameter.name for parameter in step.get_parameters()}
    assert {"up", "down", "frozen", "adam_m.up", "adam_v.down", "global_step"} <= names


def state_of(step):
    return {parameter.name: parameter.asnumpy().copy() for parameter in step.get_parameters()}


@pytest.mark.parametrize("poison", [np.inf, np.nan])
def test_a_step_that_overflows_changes_nothing(poison):
    _, step = training_step(max_grad_norm=1.0)
    good = batches()
    run(step, good[:2])
    before = state_of(step)
    targets = good[2][0].copy()
    targets[1] = poison
    ((_, overflow, _, norm, _),) = run(step, [(targets, good[2][1])])
    assert overflow and not np.isfinite(norm)
    for name, value in state_of(step).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    run(step, good[2:3])
    assert state_of(step)["global_step"].tolist() == [3]


def test_a_dynamic_scale_halves_on_overflow_and_doubles_after_its_window():
    _, step = training_step(loss_scale=DynamicLossScale(2.0**10, scale_factor=2, scale_window=3), rate=1e-3)
    good, bad = batches(1)[0], (np.full((5, 1), np.inf, np.float32), batches(1)[0][1])
    results = run(step, [good, good, good, good, bad, bad, good, good, good, good])
    scales = [float(result[2]) for result in results]
    assert scales == [1024, 1024, 1024, 2048, 2048, 1024, 512, 512, 512, 1024]
    assert [bool(result[1]) for result in results] == [False] * 4 + [True] * 2 + [False] * 4
    assert state_of(step)["global_step"].tolist() == [8]


def test_a_dynamic_scale_does_not_fall_below_one_nor_grow_to_infinity():
    scaler = DynamicLossScale(2.0, scale_window=1)
    for _ in range(3):
        scaler(Tensor(False))
    assert float(scaler.scale.asnumpy()) == 1.0
    scaler = DynamicLossScale(2.0**127, scale_window=1)
    scaler(Tensor(True))
    assert float(scaler.scale.asnumpy()) == 2.0**127


def test_columns_find_their_inputs_by_name():
    inputs = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "labels")
    assert column_positions(inputs, ("token_type_ids", "input_ids")) == (1, -1, 0)


def test_a_column_the_model_does_not_take_is_named_with_a_near_one():
    with pytest.raises(UsageError, match=r"'target'\. Did you mean 'targets'"):
        LossCell(Regression(), ["features", "target"])


def test_an_input_that_no_column_feeds_is_named():
    with pytest.raises(UsageError, match="features"):
        LossCell(Regression(), ["targets"])


@pytest.mark.parametrize(
    "broken, named",
    [
        (lambda: training_step(max_grad_norm=0.0), "max_grad_norm"),
        (lambda: FixedLossScale(0.0), "loss_scale_value"),
        (lambda: DynamicLossScale(4.0, scale_factor=1.0), "scale_factor"),
        (lambda: DynamicLossScale(4.0, scale_window=0), "scale_window"),
    ],
)
def test_a_setting_out_of_range_is_named(broken, named):
    with pytest.raises(UsageError, match=named):
        broken()


def test_a_model_with_dropout_trains_in_pynative_mode():
    # A plain index inside the step once failed there, and models without dropout or segments did not show it.
    before = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        sizes = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
        model = BertForTokenClassification(BertConfig(**sizes, intermediate_size=8, max_position_embeddings=8))
        model.set_train(True)
        parameters = list(model.trainable_params())
        step = TrainStep(LossCell(model, ["input_ids", "labels"]), AdamW(parameters, linear(0.01, total_steps=3)))
        ids = Tensor(np.ones((2, 4), np.int32))
        losses = [float(step(ids, ids)[0]) for _ in range(2)]
    finally:
        ms.set_context(mode=before)
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[0] != losses[1]
    assert model.dropout.state.asnumpy()[1] == 2
