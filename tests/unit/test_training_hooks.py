"""Callbacks that decide and keep state: order, early stopping, the best checkpoint, SIGTERM, saving beside training."""

from __future__ import annotations

import json
import os
import signal
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore.dataset import NumpySlicesDataset

from mindformers.errors import OutputError, UsageError
from mindformers.parallel.context import ParallelContext
from mindformers.runners.session import Session
from mindformers.train import checkpoint_callback
from mindformers.train.checkpoint import Snapshot, TrainState, read_state, save_checkpoint
from mindformers.train.checkpoint_callback import CheckpointMonitor
from mindformers.train.checkpoint_files import list_checkpoints, verify
from mindformers.train.early_stopping import EarlyStopping
from mindformers.train.eval_callback import EvalCallback
from mindformers.train.hooks import TrainingCallback, in_order, load_states, states_of
from mindformers.train.loss_monitor import LossMonitor
from mindformers.train.progress import Progress
from mindformers.train.stop import StopOnSignal
from mindformers.train.throughput import StepWork
from tests.unit.test_callbacks import BATCH, STEPS_PER_EPOCH, make_step, train


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.fixture(scope="module")
def step():
    return make_step()


class Counter(TrainingCallback):
    def __init__(self, priority=50):
        super().__init__()
        self.priority, self.count = priority, 0

    def on_train_step_end(self, run_context):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def test_callbacks_are_called_by_priority_and_plain_ones_in_the_middle():
    first, late, plain = Counter(1), Counter(99), ms.train.Callback()
    assert in_order([late, plain, first]) == [first, plain, late]


def test_states_are_kept_by_class_and_number_and_a_new_callback_starts_fresh():
    one, two = Counter(), Counter()
    one.count, two.count = 3, 4
    states = json.loads(json.dumps(states_of([one, ms.train.Callback(), two])))
    again = [Counter(), Counter(), Counter()]
    load_states(again, states)
    assert [callback.count for callback in again] == [3, 4, 0]


def evaluation_of(scores, progress, **options):
    values = iter(scores)
    return EvalCallback(lambda: {"f1": next(values)}, progress, every_steps=1, watch="f1", **options)


def test_training_ends_when_the_score_has_not_improved_for_so_many_evaluations(step):
    progress = Progress(STEPS_PER_EPOCH, 2)
    evaluation = evaluation_of([0.1, 0.5, 0.4, 0.505, 0.5, 0.9], progress)
    train(step, 2, in_order([EarlyStopping(evaluation, patience=3, min_delta=0.01), evaluation]))
    assert progress.global_step == 5
    assert evaluation.best == 0.505


def test_a_smaller_score_may_be_the_better_one(step):
    progress = Progress(STEPS_PER_EPOCH, 2)
    evaluation = evaluation_of([3.0, 2.0, 2.5, 2.5, 1.0], progress, watch_max=False)
    train(step, 2, in_order([EarlyStopping(evaluation, patience=2), evaluation]))
    assert (progress.global_step, evaluation.best) == (4, 2.0)


def test_scores_that_are_never_finite_end_training_too(step, caplog):
    caplog.set_level("INFO", logger="mindformers")
    progress = Progress(STEPS_PER_EPOCH, 1)
    evaluation = evaluation_of([float("nan")] * 3, progress)
    train(step, 1, in_order([EarlyStopping(evaluation, patience=2), evaluation]))
    assert progress.global_step == 2
    assert "early stopping: f1 has not been better than nan in the last 2 evaluations" in caplog.text


def test_patience_goes_on_where_a_resumed_run_stood():
    evaluation = evaluation_of([], Progress(STEPS_PER_EPOCH, 1))
    waiting, again = EarlyStopping(evaluation, 3), EarlyStopping(evaluation, 3)
    waiting.best, waiting.waited = 0.5, 2
    load_states([again], json.loads(json.dumps(states_of([waiting]))))
    assert (again.best, again.waited) == (0.5, 2)


