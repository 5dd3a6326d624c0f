"""Callbacks in a real run of mindspore.train.Model on a small network."""

from __future__ import annotations

import io
import json
import logging
import re
import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops
from mindspore.dataset import NumpySlicesDataset
from mindspore.train import Model

from mindformers.errors import MindFormersError, MissingExtraError, OutputError, UsageError
from mindformers.log import logger
from mindformers.optim.adamw import AdamW
from mindformers.optim.schedules import linear
from mindformers.train.checkpoint import load_training_state, read_state
from mindformers.train.checkpoint_callback import CheckpointMonitor
from mindformers.train.checkpoint_files import newest_valid, verify
from mindformers.train.eval_callback import EvalCallback
from mindformers.train.guard import FiniteGuard
from mindformers.train.loss_monitor import LossMonitor
from mindformers.train.loss_scale import DynamicLossScale
from mindformers.train.progress import Progress
from mindformers.train.scalars import ScalarWriter, read_scalars
from mindformers.train.step import LossCell, TrainStep
from mindformers.train.throughput import StepWork

BATCH = 4
STEPS_PER_EPOCH = 5
STEP_LINE = re.compile(
    r"Epoch:\[ *(\d+)/ *(\d+)\], step:\[ *(\d+)/ *(\d+)\], loss:\[ *([\d.]+|nan|inf)/ *([\d.]+|nan)\], "
    r"time: *([\d.]+) ms, lr:([\d.e-]+), overflow cond: (True|False), loss_scale: ([\d.]+), "
    r"([\d.]+) samples/s, eta: (\d+:\d\d:\d\d|unknown)"
)
EPOCH_LINE = re.compile(r"Epoch time: [\d.]+ ms, per step time: [\d.]+ ms, avg loss: [\d.]+")


class Perceptron(nn.Cell):
    """Two layers; counts how often its graph was built."""

    def __init__(self):
        super().__init__()
        generator = np.random.default_rng(0)
        self.up = Parameter(Tensor(generator.standard_normal((8, 3)).astype(np.float32)), name="up")
        self.down = Parameter(Tensor(generator.standard_normal((1, 8)).astype(np.float32)), name="down")
        self.inner = nn.Identity()

    def construct(self, inputs, targets):
        outputs = ops.matmul(ops.tanh(ops.matmul(self.inner(inputs), self.up.T)), self.down.T)
        return ops.mean(ops.square(outputs - targets))


def make_step(total=10, loss_scale=None):
    model = Perceptron()
    optimizer = AdamW(model.trainable_params(), linear(0.01, total_steps=total))
    return TrainStep(LossCell(model, ["inputs", "targets"]), optimizer, 1.0, loss_scale)


def dataset(skip=0, poison=False):
    generator = np.random.default_rng(7)
    inputs = generator.standard_normal((STEPS_PER_EPOCH * BATCH, 3)).astype(np.float32)
    targets = generator.standard_normal((STEPS_PER_EPOCH * BATCH, 1)).astype(np.float32)
    if poison:
        targets[:] = np.nan
    data = NumpySlicesDataset((inputs, targets), ["inputs", "targets"], shuffle=False).batch(BATCH)
    return data.skip(skip) if skip else data


def train(step, epochs, callbacks, data=None):
    Model(step).train(epochs, data or dataset(), callbacks=callbacks, dataset_sink_mode=False)


def contents(step):
    return {parameter.name: parameter.asnumpy().copy() for parameter in step.get_parameters()}


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.fixture
def log_lines(caplog):
    caplog.set_level(logging.INFO, logger="mindformers")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "mindformers"]


