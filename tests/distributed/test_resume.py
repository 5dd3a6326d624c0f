"""Two processes: SIGTERM to one of them stops both at one step, and the run goes on bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import ROOT
from tests.integration.conftest import TINY, corpus, tiny_flags  # noqa: F401 -- fixtures

PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def start(flags, output, logs, port):
    command = [
        shutil.which("msrun", path=PATH),
        "--worker_num=2",
        "--local_worker_num=2",
        f"--master_port={port}",
        f"--log_dir={logs}",
        "--join=True",
        str(ROOT / "run_mindformer.py"),
        *map(str, flags),
        "--use_parallel=True",
        "--output_dir",
        str(output),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": PATH}
    return subprocess.Popen(
        command, cwd=logs.parent, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def worker(output, rank):
    """Return the process of a rank: its command names the output folder, its environment the rank."""
    for entry in Path("/proc").iterdir():
        try:
            command, environment = ((entry / name).read_bytes().split(b"\0") for name in ("cmdline", "environ"))
        except OSError:
            continue
        is_ours = str(ROOT / "run_mindformer.py").encode() in command and str(output).encode() in command
        if is_ours and f"MS_NODE_ID={rank}".encode() in environment:
            return int(entry.name)
    raise AssertionError(f"no process of rank {rank}")


def of_ranks(output):
    """Return what both ranks of the one run wrote of every step."""
    (run,) = (output / "runs").iterdir()
    files = [run / f"rank_{rank}" / "metrics.jsonl" for rank in (0, 1)]
    records = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    return [[(item["step"], item["loss"], item["grad_norm"], item["lr"]) for item in items] for items in records]


def test_ranks_stop_together_and_go_on_bit_for_bit(tiny_flags, tmp_path):  # noqa: F811
    flags = [*tiny_flags, "--run_mode", "train", "--epochs", "12", "--runner_config.batch_size=4"]
    (tmp_path / "logs").mkdir()
    assert start(flags, tmp_path / "straight", tmp_path / "logs" / "a", 8121).wait(300) == 0
    launcher = start(flags, tmp_path / "stopped", tmp_path / "logs" / "b", 8141)
    metrics = tmp_path / "stopped" / "runs" / "0001-train" / "rank_0" / "metrics.jsonl"
    while launcher.poll() is None and (not metrics.exists() or metrics.read_bytes().count(b"\n") < 5):
        time.sleep(0.01)
    os.kill(worker(tmp_path / "stopped", 1), signal.SIGTERM)
    launcher.wait(300)
    said = "".join(file.read_text() for file in (tmp_path / "logs" / "b").glob("worker_*.log"))
    assert said.count("stopped by SIGTERM after step") == 2, said[-4000:]
    done = [len(records) for records in of_ranks(tmp_path / "stopped")]
    assert 5 <= done[0] == done[1] < len(of_ranks(tmp_path / "straight")[0])
    resumed = start([*flags, "--resume"], tmp_path / "stopped", tmp_path / "logs" / "c", 8161)
    assert resumed.wait(300) == 0
    assert of_ranks(tmp_path / "stopped") == of_ranks(tmp_path / "straight")
