"""Options of training as a user sets them: portions of a batch, an average of the weights, early stopping, the best."""

import json
import subprocess
import sys

import pytest

from tests.integration.conftest import losses, run_script

EQUAL = 1e-5
"""Relative, of losses: sums in another order, over some ten steps."""
NO_DROPOUT = ["--model.model_config.hidden_dropout_prob=0", "--model.model_config.attention_probs_dropout_prob=0"]
MANY_CALLBACKS = """
base_config: [{base}]
callbacks:
  - {{type: MFLossMonitor, per_print_times: 50}}
  - {{type: CheckpointMonitor, keep_checkpoint_max: 1, keep_checkpoint_best: 1, async_save: true, upload: note_folder}}
  - {{type: EarlyStopping, patience: 2, min_delta: 100.0}}
"""
UPLOAD = """
from mindformers import MindFormerModuleType, MindFormerRegister

@MindFormerRegister.register(MindFormerModuleType.TOOLS)
def note_folder(folder):
    with open(folder.parent / "uploaded.txt", "a") as file:
        file.write(folder.name + "\\n")
"""


@pytest.fixture(scope="module")
def in_portions(tmp_path_factory, tiny_flags):
    output = tmp_path_factory.mktemp("portions")
    flags = ["--runner_config.batch_size=4", "--gradient_accumulation_steps=4", "--runner_config.ema_decay=0.9"]
    flags += ["--optimizer.type=adafactor", "--epochs=1", "--run_mode=train"]
    run_script(*tiny_flags, *flags, *NO_DROPOUT, "--output_dir", output)
    return output


def test_portions_of_a_batch_train_as_the_whole_does(in_portions, tiny_flags, tmp_path):
    flags = ["--runner_config.batch_size=16", "--optimizer.type=adafactor", "--epochs=1", "--run_mode=train"]
    run_script(*tiny_flags, *flags, *NO_DROPOUT, "--output_dir", tmp_path)
    assert losses(in_portions) == pytest.approx(losses(tmp_path), rel=EQUAL)


def test_the_averaged_weights_are_a_model_folder(in_portions, tiny_flags, tmp_path):
    averaged = next((in_portions / "rank_0" / "checkpoint").resolve().iterdir()) / "averaged"
    result = run_script(*tiny_flags, "--run_mode=eval", "--load_checkpoint", averaged, "--output_dir", tmp_path)
    assert "scored 40 of 40" in result.stderr


def test_a_run_folder_says_how_it_was_started(in_portions):
    (run,) = (in_portions / "runs").iterdir()
    (start,) = json.loads((run / "run.json").read_text())["starts"]
    assert start["versions"]["mindspore"] and start["ranks"] == 1
    assert "--gradient_accumulation_steps=4" in start["command"]
    assert "gradient_accumulation_steps: 4" in (run / "config.yaml").read_text()
    assert "# --gradient_accumulation_steps" in (run / "config.yaml").read_text()


def test_curves_of_a_run_are_drawn(in_portions, tmp_path):
    command = [sys.executable, "-m", "mindformers.cli", "plot", in_portions, "--output", tmp_path / "plot.png"]
    subprocess.run(command, check=True)
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_early_stopping_the_best_checkpoint_and_an_upload_work_together(tiny_flags, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "upload.py").write_text(UPLOAD)
    config = tmp_path / "run.yaml"
    config.write_text(MANY_CALLBACKS.format(base=tiny_flags[1]))
    flags = ["--config", config, *tiny_flags[2:], "--run_mode=train", "--epochs=9", "--do_eval", "--eval_steps=2"]
    result = run_script(*flags, "--register_path", tmp_path / "mine", "--output_dir", tmp_path / "out")
    assert "early stopping: f1 has not been better than" in result.stderr
    assert len(losses(tmp_path / "out")) == 6  # the first evaluation is the best, two more are not
    folder = (tmp_path / "out" / "rank_0" / "checkpoint").resolve()
    uploaded = (folder / "uploaded.txt").read_text().split()
    assert uploaded[0].endswith("-1_2") and uploaded[-1].endswith("-1_6")
    kept = {item.name for item in folder.iterdir() if item.is_dir()}
    assert uploaded[-1] in kept and len(kept) <= 2
