"""Four processes that split layers and batch, two ways each, train every decoder family as one process does."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.distributed.placed_worker import JOBS, STEPS
from tests.distributed.shim import preload

TOLERANCE = 1e-5
"""Relative, on losses and norms: sums over devices add in another order, and plain operators stand for kernels."""
RANKS = 4
WORKER = Path(__file__).with_name("placed_worker.py")
LIMIT = 900
"""Seconds after which the processes count as stuck."""


def run(folder, command, **variables):
    """Run `command` in `folder` and return what every rank wrote, by its number."""
    folder.mkdir()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MS_", "RANK_"))}
    result = subprocess.run(
        [*command, str(folder)],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), "PATH": path, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    logs = "".join(file.read_text()[-3000:] for file in sorted(folder.glob("logs/worker_*.log")))
    assert result.returncode == 0, (logs or result.stdout[-3000:]) + result.stderr[-3000:]
    return {int(file.stem): json.loads(file.read_text()) for file in folder.glob("*.json")}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """What one process said, on the ordinary step."""
    return run(tmp_path_factory.mktemp("one") / "out", [sys.executable, str(WORKER)])[0]


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    """What each of four processes said, on the placed step."""
    folder = tmp_path_factory.mktemp("placed")
    library = preload.build(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        shutil.which("msrun", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])),
        f"--worker_num={RANKS}",
        f"--local_worker_num={RANKS}",
        f"--master_port={port}",
        f"--log_dir={folder / 'out' / 'logs'}",
        "--join=True",
        str(WORKER),
    ]
    return run(folder / "out", command, LD_PRELOAD=str(library))


@pytest.mark.parametrize("name", JOBS)
def test_split_layers_and_batches_train_as_one_process_does(name, one, placed):
    assert sorted(placed) == list(range(RANKS))
    assert len(one[name]) == STEPS
    for said in placed.values():
        assert [item for step in said[name] for item in step] == pytest.approx(
            [item for step in one[name] for item in step], rel=TOLERANCE
        )
