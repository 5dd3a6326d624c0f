"""Numbers that are not finite: where the first one is, and what the run does about it."""

from __future__ import annotations

import logging

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from mindspore.dataset import NumpySlicesDataset

from mindformers.errors import MindFormersError, UsageError
from mindformers.train.average import WeightAverage
from mindformers.train.checkpoint_callback import CheckpointMonitor
from mindformers.train.checkpoint_files import list_checkpoints
from mindformers.train.guard import FiniteGuard
from mindformers.train.hooks import in_order
from mindformers.train.loss_scale import DynamicLossScale, FixedLossScale
from mindformers.train.progress import Progress
from mindformers.train.step import TrainStep
from mindformers.weights.readers import read_weights
from tests.unit.test_callbacks import BATCH, STEPS_PER_EPOCH, contents, make_step, train

COLUMNS = ("inputs", "targets")


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, logger="mindformers")
    return lambda: [record.getMessage() for record in caplog.records]


def dataset(bad_rows=(), column=1, value=np.nan):
    generator = np.random.default_rng(7)
    arrays = [generator.standard_normal((STEPS_PER_EPOCH * BATCH, width)).astype(np.float32) for width in (3, 1)]
    for row in bad_rows:
        arrays[column][row] = value
    return NumpySlicesDataset(tuple(arrays), list(COLUMNS), shuffle=False).batch(BATCH)


def test_a_column_that_is_not_finite_is_the_first_bad_tensor_and_the_run_goes_on(warnings):
    progress = Progress(STEPS_PER_EPOCH, 1)
    train(make_step(), 1, [FiniteGuard(progress, "skip", COLUMNS)], dataset([BATCH, BATCH + 1]))
    (line,) = warnings()
    assert line.startswith("step 2: loss nan; the first bad tensor is the column 'targets': 2 of 4 numbers not finite")
    assert progress.global_step == STEPS_PER_EPOCH


def test_a_broken_weight_is_the_first_bad_tensor_and_stop_ends_the_run():
    step = make_step()
    weight = step.loss_cell.model.down.asnumpy().copy()
    weight[0, 2] = np.inf
    step.loss_cell.model.down.set_data(Tensor(weight))
    progress = Progress(STEPS_PER_EPOCH, 1)
    with pytest.raises(MindFormersError, match="step 1: .* the weight 'down': 1 of 8 numbers not finite"):
        train(step, 1, [FiniteGuard(progress, "stop", COLUMNS)], dataset())


def test_with_finite_batch_and_weights_it_is_a_gradient():
    progress = Progress(STEPS_PER_EPOCH, 1)
    with pytest.raises(MindFormersError, match=r"the gradient of 'up' \(2 of 2 gradients not finite\)"):
        train(make_step(), 1, [FiniteGuard(progress, "stop", COLUMNS)], dataset([0], column=1, value=3e38))


def test_an_overflow_under_a_loss_scale_is_the_scales_own_business(warnings):
    step = make_step(loss_scale=DynamicLossScale(2.0**127))
    train(step, 1, [FiniteGuard(Progress(STEPS_PER_EPOCH, 1), "stop", COLUMNS)], dataset())
    assert warnings() == []


def test_an_overflow_under_a_fixed_scale_or_the_smallest_one_is_acted_on():
    for scale in (FixedLossScale(2.0**127), DynamicLossScale(1.0)):
        data = dataset() if isinstance(scale, FixedLossScale) else dataset([0], column=1, value=3e38)
        with pytest.raises(MindFormersError, match="step 1: .* gradient"):
            train(make_step(loss_scale=scale), 1, [FiniteGuard(Progress(STEPS_PER_EPOCH, 1), "stop", COLUMNS)], data)


def test_a_loss_that_is_not_finite_on_this_rank_is_said_and_left_to_the_falling_scale(warnings):
    step = make_step(loss_scale=DynamicLossScale(4.0))
    train(step, 1, [FiniteGuard(Progress(STEPS_PER_EPOCH, 1), "stop", COLUMNS)], dataset([BATCH]))
    (line,) = warnings()
    assert line.startswith("step 2: loss nan; ") and line.endswith("the update was skipped")


def test_rolling_back_puts_the_last_checkpoint_back_and_goes_on(tmp_path, warnings):
    progress = Progress(STEPS_PER_EPOCH, 1)
    saver = CheckpointMonitor("mlp", tmp_path, progress, 2, keep_checkpoint_max=0)
    step = make_step()
    train(step, 1, in_order([saver, FiniteGuard(progress, "roll_back", COLUMNS, saver)]), dataset([3 * BATCH]))
    (line,) = warnings()
    assert line.startswith("step 4: loss nan; ") and "mlp_rank_0-1_2 again" in line
    assert contents(step)["global_step"].tolist() == [3]  # updates 1 and 2, then step 5
    second, fourth = (dict(read_weights(entry.path / "model.safetensors")) for entry in list_checkpoints(tmp_path)[:2])
    np.testing.assert_array_equal(second["up"], fourth["up"])


def test_rolling_back_without_a_checkpoint_ends_the_run(tmp_path):
    progress = Progress(STEPS_PER_EPOCH, 1)
    saver = CheckpointMonitor("mlp", tmp_path, progress, 2)
    with pytest.raises(MindFormersError, match="there is no good checkpoint yet"):
        train(make_step(), 1, in_order([saver, FiniteGuard(progress, "roll_back", COLUMNS, saver)]), dataset([0]))


def averaging_step(decay):
    plain = make_step()
    average = WeightAverage(plain.optimizer.parameters, decay)
    return TrainStep(plain.loss_cell, plain.optimizer, 1.0, average=average), average


def test_the_average_follows_the_weights_and_stands_in_for_them_only_meanwhile(tmp_path):
    step, average = averaging_step(0.75)
    expected = contents(step)["up"].astype(np.float64)
    seen = []

    class Look(ms.train.Callback):
        def on_train_step_end(self, run_context):
            seen.append(contents(step)["up"])

    progress = Progress(STEPS_PER_EPOCH, 1)
    train(step, 1, in_order([Look(), CheckpointMonitor("mlp", tmp_path, progress, 100)]), dataset())
    for weights in seen:
        expected = 0.75 * expected + 0.25 * weights
    np.testing.assert_allclose(contents(step)["ema.up"], expected, rtol=1e-5)
    with average.in_place_of_weights():
        np.testing.assert_array_equal(contents(step)["up"], contents(step)["ema.up"])
    np.testing.assert_array_equal(contents(step)["up"], seen[-1])
    (entry,) = list_checkpoints(tmp_path)
    folder = dict(read_weights(entry.path / "averaged" / "model.safetensors"))
    np.testing.assert_array_equal(folder["up"], contents(step)["ema.up"])


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_a_decay_out_of_range_is_named(decay):
    with pytest.raises(UsageError, match="ema_decay"):
        averaging_step(decay)
