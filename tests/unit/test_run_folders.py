"""Folders of runs: every run its own, nothing earlier touched."""

import json
import os

import numpy as np
import pytest

from mindformers.errors import CheckpointError, OutputError
from mindformers.runners import folders
from mindformers.train.checkpoint import Snapshot, TrainState, save_checkpoint


def test_each_run_gets_a_folder_of_its_own(tmp_path):
    numbers = [folders.allocate(tmp_path, mode) for mode in ("train", "eval", "train")]
    assert numbers == [1, 2, 3]
    assert [run.name for run in folders.earlier_runs(tmp_path)] == ["0001-train", "0002-eval", "0003-train"]


def test_rank_0_and_log_lead_to_the_newest_training_run(tmp_path):
    for mode in ("train", "finetune", "eval"):
        folders.enter(tmp_path, mode, folders.allocate(tmp_path, mode))
    assert (tmp_path / "rank_0").resolve() == (tmp_path / "runs" / "0002-finetune" / "rank_0").resolve()
    assert (tmp_path / "log" / "rank_0").is_dir()


def test_a_real_folder_of_another_tool_is_left_alone(tmp_path):
    (tmp_path / "rank_0").mkdir(parents=True)
    (tmp_path / "rank_0" / "theirs.txt").write_text("keep")
    folders.enter(tmp_path, "train", folders.allocate(tmp_path, "train"))
    assert (tmp_path / "rank_0" / "theirs.txt").read_text() == "keep"


def test_overwrite_removes_the_newest_training_run_alone(tmp_path):
    for mode in ("train", "train", "eval"):
        folders.allocate(tmp_path, mode)
    folders.allocate(tmp_path, "train", overwrite=True)
    assert [run.name for run in folders.earlier_runs(tmp_path)] == ["0001-train", "0003-eval", "0004-train"]


@pytest.mark.parametrize("root", ["file", "/proc/nothing"])
def test_a_folder_that_cannot_be_written_is_one_message(tmp_path, root):
    if root == "file":
        root = tmp_path / "a_file"
        root.write_text("text")
    with pytest.raises(OutputError, match="cannot be written: .*--output_dir"):
        folders.allocate(type(tmp_path)(root), "train")


def test_an_output_folder_without_checkpoints_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="no training checkpoint"):
        folders.newest_checkpoint(tmp_path)


def test_the_default_output_folder_can_be_moved_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "LOCAL_DEFAULT_PATH", str(tmp_path))
    assert folders.output_root("./output") == tmp_path
    assert str(folders.output_root("./elsewhere")) == "elsewhere"


def test_runs_of_another_model_are_passed_over(tmp_path):
    for name in ("small", "large", None):
        run = folders.enter(tmp_path, "train", folders.allocate(tmp_path, "train"))
        folders.describe(run, name)
    folders.allocate(tmp_path, "eval")
    assert [run.name for run in folders.training_runs(tmp_path, "small")] == ["0001-train", "0003-train"]
    with pytest.raises(CheckpointError, match="no training checkpoint of model 'large'"):
        folders.newest_checkpoint(tmp_path, model_name="large")


def save(run, rank, step, ranks=2):
    state = TrainState(epoch=1, step=step, global_step=step, run_id=f"rank {rank}", ranks=ranks)
    snapshot = Snapshot(state, {"weight": np.ones(2, np.float32)}, {}, float(step))
    return save_checkpoint(folders.RunFolder(run.path, rank).checkpoints, "mlp", rank, snapshot)


def test_a_resumed_rank_takes_the_newest_step_that_is_valid_on_every_rank(tmp_path, caplog):
    run = folders.enter(tmp_path, "train", folders.allocate(tmp_path, "train"))
    saved = {(rank, step): save(run, rank, step) for rank, step in ((0, 1), (0, 2), (0, 3), (1, 1), (1, 2))}
    (saved[1, 2] / "model.safetensors").write_bytes(b"torn")
    found = [folders.newest_checkpoint(tmp_path, rank) for rank in (0, 1, 2)]
    assert found == [saved[0, 1], saved[1, 1], saved[0, 1]]  # a rank that the run did not have takes rank 0's
    assert "mlp_rank_1-1_3: does not exist" in caplog.text
    assert "mlp_rank_1-1_2: model.safetensors: 4 bytes" in caplog.text


def test_a_run_that_went_on_with_fewer_ranks_can_be_resumed_again(tmp_path):
    run = folders.enter(tmp_path, "train", folders.allocate(tmp_path, "train"))
    for rank in (0, 1):
        save(run, rank, 1)
    alone = save(run, 0, 2, ranks=1)
    assert [folders.newest_checkpoint(tmp_path, rank) for rank in (0, 1)] == [alone, alone]


def test_every_start_of_a_run_is_kept(tmp_path):
    run = folders.enter(tmp_path, "train", folders.allocate(tmp_path, "train"))
    for command in ("first", "second"):
        folders.describe(run, "small", {"command": command})
    about = json.loads((run.path / "run.json").read_text())
    assert about == {"model_name": "small", "starts": [{"command": "first"}, {"command": "second"}]}
