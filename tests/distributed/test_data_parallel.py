"""Two processes on the CPU train as one process does."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.integration.conftest import TINY, corpus, run_script, tiny_flags  # noqa: F401 -- fixtures

TOLERANCE = 1e-5
"""Relative, on the loss: the sum over ranks adds in another order."""


@pytest.fixture(scope="module")
def flags(tiny_flags):  # noqa: F811
    return [
        *tiny_flags,
        "--run_mode",
        "train",
        "--epochs",
        "1",
        "--num_samples",
        "64",
        "--callbacks.0.per_print_times=1",
        "--model.model_config.hidden_dropout_prob=0",
        "--model.model_config.attention_probs_dropout_prob=0",
        "--train_dataset.drop_remainder=True",
    ]


def scalars(folder: Path):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_ranks_see_the_same_global_batches_and_take_the_same_steps(flags, tmp_path):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    msrun = shutil.which("msrun", path=path)
    run_script(*flags, "--output_dir", tmp_path / "one", "--runner_config.batch_size=16")
    command = [
        msrun,
        "--worker_num=2",
        "--local_worker_num=2",
        "--master_port=8119",
        f"--log_dir={tmp_path / 'msrun'}",
        "--join=True",
        str(ROOT / "run_mindformer.py"),
        *map(str, flags),
        "--use_parallel=True",
        "--output_dir",
        str(tmp_path / "two"),
        "--runner_config.batch_size=8",
    ]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path},
    )
    logs = "\n".join(file.read_text() for file in (tmp_path / "msrun").glob("worker_*.log"))
    assert result.returncode == 0, result.stdout + result.stderr + logs[-4000:]
    run = next((tmp_path / "two" / "runs").iterdir())
    one = scalars(tmp_path / "one" / "rank_0")
    ranks = [scalars(run / f"rank_{rank}") for rank in (0, 1)]
    assert len(one) == len(ranks[0]) == len(ranks[1]) == 4
    together = [np.mean([first["loss"], second["loss"]]) for first, second in zip(*ranks)]
    assert together == pytest.approx([line["loss"] for line in one], rel=TOLERANCE)
    assert [line["grad_norm"] for line in ranks[0]] == pytest.approx(
        [line["grad_norm"] for line in one], rel=10 * TOLERANCE
    )