def test_lines_are_in_the_known_format_and_say_what_happened(log_lines, tmp_path):
    step = make_step()
    scalars = ScalarWriter(tmp_path)
    train(step, 2, [LossMonitor(Progress(STEPS_PER_EPOCH, 2), StepWork(BATCH), scalars=scalars)])
    scalars.close()
    lines = log_lines()
    found = [STEP_LINE.fullmatch(line) for line in lines if line.startswith("Epoch:")]
    assert len(found) == 10 and all(found)
    assert [(line.group(1), line.group(2), line.group(3), line.group(4)) for line in found[4:6]] == [
        ("1", "2", "5", "5"),
        ("2", "2", "1", "5"),
    ]
    assert found[0].group(8) == "0.01" and found[9].group(8) == "0.001"
    assert found[1].group(9) == "False" and found[1].group(10) == "1.0" and found[9].group(12) == "0:00:00"
    assert sum(bool(EPOCH_LINE.fullmatch(line)) for line in lines) == 2
    assert sum(line.startswith("First step:") for line in lines) == 1
    records = read_scalars(tmp_path / "metrics.jsonl")
    assert [record["step"] for record in records] == list(range(1, 11))
    second_epoch = [record["loss"] for record in records[5:]]
    assert float(found[9].group(5)) == pytest.approx(second_epoch[-1], abs=5e-4)
    assert float(found[9].group(6)) == pytest.approx(np.mean(second_epoch), abs=5e-4)
    assert set(records[5]) == {
        "step",
        "epoch",
        "time",
        "loss",
        "lr",
        "grad_norm",
        "loss_scale",
        "overflow",
        "wait_seconds",
        "samples_per_second",
    }


def test_lines_come_every_so_many_steps_and_at_the_end_of_an_epoch(log_lines):
    train(make_step(), 1, [LossMonitor(Progress(STEPS_PER_EPOCH, 1), StepWork(BATCH), per_print_times=2)])
    steps = [int(STEP_LINE.fullmatch(line).group(3)) for line in log_lines() if line.startswith("Epoch:")]
    assert steps == [2, 4, 5]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def open_terminal(monkeypatch):
    """Makes standard error one that a person sees; called in the test, since pytest sets its own before."""

    def replace():
        for name, value in (("TERM", "xterm"), ("COLUMNS", "160")):
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return replace


def test_a_terminal_gets_a_bar_instead_of_lines_and_the_log_file_gets_them(open_terminal, monkeypatch, tmp_path):
    terminal = open_terminal()
    handlers = [logging.StreamHandler(terminal), logging.FileHandler(tmp_path / "log")]
    monkeypatch.setattr(logger, "handlers", handlers)
    monkeypatch.setattr(logger, "level", logging.INFO)
    train(make_step(), 1, [LossMonitor(Progress(STEPS_PER_EPOCH, 1), StepWork(BATCH))])
    handlers[1].close()
    shown, recorded = terminal.getvalue(), (tmp_path / "log").read_text()
    assert "5/5" in shown and "samples/s" in shown and "Epoch time:" in shown and "Epoch:[" not in shown
    assert len(re.findall(r"^Epoch:\[", recorded, re.MULTILINE)) == 5


def test_an_interrupt_takes_the_bar_off_the_terminal(monkeypatch, open_terminal):
    terminal = open_terminal()
    handler = logging.StreamHandler(terminal)
    monkeypatch.setattr(logger, "handlers", [handler])
    during = []

    class Interrupt(ms.train.Callback):
        def on_train_step_end(self, run_context):
            during.append(handler.stream)
            raise KeyboardInterrupt

    monitor = LossMonitor(Progress(STEPS_PER_EPOCH, 1), StepWork(BATCH))
    with pytest.raises(KeyboardInterrupt):
        train(make_step(), 1, [monitor, Interrupt()])
    assert during[0] is not terminal
    assert handler.stream is terminal is sys.stderr


def test_gradients_that_stay_infinite_end_the_run_with_a_reason(log_lines):
    step = make_step(loss_scale=DynamicLossScale(2.0**32))
    before = contents(step)["up"]
    with pytest.raises(MindFormersError, match="step 50: the gradients were not finite in the last 50 steps"):
        progress = Progress(STEPS_PER_EPOCH, 20)
        train(step, 20, [LossMonitor(progress, StepWork(BATCH)), FiniteGuard(progress)], dataset(poison=True))
    np.testing.assert_array_equal(contents(step)["up"], before)
    line = STEP_LINE.fullmatch([line for line in log_lines() if line.startswith("Epoch:")][1])
    assert line.group(9) == "True" and line.group(10) == "2147483648.0"


