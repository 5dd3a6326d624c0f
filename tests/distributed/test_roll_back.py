"""Two processes: numbers that are not finite on one rank send both back to one step."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

WORKER = Path(__file__).with_name("roll_back_worker.py")


def test_both_ranks_go_back_to_the_newest_step_that_is_whole_on_both(tmp_path):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [
        shutil.which("msrun", path=path),
        "--worker_num=2",
        "--local_worker_num=2",
        "--master_port=8181",
        f"--log_dir={tmp_path / 'logs'}",
        "--join=True",
        str(WORKER),
        str(tmp_path),
    ]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = "".join(file.read_text()[-3000:] for file in (tmp_path / "logs").glob("worker_*.log"))
    assert result.returncode == 0, said
    found = [json.loads((tmp_path / f"result-{rank}.json").read_text()) for rank in (0, 1)]
    assert found == [[[f"mlp_rank_{rank}-1_2"], [3]] for rank in (0, 1)], said
