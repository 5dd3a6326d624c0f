"""Two processes on the CPU train as one process does, through both doors; a job whose rank dies can go on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mindformers.parallel.rank_table import Device, Server, table_text
from tests.conftest import ROOT
from tests.integration.conftest import corpus, run_script, tiny_flags  # noqa: F401 -- fixtures

TOLERANCE = 1e-6
"""Relative, on losses and norms: the sum over ranks adds in another order. Seen over 25 steps: 1.2e-7."""
STEPS = 20
DIES = """
import os
from mindspore.train.callback import Callback
from mindformers.tools.register import MindFormerModuleType, MindFormerRegister

@MindFormerRegister.register(MindFormerModuleType.CALLBACK)
class Dies(Callback):
    def on_train_step_end(self, run_context):
        step = run_context.original_args().cur_step_num
        if os.environ["RANK_ID"] == "1" and str(step) == os.environ.get("DIES_AT"):
            raise ValueError("broken at step 7")
"""


class Job:
    """A small training run, from one process or two."""

    def __init__(self, folder, given):
        self.folder = folder
        (folder / "own").mkdir()
        (folder / "own" / "dies.py").write_text(DIES)
        self.config = folder / "job.yaml"
        callbacks = "[{type: MFLossMonitor}, {type: CheckpointMonitor, save_checkpoint_steps: 5}, {type: Dies}]"
        self.config.write_text(f"base_config: [{given[1]}]\ncallbacks: {callbacks}\n")
        self.flags = [
            *map(str, given[2:]),
            f"--register_path={folder / 'own'}",
            "--epochs=3",
            "--model.model_config.hidden_dropout_prob=0",
            "--model.model_config.attention_probs_dropout_prob=0",
            "--train_dataset.drop_remainder=True",
        ]

    def of_two(self, output, *command, **variables):
        """Start two ranks by a command and return it finished."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return subprocess.run(
            [*command, *self.flags, "--runner_config.batch_size=8", f"--output_dir={output}"],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, **variables},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def launched(self, output, *more, **variables):
        command = [sys.executable, "-m", "mindformers.cli", "launch", str(self.config), "--ranks=2", "--run_mode=train"]
        return self.of_two(output, *command, *more, **variables)


def steps_of(folder):
    """Return what a rank wrote of every step, its last word where it took one twice."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {item["step"]: (item["loss"], item["grad_norm"], item["lr"]) for item in lines}


def of_ranks(output):
    (run,) = (output / "runs").iterdir()
    return [steps_of(run / f"rank_{rank}") for rank in (0, 1)]


@pytest.fixture(scope="module")
def job(tmp_path_factory, tiny_flags):  # noqa: F811
    return Job(tmp_path_factory.mktemp("job"), tiny_flags)


@pytest.fixture(scope="module")
def straight(job):
    """What both ranks of an uninterrupted run wrote; it was started by the script, with a rank table."""
    server = Server("127.0.0.1", (Device(0, "127.0.0.1", 0), Device(1, "127.0.0.2", 1)))
    (job.folder / "table.json").write_text(table_text([server]))
    script = ROOT / "scripts" / "run_distribute.sh"
    result = job.of_two(job.folder / "two", "bash", str(script), "table.json", str(job.config), "[0,2]", "train", "2")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr
    assert "start training for rank 1, device 1" in result.stdout
    assert "RANK_ID=1\nRANK_SIZE=2" in (job.folder / "mf_parallel1" / "env.log").read_text()
    return of_ranks(job.folder / "two")


def test_two_ranks_take_the_steps_of_one_process_on_rows_of_their_own(job, straight, monkeypatch):
    monkeypatch.setenv("RANK_ID", "0")
    command = ["--config", job.config, *job.flags, "--run_mode=train", "--runner_config.batch_size=16"]
    run_script(*command, "--output_dir", job.folder / "one")
    one, (first, second) = steps_of(job.folder / "one" / "rank_0"), straight
    assert len(one) == len(first) == len(second) >= STEPS
    for step, (loss, norm, _) in one.items():
        assert first[step][0] != second[step][0]  # whose mean is that of all rows: each has its own
        assert (first[step][0] + second[step][0]) / 2 == pytest.approx(loss, rel=TOLERANCE)
        assert first[step][1] == second[step][1] == pytest.approx(norm, rel=TOLERANCE)


def test_a_rank_that_dies_ends_the_job_which_goes_on_from_its_checkpoint_bit_for_bit(job, straight):
    died = job.launched(job.folder / "dies", DIES_AT="7")
    assert died.returncode == 1
    assert "rank 1 ended with status 1; the log is mf_parallel1/mindformers.log" in died.stderr
    assert "    ValueError: broken at step 7" in died.stderr
    assert str(job.folder / "dies") not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    resumed = job.launched(job.folder / "dies", "--resume")
    assert resumed.returncode == 0, resumed.stdout[-3000:] + resumed.stderr
    assert of_ranks(job.folder / "dies") == straight
