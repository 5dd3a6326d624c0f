"""Folders of runs: every run its own, nothing earlier touched."""

import os

import pytest

from mindformers.errors import CheckpointError, OutputError
from mindformers.runners import folders


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
