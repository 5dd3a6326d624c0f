"""A run that was stopped goes on as if it had not been, bit for bit; one that became another run is refused."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from mindformers.optim.schedules import cosine
from tests.conftest import ROOT
from tests.integration.conftest import run_script
from tests.integration.stopped_runs import (
    KILLED_AFTER,
    SAVED_EVERY,
    TERMINATED_AFTER,
    stop_twice,
    tiny_language_model,
    trace,
)

EXIT_CODE_OF_SIGTERM = 143


def stopped(flags, output):
    """Return what starts the run and what ends it, as `stop_twice` takes them."""

    def launch(*more):
        command = [sys.executable, ROOT / "run_mindformer.py", *flags, "--output_dir", output, *more]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment)

    def end(process, number):
        process.send_signal(number)
        _, process.said = process.communicate(timeout=300)

    return launch, end


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    """The flags of a run with a part frozen for a while, and of the same run with samples."""
    folder = tmp_path_factory.mktemp("language-model")
    return [tiny_language_model(folder, samples) for samples in (False, True)]


@pytest.fixture(scope="module")
def run(language_model, tmp_path_factory):
    plain, with_samples = language_model
    output = tmp_path_factory.mktemp("stopped") / "output"
    # At last it writes samples, too, which must change nothing.
    return stop_twice(*stopped(plain, output), output, at_last=with_samples[:2])


@pytest.fixture(scope="module")
def answers(tiny_flags, tmp_path_factory):
    flags = ["--run_mode=train", "--epochs=3", "--runner_config.batch_size=4", f"--save_checkpoint_steps={SAVED_EVERY}"]
    output = tmp_path_factory.mktemp("answers") / "output"
    return stop_twice(*stopped([*tiny_flags, *flags], output), output)


def checkpoints(output):
    return sorted((output / "rank_0" / "checkpoint").resolve().iterdir(), key=lambda item: item.stat().st_mtime)


@pytest.mark.parametrize("name", ["run", "answers"])
def test_a_run_that_was_killed_and_terminated_goes_on_bit_for_bit(name, request):
    of = request.getfixturevalue(name)
    assert len(of.killed[0]) >= KILLED_AFTER
    assert of.finished[0][: len(of.killed[0])] == of.killed[0]
    steps = [line["step"] for line in of.finished[0] if "loss" in line]
    assert steps == list(range(1, len(steps) + 1))


def test_sigterm_saves_the_step_it_came_in_and_says_how_to_go_on(run):
    assert run.terminated.returncode == EXIT_CODE_OF_SIGTERM, run.terminated.said
    assert "stopped by SIGTERM after step" in run.terminated.said and "--resume" in run.terminated.said
    state = json.loads((checkpoints(run.then)[-1] / "state.json").read_text())
    assert state["global_step"] == trace(run.then)[-1]["step"] >= TERMINATED_AFTER
    assert "Traceback" not in run.terminated.said


def test_samples_are_written_in_the_run_folder(run):
    (file,) = run.output.rglob("samples.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {(line["step"], line["prompt"]) for line in lines} >= {(100, "ab"), (100, "cd")}
    assert all(0 < len(line["text"]) <= 4 for line in lines)


@pytest.mark.parametrize(
    "changed, named",
    [
        (["--batch_size=16"], "batch_size was 8 and is 16"),
        (["--seed=5"], "seed was [42, 42] and is [5, 5]"),
        (["--train_dataset.data_loader.part=[0.0, 0.8]"], "data was"),
    ],
)
def test_a_run_with_other_rows_is_refused_by_name(run, language_model, changed, named):
    result = run_script(*language_model[0], "--output_dir", run.then, "--resume", *changed, check=False)
    assert result.returncode == 2, result.stderr[-3000:]
    assert named in result.stderr and f"resume_allow=[{named.split()[0]}]" in result.stderr


def test_a_change_that_is_allowed_by_name_goes_on_behind_the_same_rows(run, language_model, tmp_path):
    output = shutil.copytree(run.then, tmp_path / "copy", symlinks=True)
    before = trace(output)[-1]["step"]
    allowed = ["--batch_size=4", "--options", "resume_allow=[batch_size]"]
    run_script(*language_model[0], "--output_dir", output, "--resume", *allowed)
    steps = [line for line in trace(output) if "loss" in line and line["step"] > before]
    assert steps[0]["step"] == 2 * before + 1
    curve = cosine(1e-2, total_steps=steps[-1]["step"], lr_end=1e-3)
    assert [line["lr"] for line in steps] == [curve[line["step"] - 1] for line in steps]


def test_a_checkpoint_is_a_model_folder(run, tmp_path):
    source = checkpoints(run.then)[-1]
    result = subprocess.run(
        [sys.executable, "-m", "mindformers.cli", "convert", source, tmp_path / "hf", "--from", "native", "--to", "hf"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["model_type"] == "gpt2"
