"""Which checkpoints stay: the newest, the best, and what a killed process left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from mindformers.errors import OutputError
from mindformers.train.background import Background
from mindformers.train.checkpoint import Snapshot, TrainState, save_checkpoint
from mindformers.train.checkpoint_files import list_checkpoints, verify
from mindformers.train.checkpoint_retention import remove_abandoned, remove_outdated
from tests.conftest import ROOT


def save(folder, step, metric=None):
    state = TrainState(epoch=1, step=step, global_step=step, run_id="run", metric=metric)
    arrays = {"weight": np.full(3, step, np.float32)}
    return save_checkpoint(folder, "mlp", 0, Snapshot(state, arrays, {}, float(step)))


def steps(folder):
    return [entry.step for entry in list_checkpoints(folder)]


@pytest.mark.parametrize("larger, stay", [(True, [2, 4, 6]), (False, [1, 5, 6])])
def test_the_newest_and_the_best_stay(tmp_path, larger, stay):
    for step, score in enumerate([0.1, 0.8, 0.5, 0.9, 0.2, None], start=1):
        save(tmp_path, step, score)
    remove_outdated(tmp_path, "run", 0, keep=1, keep_best=2, larger_is_better=larger)
    assert steps(tmp_path) == stay


def test_a_score_that_is_no_number_is_never_the_best(tmp_path):
    for step, score in enumerate([float("nan"), 0.5, None], start=1):
        save(tmp_path, step, score)
    remove_outdated(tmp_path, "run", 0, keep=1, keep_best=1)
    assert steps(tmp_path) == [2, 3]


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_checkpoint_that_was_moved_away_for_one_that_never_came_gets_its_name_back(tmp_path):
    path = save(tmp_path, 1)
    path.rename(tmp_path / f".tmp-{path.name}.old.{dead_process()}")
    remove_abandoned(tmp_path, "mlp", 0)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    assert verify(path) == []


def test_a_checkpoint_that_was_replaced_is_cleared_away(tmp_path):
    path = save(tmp_path, 1)
    left = tmp_path / f".tmp-{path.name}.old.{dead_process()}"
    path.rename(left)
    save(tmp_path, 1)
    remove_abandoned(tmp_path, "mlp", 0)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_random_kills_while_saving_lose_no_checkpoint():
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "kill_while_saving.py"), "--rounds", "12"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 0, result.stderr
    assert "12 kills" in result.stdout and "0 lost" in result.stdout


def test_work_in_the_background_is_done_one_after_the_other():
    done, hold = [], threading.Event()
    background = Background()
    background.start(lambda: (hold.wait(), done.append(1)))
    assert done == []
    hold.set()
    background.start(lambda: done.append(2))
    background.wait()
    assert done == [1, 2]


@pytest.mark.parametrize("finish", [lambda background: background.wait(), lambda background: background.start(print)])
def test_what_goes_wrong_in_the_background_is_raised_once(finish):
    def fail():
        raise OutputError("no space")

    background = Background()
    background.start(fail)
    with pytest.raises(OutputError, match="no space"):
        finish(background)
    background.wait()
