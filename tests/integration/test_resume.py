"""A run that was stopped goes on as if it had not been, bit for bit; one that became another run is refused."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from mindformers.optim.schedules import cosine
from tests.conftest import ROOT
from tests.integration.conftest import run_script

EXIT_CODE_OF_SIGTERM = 143


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A text of a few thousand words."""
    draw = random.Random(3)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 7))) for _ in range(60)]
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text("\n".join(" ".join(draw.choices(words, k=12)) for _ in range(500)))
    return file


@pytest.fixture(scope="module")
def language_model(text):
    vocabulary = f"tokenizer.vocab_file={text}"
    return [
        "--config",
        ROOT / "configs" / "gpt2" / "run_gpt2_tiny.yaml",
        "--dataset_dir",
        text.parent,
        f"--train_dataset.{vocabulary}",
        "--model.model_config.resid_pdrop=0.1",
        "--epochs=2",
        "--batch_size=8",
        "--save_checkpoint_steps=10",
    ]


TIMES = ("time", "wait_seconds", "samples_per_second", "tokens_per_second", "tflops")


def trace(output):
    """Return what every step of the newest training run wrote, but for times."""
    lines = [json.loads(line) for line in (output / "rank_0" / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def stopped(arguments, output, number, after_steps):
    """Start a run, send it the signal `number` after some steps; return the finished process."""
    command = [sys.executable, str(ROOT / "run_mindformer.py"), *map(str, arguments), "--output_dir", str(output)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True
    )
    metrics = output / "rank_0" / "metrics.jsonl"
    while process.poll() is None and (not metrics.exists() or metrics.read_bytes().count(b"\n") < after_steps):
        time.sleep(0.01)
    process.send_signal(number)
    _, process.said = process.communicate(timeout=300)
    return process


@pytest.fixture(scope="module")
def straight(language_model, tmp_path_factory):
    output = tmp_path_factory.mktemp("straight")
    run_script(*language_model, "--output_dir", output)
    return output


@pytest.fixture(scope="module")
def terminated(language_model, tmp_path_factory):
    output = tmp_path_factory.mktemp("terminated")
    process = stopped(language_model, output, signal.SIGTERM, 7)
    return process, output


def checkpoints(output):
    return sorted((output / "rank_0" / "checkpoint").resolve().iterdir(), key=lambda item: item.stat().st_mtime)


def test_sigterm_saves_the_step_it_came_in_and_says_how_to_go_on(terminated):
    process, output = terminated
    assert process.returncode == EXIT_CODE_OF_SIGTERM, process.said
    assert "stopped by SIGTERM after step" in process.said and "--resume" in process.said
    steps = trace(output)
    state = json.loads((checkpoints(output)[-1] / "state.json").read_text())
    assert state["global_step"] == steps[-1]["step"] >= 7
    assert "Traceback" not in process.said


def test_a_run_that_sigterm_stopped_goes_on_bit_for_bit(terminated, straight, language_model, tmp_path):
    output = shutil.copytree(terminated[1], tmp_path / "copy", symlinks=True)
    run_script(*language_model, "--output_dir", output, "--resume")
    assert trace(output) == trace(straight)


def test_a_run_that_was_killed_loses_what_came_after_its_last_checkpoint_and_goes_on_bit_for_bit(
    straight, language_model, tmp_path
):
    process = stopped([*language_model, "--callbacks.2.async_save=true"], tmp_path, signal.SIGKILL, 33)
    assert process.returncode == -signal.SIGKILL
    last = max(json.loads((item / "state.json").read_text())["global_step"] for item in checkpoints(tmp_path))
    assert last >= 20
    run_script(*language_model, "--output_dir", tmp_path, "--resume")
    assert trace(tmp_path) == trace(straight)


@pytest.mark.parametrize(
    "changed, named",
    [
        (["--batch_size=16"], "batch_size was 8 and is 16"),
        (["--seed=5"], "seed was [42, 42] and is [5, 5]"),
        (["--train_dataset.data_loader.part=[0.0, 0.8]"], "data was"),
    ],
)
def test_a_run_with_other_rows_is_refused_by_name(terminated, language_model, changed, named):
    result = run_script(*language_model, "--output_dir", terminated[1], "--resume", *changed, check=False)
    assert result.returncode == 2, result.stderr[-3000:]
    assert named in result.stderr and f"resume_allow=[{named.split()[0]}]" in result.stderr


def test_a_change_that_is_allowed_by_name_goes_on_behind_the_same_rows(terminated, language_model, tmp_path):
    output = shutil.copytree(terminated[1], tmp_path / "copy", symlinks=True)
    done = trace(output)[-1]["step"]
    allowed = ["--batch_size=4", "--options", "resume_allow=[batch_size]"]
    run_script(*language_model, "--output_dir", output, "--resume", *allowed)
    steps = trace(output)
    assert steps[done]["step"] == 2 * done + 1
    curve = cosine(1e-2, total_steps=steps[-1]["step"], lr_end=1e-3)
    rates = {line["step"]: line["lr"] for line in steps[done:] if "lr" in line}
    assert rates == {step: curve[step - 1] for step in rates} and len(rates) == len(curve) - 2 * done


def test_a_checkpoint_is_a_model_folder(terminated, tmp_path):
    source = checkpoints(terminated[1])[-1]
    result = subprocess.run(
        [sys.executable, "-m", "mindformers.cli", "convert", source, tmp_path / "hf", "--from", "native", "--to", "hf"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["model_type"] == "gpt2"
