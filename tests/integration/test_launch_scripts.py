"""The scripts of r0.3's names: what they refuse, and what a run of one device leaves."""

import os
import subprocess
import sys

import pytest

from tests.conftest import CONFIGS, ROOT

CONFIG = str(CONFIGS / "qa" / "run_qa_bert_tiny.yaml")


def script(name, *arguments, cwd):
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    return subprocess.run(
        ["bash", str(ROOT / "scripts" / name), *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path},
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.parametrize("name", ["run_distribute.sh", "run_standalone.sh"])
def test_a_missing_argument_brings_the_usage(tmp_path, name):
    result = script(name, CONFIG, "0", cwd=tmp_path)
    assert result.returncode == 2
    assert "is one of them a variable that is not set?" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["", CONFIG, "[0,2]", "train"], "error: --rank_table is empty; is the variable"),
        (
            ["none.json", CONFIG, "[0,2]", "train", "2", "--epochs=0"],
            "runner_config.epochs: must be at least 1; it is 0",
        ),
    ],
)
def test_what_is_wrong_is_one_message_and_nothing_starts(tmp_path, arguments, said):
    result = script("run_distribute.sh", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_one_device_leaves_its_log_and_its_status(tmp_path):
    for epochs in ("0", "-1"):
        result = script("run_standalone.sh", CONFIG, "3", "train", f"--epochs={epochs}", cwd=tmp_path)
        assert result.returncode == 2
    log = (tmp_path / "mf_standalone" / "mindformers.log").read_text()
    assert "must be at least 1; it is 0" in log
    assert "must be at least 1; it is -1" in log