def test_evaluation_runs_when_due_and_leaves_modes_and_the_graph_alone(tmp_path, log_lines):
    step = make_step()
    model = step.loss_cell.model
    progress = Progress(STEPS_PER_EPOCH, 2)
    seen = []

    def evaluate():
        seen.append((progress.global_step, model.training, model.inner.training, len(step.compile_cache)))
        return {"f1": [0.25, 0.75, 0.5][len(seen) - 1]}

    scalars = ScalarWriter(tmp_path)
    callback = EvalCallback(evaluate, progress, every_steps=3, scalars=scalars, watch="f1")
    model.inner.set_train(False)
    modes = []

    class Modes(ms.train.Callback):
        def on_train_step_end(self, run_context):
            modes.append((step.training, model.training))

    train(step, 2, [callback, Modes()])
    scalars.close()
    assert [entry[0] for entry in seen] == [3, 6, 9]
    assert not any(entry[1] or entry[2] for entry in seen)
    assert modes == [(True, True)] * 10
    assert {entry[3] for entry in seen} == {1} and len(step.compile_cache) == 1
    assert callback.best == 0.75 and callback.metrics == {"f1": 0.5}
    assert [(record["step"], record["eval/f1"]) for record in read_scalars(scalars.path)] == [
        (3, 0.25),
        (6, 0.75),
        (9, 0.5),
    ]
    assert any(line.startswith("Evaluation after step 3 (epoch 1): f1: 0.25, in ") for line in log_lines())


def test_modes_come_back_when_evaluation_fails():
    step = make_step()
    step.set_train()
    step.loss_cell.model.inner.set_train(False)

    def fail():
        raise ValueError("no data")

    with pytest.raises(ValueError):
        EvalCallback(fail, Progress(STEPS_PER_EPOCH, 1), every_epochs=1)._run(step)
    assert step.training and step.loss_cell.model.training and not step.loss_cell.model.inner.training


def test_a_watched_metric_that_is_not_returned_is_named():
    callback = EvalCallback(lambda: {"exact_match": 1.0}, Progress(STEPS_PER_EPOCH, 1), every_epochs=1, watch="f1")
    with pytest.raises(UsageError, match="'f1' is to be watched, but evaluation returns exact_match"):
        callback._run(make_step())


@pytest.mark.parametrize("periods", [{}, {"every_steps": 1, "every_epochs": 1}])
def test_evaluation_needs_exactly_one_period(periods):
    with pytest.raises(UsageError, match="one of the two"):
        EvalCallback(dict, Progress(STEPS_PER_EPOCH, 1), **periods)


