"""Two processes: kill -9, then SIGTERM to one of them, which stops both at one step; the run goes on bit for bit."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.integration.conftest import corpus, tiny_flags  # noqa: F401 -- fixtures
from tests.integration.stopped_runs import SAVED_EVERY, TERMINATED_AFTER, stop_twice, tiny_language_model, trace

PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
PORTS = iter(range(8121, 8181, 10))


def two_ranks(flags, output):
    """Return what starts the run and what ends it, as `stop_twice` takes them."""
    logs = output.parent / "logs"

    def launch(*more):
        number = next(PORTS)
        command = [shutil.which("msrun", path=PATH), "--worker_num=2", "--local_worker_num=2", "--join=True"]
        command += [f"--master_port={number}", f"--log_dir={logs / str(number)}", ROOT / "run_mindformer.py"]
        command += [*flags, "--use_parallel=True", "--output_dir", output, *more]
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=output.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": PATH},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        process.logs = logs / str(number)
        return process

    def end(process, number):
        if process.poll() is None and number == signal.SIGKILL:
            process.kill()
            for role in (b"MS_ROLE=MS_WORKER", b"MS_ROLE=MS_SCHED"):
                for started in processes(output, role):
                    os.kill(started, number)
        elif process.poll() is None and number:
            (second,) = processes(output, b"MS_NODE_ID=1")
            os.kill(second, number)
        process.wait(300)
        process.said = "".join(file.read_text() for file in process.logs.glob("worker_*.log"))

    return launch, end


def processes(output, setting):
    """Return the processes of a run that have a setting in their environment; their command names the output folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command, environment = ((entry / name).read_bytes().split(b"\0") for name in ("cmdline", "environ"))
        except OSError:
            continue
        if str(output).encode() in command and setting in environment:
            found.append(int(entry.name))
    assert found, f"no process with {setting}"
    return found


@pytest.mark.parametrize("task", ["text generation", "question answering"])
def test_ranks_that_were_killed_and_stopped_together_go_on_bit_for_bit(task, tiny_flags, tmp_path):  # noqa: F811
    if task == "text generation":
        (tmp_path / "text").mkdir()
        flags = tiny_language_model(tmp_path / "text", rows=4)
    else:
        flags = [*tiny_flags, "--run_mode=train", "--epochs=6", "--batch_size=4"]
        flags += [f"--save_checkpoint_steps={SAVED_EVERY}"]
    output = tmp_path / "output"
    of = stop_twice(*two_ranks(flags, output), output, ranks=2)
    assert of.terminated.said.count("stopped by SIGTERM after step") == 2, of.terminated.said[-4000:]
    done = [len(trace(of.then, rank)) for rank in (0, 1)]
    assert TERMINATED_AFTER <= done[0] == done[1]
    for killed, finished in zip(of.killed, of.finished):
        assert finished[: len(killed)] == killed and len(finished) > len(killed) > SAVED_EVERY
