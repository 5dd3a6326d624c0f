"""Texts that the model writes during training."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from mindformers.errors import UsageError
from mindformers.train.progress import Progress
from mindformers.train.sample_text import FILE_NAME, SampleText


def run(folder, steps, first_step=0):
    """Follow a training of some steps; return the lines of the file."""
    progress = Progress(10, 1, first_step)
    callback = SampleText(lambda: [f"at {progress.global_step}"], progress, ["Once"], 2, folder)
    arguments = SimpleNamespace(cur_step_num=0)
    context = SimpleNamespace(original_args=lambda: arguments)
    callback.on_train_begin(context)
    for _ in range(steps):
        arguments.cur_step_num += 1
        callback.on_train_step_end(context)
    callback.__exit__(None, None, None)
    return [json.loads(line) for line in (folder / FILE_NAME).read_text().splitlines()]


def test_every_so_many_steps_the_texts_are_logged_and_kept(tmp_path, caplog):
    caplog.set_level("INFO", logger="mindformers")
    lines = run(tmp_path, 5)
    assert [(line["step"], line["prompt"], line["text"]) for line in lines] == [
        (2, "Once", "at 2"),
        (4, "Once", "at 4"),
    ]
    assert "sample after step 4: 'Once' -> 'at 4'" in caplog.text


def test_a_resumed_run_writes_again_what_came_after_its_checkpoint(tmp_path):
    run(tmp_path, 6)
    assert [line["step"] for line in run(tmp_path, 4, first_step=3)] == [2, 4, 6]


def test_prompts_and_period_are_checked(tmp_path):
    for prompts, every in (([], 2), (["Once"], 0)):
        with pytest.raises(UsageError, match="at least one of each"):
            SampleText(list, Progress(1, 1), prompts, every, tmp_path)