def test_checkpoints_come_every_so_many_steps_and_once_at_the_end(tmp_path):
    progress = Progress(STEPS_PER_EPOCH, 2)
    train(
        make_step(),
        2,
        [CheckpointMonitor("mlp", tmp_path, progress, 2, keep_checkpoint_max=3, identity={"batch_size": BATCH})],
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlp_rank_0-2_1", "mlp_rank_0-2_3", "mlp_rank_0-2_5"]
    assert all(verify(path) == [] for path in tmp_path.iterdir())
    state = read_state(tmp_path / "mlp_rank_0-2_3")
    assert (state.epoch, state.step, state.global_step, state.identity) == (2, 3, 8, {"batch_size": BATCH})


def test_the_end_of_training_is_saved_when_no_step_was_due(tmp_path):
    progress = Progress(STEPS_PER_EPOCH, 1)
    train(make_step(), 1, [CheckpointMonitor("mlp", tmp_path, progress, 3)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlp_rank_0-1_3", "mlp_rank_0-1_5"]


def test_a_new_run_leaves_the_checkpoints_of_an_old_one(tmp_path):
    for _ in range(2):
        train(
            make_step(), 1, [CheckpointMonitor("mlp", tmp_path, Progress(STEPS_PER_EPOCH, 1), 0, keep_checkpoint_max=1)]
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlp_1_rank_0-1_5", "mlp_rank_0-1_5"]
    assert newest_valid(lambda rank: tmp_path)[0].path.name == "mlp_1_rank_0-1_5"


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path):
    (tmp_path / "file").touch()
    step = make_step()
    with pytest.raises(OutputError, match="file/checkpoint: checkpoints cannot be written there"):
        train(step, 1, [CheckpointMonitor("mlp", tmp_path / "file" / "checkpoint", Progress(STEPS_PER_EPOCH, 1), 1)])
    assert contents(step)["global_step"].tolist() == [0]


def test_a_run_stopped_within_an_epoch_and_resumed_equals_a_straight_one(tmp_path):
    def whole(folder, step, progress, run_id=None):
        scalars = ScalarWriter(folder, progress.first_step)
        return scalars, [
            LossMonitor(progress, StepWork(BATCH), scalars=scalars),
            CheckpointMonitor("mlp", folder / "checkpoint", progress, 3, run_id=run_id),
        ]

    straight = make_step()
    scalars, callbacks = whole(tmp_path / "straight", straight, Progress(STEPS_PER_EPOCH, 2))
    train(straight, 2, callbacks)
    scalars.close()

    class StopAfterFour(ms.train.Callback):
        def on_train_step_end(self, run_context):
            if run_context.original_args().cur_step_num == 4:
                raise KeyboardInterrupt

    stopped = make_step()
    scalars, callbacks = whole(tmp_path / "stopped", stopped, Progress(STEPS_PER_EPOCH, 2))
    with pytest.raises(KeyboardInterrupt):
        train(stopped, 2, [*callbacks, StopAfterFour()])
    scalars.close()

    resumed = make_step()
    entry, skipped = newest_valid(lambda rank: tmp_path / "stopped" / "checkpoint")
    state = load_training_state(entry.path, resumed.optimizer, (), resumed.loss_cell.model)
    assert (skipped, state.global_step, state.step) == ([], 3, 3)
    scalars, callbacks = whole(tmp_path / "stopped", resumed, Progress(STEPS_PER_EPOCH, 2, 3), state.run_id)
    train(resumed, 1, callbacks, dataset(skip=state.step))
    train(resumed, 1, callbacks)
    scalars.close()

    expected = contents(straight)
    for name, value in contents(resumed).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    losses = [
        [
            (record["step"], record["epoch"], record["loss"], record["lr"], record["grad_norm"])
            for record in read_scalars(tmp_path / run / "metrics.jsonl")
        ]
        for run in ("straight", "stopped")
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 10
    assert sorted(path.name for path in (tmp_path / "stopped" / "checkpoint").iterdir()) == [
        "mlp_rank_0-1_3",
        "mlp_rank_0-1_5",
        "mlp_rank_0-2_1",
        "mlp_rank_0-2_4",
        "mlp_rank_0-2_5",
    ]


def test_values_without_a_number_in_json_are_null_and_old_files_are_kept(tmp_path):
    for value in (1.0, float("inf")):
        scalars = ScalarWriter(tmp_path)
        scalars.write(1, 1, {"grad_norm": value})
        scalars.close()
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["grad_norm"] is None
    assert json.loads((tmp_path / "metrics-1.jsonl").read_text())["grad_norm"] == 1.0


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "epoch": 1, "time": 0}\n{"step": 2, "ep')
    scalars = ScalarWriter(tmp_path, first_step=2)
    scalars.write(3, 1, {})
    scalars.close()
    assert [record["step"] for record in read_scalars(tmp_path / "metrics.jsonl")] == [1, 3]


def test_broken_lines_do_not_stop_a_resumed_run_and_are_counted(tmp_path, caplog):
    lines = ['{"step": 1, "epoch": 1}', '{"step": 2, "epo\x00\x00', "[]", '{"epoch": 1}', '{"step": 3, "epoch": 1}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    ScalarWriter(tmp_path, first_step=3).close()
    assert [record["step"] for record in read_scalars(tmp_path / "metrics.jsonl")] == [1, 3]
    assert caplog.text.count("3 lines cannot be read") == 1


def test_a_monitor_without_lines_writes_every_step_all_the_same(tmp_path, log_lines):
    progress, scalars = Progress(STEPS_PER_EPOCH, 1), ScalarWriter(tmp_path)
    train(make_step(), 1, [LossMonitor(progress, StepWork(BATCH), None, scalars)])
    scalars.close()
    assert [record["step"] for record in read_scalars(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5]
    assert log_lines() == []


def test_tensorboard_events_are_written_only_on_request(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX", reason="writes events: pip install tensorboardX")
    scalars = ScalarWriter(tmp_path / "events", tensorboard=True)
    scalars.write(1, 1, {"loss": 2.0})
    scalars.close()
    assert any(path.name.startswith("events.out.tfevents") for path in (tmp_path / "events").iterdir())
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    ScalarWriter(tmp_path / "plain").close()
    with pytest.raises(MissingExtraError, match=r"mindformers\[tensorboard\]"):
        ScalarWriter(tmp_path / "plain", tensorboard=True)
