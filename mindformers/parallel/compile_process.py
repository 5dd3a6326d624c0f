"""Start the processes that compile one rank of a job, wait for them, and say why they failed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from mindformers.errors import UsageError
from mindformers.parallel.compile_order import JOINED, LOG, RESULT, CompileOrder, write_order
from mindformers.parallel.stub_libraries import mindspore_folder, stub_libraries

WORKER, LAUNCHED = "mindformers.dry_run", "mindformers.parallel.launched"
"""What compiles, and what ends it with this process."""
JOIN_SECONDS = 120.0
"""How long the engine may take to start; where two processes miss each other it waits much longer by itself."""
TRIES = 3
"""How often it is started anew then."""
ASCEND_HOME = "ASCEND_HOME_PATH"
"""Variable that Ascend's own setup script sets."""
REASONS = 4
"""Lines of MindSpore's log that a message shows."""

_ERROR = re.compile(r"^\[(?:ERROR|CRITICAL)\].*?\.(?:cc|h):\d+\] \w+\] (.*)")
_RAISED = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception): (.*)")


def compile_target() -> str:
    """Return the device that MindSpore compiles for here: Ascend in simulation, else GPU with stub libraries."""
    return "Ascend" if os.environ.get(ASCEND_HOME) else "GPU"


def compile_in_process(order: CompileOrder) -> Dict[str, Any]:
    """Return what `mindformers.dry_run` says of `order`; raises UsageError with the reason when it does not compile."""
    with tempfile.TemporaryDirectory(prefix="mindformers-compile-") as made:
        folder = Path(made)
        write_order(folder, order)
        for _ in range(TRIES):
            result = _attempt(folder, order)
            if result is not None:
                return result
        raise UsageError(
            f"MindSpore's engine did not start within {JOIN_SECONDS:.0f} s, {TRIES} times; {_tail(folder)}"
        )


def _attempt(folder: Path, order: CompileOrder) -> Optional[Dict[str, Any]]:
    """Compile once; None when the engine did not start in time."""
    common, meeting, compiling = _environments(order)
    running: List[subprocess.Popen] = []
    try:
        with (folder / LOG).open("wb") as log:
            if meeting:
                running.append(_start(["--meet"], folder, {**common, **meeting}, subprocess.DEVNULL))
            worker = _start([], folder, {**common, **compiling}, log)
            running.append(worker)
            late = time.monotonic() + JOIN_SECONDS
            while worker.poll() is None:
                if not (folder / JOINED).exists() and time.monotonic() > late:
                    return None
                time.sleep(0.1)
    finally:
        for process in running:
            process.kill()
            process.wait()
    if worker.returncode:
        ended = f" ({signal.Signals(-worker.returncode).name})" if worker.returncode < 0 else ""
        raise UsageError(f"rank {order.rank} does not compile{ended}: {_reason(folder)}")
    return json.loads((folder / RESULT).read_text(encoding="utf-8"))


def _start(arguments: List[str], folder: Path, environment: Dict[str, str], output: Any) -> subprocess.Popen:
    command = [sys.executable, "-m", LAUNCHED, str(os.getpid()), "-m", WORKER, str(folder), *arguments]
    streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, env=environment, cwd=folder, **streams)


def _environments(order: CompileOrder) -> Tuple[Dict[str, str], Dict[str, str], Dict[str, str]]:
    """Return the variables of both processes, of the one where the other registers (none in simulation), of that."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MS_", "RANK_", "GLOG_"))}
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (package, kept.get("PYTHONPATH"))))
    common = {**kept, "PYTHONPATH": path, "GLOG_v": "3", "MS_DEV_DUMP_IR_PASSES": "validate", "OMP_NUM_THREADS": "1"}
    job = {"RANK_SIZE": str(order.job.mesh.devices), "RANK_ID": str(order.rank), "MS_SIMULATION_LEVEL": "0"}
    if order.target == "Ascend":
        return common, {}, job
    libraries = stub_libraries()
    found = mindspore_folder() / "lib" / "plugin" / "gpu11.6"
    where = os.pathsep.join(filter(None, (str(libraries / "lib64"), str(found), kept.get("LD_LIBRARY_PATH"))))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common.update(CUDA_HOME=str(libraries), LD_LIBRARY_PATH=where, MS_WORKER_NUM="1")
    common.update(MS_SCHED_HOST="127.0.0.1", MS_SCHED_PORT=port)
    return common, {"MS_ROLE": "MS_SCHED"}, {**job, "MS_ROLE": "MS_WORKER", "MS_NODE_ID": "0"}


def _reason(folder: Path) -> str:
    """Return why a process failed, from what it printed: MindSpore's own errors first, else what was raised."""
    lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    for pattern in (_ERROR, _RAISED):
        found = [match[1].strip() for match in map(pattern.match, lines) if match]
        if found:
            return "; ".join(dict.fromkeys(found[:REASONS]))
    return _tail(folder)


def _tail(folder: Path) -> str:
    lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"its last line: {lines[-1][-500:]}" if lines else "it printed nothing"
