"""Training checkpoints: complete or absent, checked, found again, and training goes on from them bit for bit."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops
from safetensors.numpy import load_file

from mindformers.errors import CheckpointError, OutputError
from mindformers.optim.adamw import AdamW
from mindformers.optim.schedules import linear
from mindformers.train.checkpoint import TrainState, load_training_state, read_state, save_checkpoint, take_snapshot
from mindformers.train.checkpoint_files import (
    is_checkpoint,
    list_checkpoints,
    newest_valid,
    process_mark,
    require_valid,
    verify,
)
from mindformers.train.checkpoint_retention import free_prefix, remove_abandoned, remove_outdated
from mindformers.train.loss_scale import DynamicLossScale
from mindformers.train.random_state import capture_random_state, restore_random_state
from mindformers.train.step import LossCell, TrainStep


class Model(nn.Cell):
    def __init__(self, width=3):
        super().__init__()
        generator = np.random.default_rng(0)
        self.weight = Parameter(Tensor(generator.standard_normal((2, width)).astype(np.float32)), name="weight")
        self.fixed = Parameter(Tensor(np.float32(2)), name="fixed", requires_grad=False)

    def construct(self, inputs):
        return ops.mean(ops.square(ops.matmul(inputs, self.weight.T))) * self.fixed


def training_step(width=3, scale=True):
    model = Model(width)
    optimizer = AdamW(model.trainable_params(), linear(0.1, total_steps=10, warmup_steps=1))
    step = TrainStep(
        LossCell(model, ["inputs"]), optimizer, 1.0, DynamicLossScale(64.0, scale_window=2) if scale else None
    )
    step.set_train()
    return step


def batch(number):
    return Tensor(np.random.default_rng(number).standard_normal((4, 3)).astype(np.float32))


def state(global_step=5, run_id="run", epoch=1):
    return TrainState(
        epoch=epoch,
        step=global_step,
        global_step=global_step,
        identity={"batch_size": 4},
        run_id=run_id,
        best_metric=0.5,
        random=capture_random_state(),
    )


def save(folder, step, global_step=5, run_id="run", prefix="mlp", rank=0, extras=()):
    snapshot = take_snapshot(state(global_step, run_id), step.loss_cell.model, step.optimizer, step.state_cells)
    return save_checkpoint(folder, prefix, rank, snapshot, extras)


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.fixture(scope="module")
def untrained():
    return training_step()


@pytest.fixture(scope="module")
def saved_once(tmp_path_factory, untrained):
    return save(tmp_path_factory.mktemp("saved"), untrained)


@pytest.fixture
def saved(saved_once, tmp_path):
    """A checkpoint of its own for a test that damages it."""
    return shutil.copytree(saved_once, tmp_path / saved_once.name)


def contents(step):
    return {parameter.name: parameter.asnumpy().copy() for parameter in step.get_parameters()}


def test_a_checkpoint_holds_model_optimizer_state_and_manifest(saved):
    assert saved.name == "mlp_rank_0-1_5"
    assert set(load_file(saved / "model.safetensors")) == {"weight", "fixed"}
    assert set(load_file(saved / "optimizer.safetensors")) == {
        "adam_m.weight",
        "adam_v.weight",
        "global_step",
        "loss_scale",
        "loss_scale_good_steps",
        "schedule_offset",
    }
    assert sorted(path.name for path in saved.iterdir()) == [
        "manifest.json",
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]
    assert verify(saved) == []
    restored = read_state(saved)
    assert (restored.epoch, restored.step, restored.global_step) == (1, 5, 5)
    assert restored.identity == {"batch_size": 4}
    assert restored.best_metric == 0.5


def test_training_that_goes_on_equals_training_that_never_stopped(tmp_path):
    straight = training_step()
    losses = [straight(batch(number))[0].asnumpy() for number in range(6)]
    stopped = training_step()
    for number in range(3):
        stopped(batch(number))
    path = save(tmp_path, stopped, 3)
    resumed = training_step()
    resumed.loss_cell.model.weight.set_data(Tensor(np.zeros((2, 3), np.float32)))
    load_training_state(path, resumed.optimizer, resumed.state_cells, resumed.loss_cell.model)
    again = [resumed(batch(number))[0].asnumpy() for number in range(3, 6)]
    np.testing.assert_array_equal(again, losses[3:])
    expected = contents(straight)
    for name, value in contents(resumed).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_a_step_that_is_already_compiled_takes_the_loaded_state(tmp_path):
    step = training_step()
    step(batch(0))
    path = save(tmp_path, step, 1)
    first = step(batch(1))[0].asnumpy()
    step(batch(2))
    load_training_state(path, step.optimizer, step.state_cells, step.loss_cell.model)
    np.testing.assert_array_equal(step(batch(1))[0].asnumpy(), first)
    assert contents(step)["global_step"].tolist() == [2]


def test_every_mismatch_is_listed_and_nothing_is_assigned(saved):
    other = training_step(width=4, scale=False)
    before = contents(other)
    with pytest.raises(CheckpointError) as caught:
        load_training_state(saved, other.optimizer, (), other.loss_cell.model)
    message = str(caught.value)
    assert "optimizer.safetensors: adam_m.weight: shape (2, 3) in the checkpoint, (2, 4) here" in message
    assert "loss_scale: in the checkpoint only" in message
    assert "model.safetensors: weight: shape" in message
    assert len(caught.value.mismatches) == 5
    for name, value in contents(other).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_a_changed_byte_is_found(saved):
    content = bytearray((saved / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (saved / "model.safetensors").write_bytes(content)
    assert verify(saved) == ["model.safetensors: its content changed (sha256 differs from the manifest)"]
    with pytest.raises(CheckpointError, match="its content changed"):
        require_valid(saved)


def test_each_way_to_be_incomplete_is_told_apart(saved, tmp_path):
    (saved / "optimizer.safetensors").write_bytes(b"short")
    (saved / "state.json").unlink()
    first, second = verify(saved)
    assert first.startswith("optimizer.safetensors: 5 bytes; the manifest says ")
    assert second == "state.json: missing"
    (saved / "manifest.json").write_text("{")
    assert verify(saved)[0].startswith("manifest.json: unreadable")
    (saved / "manifest.json").write_text(json.dumps({"format_version": 99, "files": {}}))
    assert "format version 99" in verify(saved)[0]
    (saved / "manifest.json").unlink()
    assert verify(saved)[0].startswith("manifest.json: missing")
    assert verify(tmp_path / "nowhere") == ["does not exist"]


def test_the_newest_whole_checkpoint_wins_and_others_are_named(tmp_path, untrained):
    folder = tmp_path / "output" / "rank_0" / "checkpoint"
    paths = [save(folder, untrained, number) for number in (9, 10, 11)]
    (paths[2] / "manifest.json").unlink()
    found, (skipped,) = newest_valid(lambda rank: folder)
    assert found.path == paths[1]
    assert skipped.startswith(f"{paths[2]}: manifest.json: missing")
    assert [is_checkpoint(path) for path in (*paths, folder)] == [True, True, True, False]
    assert newest_valid(lambda rank: tmp_path) == (None, [])


def test_a_newer_run_is_found_before_an_older_one_that_went_further(tmp_path, untrained):
    save(tmp_path, untrained, 100, run_id="older")
    newer = save(tmp_path, untrained, 2, run_id="newer")
    assert newest_valid(lambda rank: tmp_path)[0].path == newer
    assert newest_valid(lambda rank: tmp_path, "older")[0].run_id == "older"


def test_only_outdated_checkpoints_of_this_run_and_rank_are_removed(tmp_path, untrained):
    others = [save(tmp_path, untrained, 1, run_id="other"), save(tmp_path, untrained, 1, rank=1)]
    (tmp_path / "mlp_rank_0-1_77").mkdir()
    own = [save(tmp_path, untrained, number) for number in (2, 3, 4)]
    assert remove_outdated(tmp_path, "run", 0, keep=2) == own[:1]
    assert not own[0].exists()
    assert all(path.exists() for path in others + own[1:] + [tmp_path / "mlp_rank_0-1_77"])


def test_a_checkpoint_of_another_run_is_not_overwritten(tmp_path, untrained):
    path = save(tmp_path, untrained, 5, run_id="theirs")
    before = (path / "manifest.json").read_bytes()
    with pytest.raises(OutputError, match="belongs to another run"):
        save(tmp_path, untrained, 5, run_id="ours")
    assert (path / "manifest.json").read_bytes() == before
    assert free_prefix(tmp_path, "mlp", 0, "ours") == "mlp_1"
    assert free_prefix(tmp_path, "mlp", 0, "theirs") == "mlp"


def test_the_same_run_replaces_its_checkpoint(tmp_path, untrained):
    save(tmp_path, untrained, 5)
    path = save(tmp_path, untrained, 5, extras=[lambda folder: (folder / "second").touch()])
    assert (path / "second").exists() and verify(path) == []
    assert [entry.path for entry in list_checkpoints(tmp_path)] == list(tmp_path.iterdir()) == [path]


def test_files_of_the_caller_are_in_the_manifest(tmp_path, untrained):
    def write_tokenizer(folder):
        (folder / "tokenizer").mkdir()
        (folder / "tokenizer" / "vocab.txt").write_text("[PAD]\n")

    path = save(tmp_path, untrained, extras=[write_tokenizer])
    assert "tokenizer/vocab.txt" in json.loads((path / "manifest.json").read_text())["files"]
    (path / "tokenizer" / "vocab.txt").write_text("[CLS]\n")
    assert verify(path) == ["tokenizer/vocab.txt: its content changed (sha256 differs from the manifest)"]


def test_a_disk_that_is_full_leaves_the_earlier_checkpoint_and_no_traces(tmp_path, untrained):
    earlier = save(tmp_path, untrained, 1)
    # The kernel refuses to let a file grow beyond the limit, as it does on a full disk.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, limits[1]))
    try:
        with pytest.raises(OutputError) as caught:
            save(tmp_path, untrained, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = f"{tmp_path}/mlp_rank_0-1_2: the checkpoint could not be written: File too large. Earlier checkpoints are"
    assert str(caught.value).startswith(said)
    assert list(tmp_path.iterdir()) == [earlier] and verify(earlier) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path, untrained):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/mlp_rank_0-1_5.*Not a directory"):
        save(tmp_path / "file", untrained)


def test_an_error_of_the_caller_leaves_no_traces(tmp_path, untrained):
    def fail(folder):
        raise KeyError("tokenizer")

    with pytest.raises(KeyError):
        save(tmp_path, untrained, extras=[fail])
    assert list(tmp_path.iterdir()) == []


def test_traces_of_a_killed_process_are_removed_and_those_of_a_living_one_stay(tmp_path):
    dead, later, living, foreign = (
        tmp_path / name
        for name in (
            ".tmp-mlp_rank_0-1_5.999999999",
            f".tmp-mlp_rank_0-1_7.{os.getpid()}-1",  # a former process that had the number of this one
            f".tmp-mlp_rank_0-1_6.{process_mark(os.getpid())}",
            ".tmp-other_rank_0-1_5.999999999",
        )
    )
    for path in (dead, later, living, foreign):
        path.mkdir()
    remove_abandoned(tmp_path, "mlp", 0)
    assert not dead.exists() and not later.exists() and living.exists() and foreign.exists()


def test_a_transposed_weight_comes_back_in_its_order(tmp_path):
    step = training_step()
    value = np.arange(6, dtype=np.float32).reshape(3, 2).T
    step.loss_cell.model.weight.set_data(Tensor(value))
    np.testing.assert_array_equal(load_file(save(tmp_path, step) / "model.safetensors")["weight"], value)


def test_random_generators_go_on_where_they_were():
    captured = json.loads(json.dumps(capture_random_state()))
    expected = random.random(), np.random.rand(), np.random.randn()
    restore_random_state(captured)
    assert (random.random(), np.random.rand(), np.random.randn()) == expected


def test_a_copied_snapshot_is_not_changed_by_the_steps_that_follow():
    step = training_step()
    step(batch(0))
    snapshot = take_snapshot(state(), step.loss_cell.model, step.optimizer, step.state_cells, copy=True)
    expected = contents(step)
    step(batch(1))
    taken = {**snapshot.model, **snapshot.training}
    assert set(taken) == set(expected) - {"learning_rate"}
    for name, value in taken.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
