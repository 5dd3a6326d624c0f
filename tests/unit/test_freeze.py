"""Weights that are frozen for some steps: in every optimizer, and in a run."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor
from mindspore.train.callback import Callback

from mindformers.errors import UsageError
from mindformers.optim.adamw import Adam, AdamW
from mindformers.optim.gradient_descent import SGD, Adagrad
from mindformers.optim.groups import decay_groups
from mindformers.optim.layerwise import Adafactor, Lamb
from mindformers.optim.schedules import linear
from mindformers.train.checkpoint import take_snapshot
from mindformers.train.freeze import Freeze
from mindformers.train.hooks import in_order
from mindformers.train.progress import Progress
from mindformers.train.step import LossCell, TrainStep
from tests.unit.test_callbacks import STEPS_PER_EPOCH, Perceptron, dataset, train
from tests.unit.test_optimizers import SHAPES, Apply, gradients_of, weights

APART = "layers.0.mlp.up.weight"


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)


def moved(apply, step):
    """Return the parameters that an update changes."""
    before = {item.name: item.asnumpy().copy() for item in apply.optimizer.parameters}
    apply(*(Tensor(gradient) for gradient in gradients_of(step).values()))
    return {item.name for item in apply.optimizer.parameters if (before[item.name] != item.asnumpy()).any()}


@pytest.mark.parametrize("cls", [AdamW, Adam, SGD, Adagrad, Adafactor, Lamb])
def test_frozen_weights_neither_move_nor_decay_and_go_on_in_the_same_graph(cls):
    parameters = [Parameter(Tensor(value), name=path) for path, value in weights().items()]
    options = {"momentum": 0.9} if cls is SGD else {}
    apply = Apply(cls(parameters, 1e-2, groups=decay_groups(SHAPES, 0.1), **options))
    groups = apply.optimizer.set_apart([APART])
    assert moved(apply, 0) == set(SHAPES)
    apply.optimizer.freeze(groups)
    assert moved(apply, 1) == moved(apply, 2) == set(SHAPES) - {APART}
    apply.optimizer.freeze(groups, frozen=False)
    assert moved(apply, 3) == set(SHAPES)
    assert len(apply.compile_cache) == 1


class Losses(Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_step_end(self, run_context):
        self.seen.append([output.asnumpy().item() for output in run_context.original_args().net_outputs[:4]])


def make(train_up=True):
    model = Perceptron()
    model.up.requires_grad = train_up
    optimizer = AdamW(model.trainable_params(), linear(0.05, total_steps=10), weight_decay=0.5)
    return LossCell(model, ["inputs", "targets"]), optimizer


def run_with(freezes, epochs=2, first_step=0, data=None):
    """Return what the steps returned, and the cell."""
    (cell, optimizer), losses = make(), Losses()
    progress = Progress(STEPS_PER_EPOCH, 2, first_step)
    callbacks = [Freeze(progress, optimizer, ["up"], *freeze) for freeze in freezes]
    step = TrainStep(cell, optimizer, 1.0)
    train(step, epochs, in_order([*callbacks, Following(progress), losses]), data)
    assert len(step.compile_cache) == 1
    return losses.seen, step


class Following(Callback):
    """Counts the steps, as every callback of a run does."""

    def __init__(self, progress):
        super().__init__()
        self.progress = progress

    def on_train_step_end(self, run_context):
        self.progress.advance(run_context.original_args().cur_step_num)


@pytest.fixture(scope="module")
def frozen_for_a_while():
    return run_with([(0, 4)])


def test_until_its_step_a_frozen_weight_is_as_if_it_were_not_trained_at_all(frozen_for_a_while):
    (cell, optimizer), losses = make(train_up=False), Losses()
    train(TrainStep(cell, optimizer, 1.0), 1, [losses])
    seen, _ = frozen_for_a_while
    assert seen[:4] == losses.seen[:4]  # loss and norm; the fifth step is the first that moves both
    assert seen[4][0] == losses.seen[4][0] and seen[4][3] > losses.seen[4][3]


def test_a_resumed_run_freezes_by_the_steps_of_the_whole_run():
    up = Perceptron().up.asnumpy()
    _, resumed = run_with([(0, 4)], epochs=1, first_step=3, data=dataset(skip=STEPS_PER_EPOCH - 1))
    assert np.array_equal(resumed.weights[0].asnumpy(), up)
    _, later = run_with([(0, 4)], epochs=1, first_step=4, data=dataset(skip=STEPS_PER_EPOCH - 1))
    assert not np.array_equal(later.weights[0].asnumpy(), up)


def test_what_is_frozen_is_no_part_of_a_checkpoint(frozen_for_a_while):
    _, step = frozen_for_a_while
    with_freezing = take_snapshot(None, step.loss_cell.model, step.optimizer).training
    cell, optimizer = make()
    assert set(with_freezing) == set(take_snapshot(None, cell.model, optimizer).training)


def test_patterns_steps_and_weights_named_twice_are_checked():
    _, optimizer = make()
    progress = Progress(STEPS_PER_EPOCH, 2)
    with pytest.raises(UsageError, match="'encoder.*' matches no trained weight; paths look like up, down"):
        Freeze(progress, optimizer, ["encoder.*"])
    with pytest.raises(UsageError, match="from step 4 until step 4"):
        Freeze(progress, optimizer, ["up"], 4, 4)
    Freeze(progress, optimizer, ["up"], 0, 4)
    with pytest.raises(UsageError, match="'up' is to be frozen twice"):
        Freeze(progress, optimizer, ["*"], 4, 5)
    with pytest.raises(UsageError, match="not with str"):
        Freeze(progress, "mine", ["up"])
