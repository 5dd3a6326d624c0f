"""Which checkpoint a run continues: found and verified once, before anything is built."""

from __future__ import annotations

import numpy as np
import pytest

from mindformers import build
from mindformers.errors import CheckpointError, UsageError
from mindformers.runners import folders
from mindformers.train import checkpoint_files
from mindformers.train.checkpoint import Snapshot, TrainState, save_checkpoint
from tests.unit.test_config_check import checked


@pytest.fixture
def saved(tmp_path):
    run = folders.enter(tmp_path, "train", folders.allocate(tmp_path, "train"))
    snapshot = Snapshot(TrainState(1, 2, 2, "run"), {"weight": np.ones(2, np.float32)}, {}, 1.0)
    return save_checkpoint(run.checkpoints, "mlp", 0, snapshot)


def config(tmp_path, text="", **keys):
    keys = {"run_mode": "train", "output_dir": tmp_path, **keys}
    return checked("".join(f"{name}: {value}\n" for name, value in keys.items()) + text).run


@pytest.mark.parametrize("named", [False, True])
def test_its_files_are_read_once(saved, tmp_path, named, monkeypatch):
    read, digest = [], checkpoint_files._sha256
    monkeypatch.setattr(checkpoint_files, "_sha256", lambda path: read.append(path.name) or digest(path))
    run = config(tmp_path, **({"load_checkpoint": saved} if named else {"resume": "true"}))
    found = build.resumed_checkpoint(run)
    assert build.weights_source(run, found) == found == saved
    assert sorted(read) == ["model.safetensors", "optimizer.safetensors", "state.json"]


@pytest.mark.parametrize("mode", ["train", "finetune", "eval"])
def test_a_damaged_one_is_refused_in_every_mode(saved, tmp_path, mode):
    (saved / "model.safetensors").write_bytes(b"torn")
    run = config(tmp_path, load_checkpoint=saved, run_mode=mode)
    with pytest.raises(CheckpointError, match="model.safetensors: 4 bytes"):
        build.weights_source(run, build.resumed_checkpoint(run))


def test_resume_says_that_it_does_not_look_into_a_folder_of_the_users(saved, tmp_path):
    run = config(tmp_path, "callbacks:\n  - {type: CheckpointMonitor, directory: /elsewhere}\n", resume="true")
    with pytest.raises(UsageError, match="CheckpointMonitor.directory is /elsewhere, .* --load_checkpoint"):
        build.resumed_checkpoint(run)
