"""A small corpus and a trained tiny model that the tests of the doors share."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TINY = [
    "--runner_config.batch_size=16",
    "--model.model_config.num_hidden_layers=1",
    "--model.model_config.hidden_size=32",
    "--model.model_config.num_attention_heads=2",
    "--model.model_config.intermediate_size=64",
]


def run_script(*arguments, cwd=None, check=True):
    """Start run_mindformer.py as a user does; returns the finished process."""
    return _run_python(ROOT / "run_mindformer.py", *arguments, cwd=cwd, check=check)


def run_code(code, cwd):
    """Run lines of Python in a process of their own; returns the finished process."""
    return _run_python("-c", code, cwd=cwd)


def _run_python(*arguments, cwd, check=True):
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=600)
    if check:
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    return result


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """The embedded corpus, small."""
    from mindformers.data.corpus import write_corpus

    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, seed=1, train_questions=120, dev_questions=40)
    return folder


@pytest.fixture(scope="session")
def tiny_flags(corpus):
    """Flags that shrink the embedded run to seconds."""
    return [
        "--config",
        ROOT / "configs" / "qa" / "run_qa_bert_tiny.yaml",
        "--dataset_dir",
        corpus,
        f"--model.model_config.vocab_size={len((corpus / 'vocab.txt').read_text().splitlines())}",
        *TINY,
    ]


@pytest.fixture(scope="session")
def trained(tmp_path_factory, tiny_flags) -> Path:
    """The output folder of a finished tiny training run."""
    output = tmp_path_factory.mktemp("trained")
    run_script(
        *tiny_flags,
        "--run_mode",
        "train",
        "--output_dir",
        output,
        "--epochs",
        "2",
        "--do_eval",
        "--callbacks.0.per_print_times=1",
    )
    return output


def losses(output: Path):
    """Return the loss of every step that the newest training run wrote."""
    lines = (output / "rank_0" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines if "loss" in json.loads(line)]