def test_the_best_step_is_saved_though_none_is_due_and_stays(step, tmp_path):
    progress = Progress(STEPS_PER_EPOCH, 2)
    evaluation = evaluation_of([0.1, 0.9, 0.3, 0.2, 0.8, 0.1, 0.1, 0.1, 0.1, 0.1], progress)
    saver = CheckpointMonitor(
        "mlp", tmp_path, progress, 100, keep_checkpoint_max=1, keep_checkpoint_best=2, evaluation=evaluation
    )
    train(step, 2, in_order([saver, evaluation]))
    states = [read_state(entry.path) for entry in list_checkpoints(tmp_path)]
    assert [(state.global_step, state.metric, state.best_metric) for state in states] == [
        (2, 0.9, 0.9),
        (5, 0.8, 0.9),
        (10, 0.1, 0.9),
    ]


def test_the_best_without_an_evaluation_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no evaluation says which checkpoint is best"):
        CheckpointMonitor("mlp", tmp_path, Progress(STEPS_PER_EPOCH, 1), keep_checkpoint_best=1)


class Terminate(ms.train.Callback):
    def on_train_step_end(self, run_context):
        if run_context.original_args().cur_step_num == 3:
            os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_ends_training_after_the_step_with_a_checkpoint_of_it(step, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    progress = Progress(STEPS_PER_EPOCH, 2)
    stop, counter = StopOnSignal(progress), Counter()
    saver = CheckpointMonitor("mlp", tmp_path, progress, 100, states=[counter])
    train(step, 2, in_order([saver, stop, counter, Terminate()]))
    assert stop.stopped and progress.global_step == 3
    (entry,) = list_checkpoints(tmp_path)
    assert verify(entry.path) == []
    assert read_state(entry.path).callbacks == {"Counter": {"count": 3}}
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_rank_stops_at_the_step_that_was_agreed_on(step, tmp_path):
    def other_rank_writes(run_context):
        if run_context.original_args().cur_step_num == 2:
            (tmp_path / "stop").write_text("4")

    other = ms.train.Callback()
    other.on_train_step_end = other_rank_writes
    progress = Progress(STEPS_PER_EPOCH, 2)
    (tmp_path / "stop").write_text("1")  # of an earlier part of the run
    train(step, 2, in_order([StopOnSignal(progress, tmp_path / "stop"), other]))
    assert progress.global_step == 4


def test_a_rank_with_the_signal_proposes_the_next_step(step, tmp_path):
    progress = Progress(STEPS_PER_EPOCH, 2)
    train(step, 2, in_order([StopOnSignal(progress, tmp_path / "stop"), Terminate()]))
    assert progress.global_step == 4
    assert sorted(item.name for item in tmp_path.iterdir()) == ["stop"]


def test_a_checkpoint_written_beside_training_holds_the_state_of_its_step(tmp_path):
    folders = {}
    for async_save in (False, True):
        progress, folder = Progress(STEPS_PER_EPOCH, 1), tmp_path / str(async_save)
        train(make_step(), 1, [CheckpointMonitor("mlp", folder, progress, 1, 0, 0, async_save=async_save)])
        folders[async_save] = {
            entry.path.name: (entry.path / "model.safetensors").read_bytes() for entry in list_checkpoints(folder)
        }
    assert len(folders[True]) == STEPS_PER_EPOCH
    assert folders[True] == folders[False]


def test_an_error_of_writing_beside_training_ends_training(step, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OutputError("no space left")

    monkeypatch.setattr(checkpoint_callback, "save_checkpoint", full)
    progress = Progress(STEPS_PER_EPOCH, 2)
    with pytest.raises(OutputError, match="no space left"):
        train(step, 2, [CheckpointMonitor("mlp", tmp_path, progress, 2, async_save=True)])
    assert progress.global_step < 10


def test_an_error_of_writing_is_logged_when_another_error_ends_training(step, tmp_path, monkeypatch, caplog):
    def full(*_, **__):
        raise OutputError("no space left")

    class Fail(ms.train.Callback):
        def on_train_step_end(self, run_context):
            raise KeyError("of the user")

    monkeypatch.setattr(checkpoint_callback, "save_checkpoint", full)
    saver = CheckpointMonitor("mlp", tmp_path, Progress(STEPS_PER_EPOCH, 1), 1, async_save=True)
    with pytest.raises(KeyError, match="of the user"):
        train(step, 1, [saver, Fail()])
    assert "no space left" in caplog.text


def test_every_rank_would_save_by_its_own_clock(tmp_path):
    with pytest.raises(UsageError, match="save_checkpoint_seconds is 60, but each of the 2 ranks"):
        CheckpointMonitor("mlp", tmp_path, Progress(1, 1), 0, 60, context=ParallelContext("CPU", 0, 2))


class Agreed(ParallelContext):
    """A rank that is told what rank 0 decided."""

    def agree(self, number):
        decided.append(number)
        return decided[0]


decided = []


def test_all_ranks_go_back_to_the_newest_step_that_is_whole_on_all_of_them(tmp_path):
    arrays = {"weight": np.ones(2, np.float32)}
    for rank, last in ((0, 3), (1, 2)):
        for number in range(1, last + 1):
            state = TrainState(1, number, number, f"run of rank {rank}", ranks=2)
            save_checkpoint(tmp_path / str(rank), "mlp", rank, Snapshot(state, arrays, {}, float(number)))
    (tmp_path / "0" / "mlp_rank_0-1_1" / "manifest.json").unlink()
    decided.clear()
    found = [
        CheckpointMonitor(
            "mlp",
            tmp_path / str(rank),
            Progress(3, 1),
            context=Agreed("CPU", rank, 2),
            folder_of=lambda number: tmp_path / str(number),
            run_id=f"run of rank {rank}",
        ).newest()
        for rank in (0, 1)
    ]
    assert [path.name for path in found] == ["mlp_rank_0-1_2", "mlp_rank_1-1_2"]


def test_every_complete_checkpoint_is_handed_to_the_upload_and_its_failure_is_only_logged(step, tmp_path, caplog):
    uploaded = []

    def upload(path):
        assert verify(path) == []
        uploaded.append(path.name)
        raise ConnectionError("away")

    progress = Progress(STEPS_PER_EPOCH, 1)
    with caplog.at_level("ERROR", logger="mindformers"):
        train(step, 1, [CheckpointMonitor("mlp", tmp_path, progress, 3, upload=upload)])
    assert uploaded == ["mlp_rank_0-1_3", "mlp_rank_0-1_5"]
    assert "its upload failed" in caplog.text and "away" in caplog.text


def test_a_step_that_is_compiled_again_is_said(caplog):
    progress = Progress(STEPS_PER_EPOCH, 1)
    sizes = NumpySlicesDataset((np.zeros((10, 3), np.float32), np.ones((10, 1), np.float32)), ["inputs", "targets"])
    train(make_step(), 1, [LossMonitor(progress, StepWork(BATCH))], sizes.batch(BATCH))  # 4, 4 and 2 rows
    (line,) = [record.getMessage() for record in caplog.records if "compiled again" in record.getMessage()]
    assert line.startswith("step 3: the graph was compiled again, 2 graphs by now")


def test_the_rates_of_a_step_follow_from_its_work():
    work = StepWork(rows=8, tokens=4096, flops=5 * 10**12, peak_flops=1e13)
    assert work.rates(2.0) == {
        "samples_per_second": 4.0,
        "tokens_per_second": 2048.0,
        "tflops": 2.5,
        "share_of_peak": 0.25,
    }
    assert work.text(2.0) == "4.0 samples/s, 2048 tokens/s, 2.5 TFLOP/s (25.0% of peak)"
    assert StepWork(8).text(2.0) == "4.0 samples/s"


def test_all_evaluations_of_a_run_share_one_cell_and_so_one_graph():
    task = SimpleNamespace(eval_cell=lambda model, columns: [model, *columns])
    data = SimpleNamespace(evaluation=SimpleNamespace(features=SimpleNamespace(columns={"input_ids": None})))
    names = ("checked", "context", "folder", "tokenizer", "state", "start", "given")
    session = Session(**dict.fromkeys(names), task=task, model="model", data=data)
    assert session.eval_cell == ["model", "input_ids"] and session.eval_cell is session.eval_cell
