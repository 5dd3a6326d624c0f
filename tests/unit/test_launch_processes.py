"""The life of a job's processes: one that fails ends all, and none outlives its launcher, however that ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mindformers.parallel import launch_processes
from mindformers.parallel.launch import Process
from mindformers.parallel.launch_processes import failure, launch
from tests.conftest import ROOT

WAITS = "import time; print('ready', flush=True); time.sleep(60)"
OBEYS = f"import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); {WAITS}"
IGNORES = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}"
LAUNCHER = """
import sys
from pathlib import Path
from tests.unit.test_launch_processes import launch, ranks
sys.exit(launch(ranks(*sys.argv[2:]), Path(sys.argv[1])))
"""

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="needs Linux: elsewhere no process can ask to die with its parent"
)


def ranks(*codes):
    """One process for each piece of code."""
    return [
        Process(f"rank {i}", f"mf_parallel{i}", ("-c", code), {"DEVICE_ID": str(i)}) for i, code in enumerate(codes)
    ]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(launch_processes, "VICTIM_SECONDS", 0.3)
    monkeypatch.setattr(launch_processes, "KILL_SECONDS", 0.3)


@pytest.fixture
def launcher(tmp_path):
    """Return what starts a launcher of its own and waits until every rank runs."""
    begun = []

    def begin(*codes):
        command = [sys.executable, "-c", LAUNCHER, str(tmp_path), *codes]
        begun.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
        logs = [tmp_path / f"mf_parallel{i}" / "mindformers.log" for i in range(len(codes))]
        wait_for(lambda: all(log.exists() and "ready" in log.read_text() for log in logs))
        return begun[-1], children_of(begun[-1].pid)

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def children_of(parent):
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True)
    return [int(number) for number in listed.stdout.split()]


def runs(process):
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_job_that_goes_well_says_what_its_first_rank_says(tmp_path, capsys):
    assert launch(ranks("print('one')", "print('two')"), tmp_path) == 0
    out = capsys.readouterr().out
    assert "start training for rank 1, device 1" in out
    assert "one\n" in out
    assert "two\n" not in out
    assert (tmp_path / "mf_parallel1" / "mindformers.log").read_text() == "two\n"


def test_the_first_rank_that_fails_ends_the_job_with_its_status_and_its_error(tmp_path, capsys):
    begun = time.monotonic()
    assert launch(ranks(IGNORES, "print('error: no data', flush=True); raise SystemExit(3)"), tmp_path) == 3
    assert time.monotonic() - begun < 30
    said = capsys.readouterr().err
    assert (
        f"rank 1 ended with status 3; the log is {tmp_path}/mf_parallel1/mindformers.log\n    error: no data\n" in said
    )
    assert "rank 0" not in said  # it was ended, it did not fail


def test_a_rank_that_a_signal_ends_is_named(tmp_path, capsys):
    killed = "import os; os.kill(os.getpid(), 9)"
    assert launch(ranks(WAITS, killed), tmp_path) == 128 + signal.SIGKILL
    assert "rank 1 was ended by SIGKILL, which the system does when memory runs out" in capsys.readouterr().err


def test_ranks_that_fail_in_its_wake_are_named_after_it(tmp_path, capsys):
    late = "import time; time.sleep(0.15); raise SystemExit(1)"
    assert launch(ranks(late, "raise SystemExit(3)"), tmp_path) == 3
    assert "rank 0 ended with status 1 right after it" in capsys.readouterr().err


def test_logs_of_earlier_jobs_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("MS_MARK", "x")
    for text in "abc":
        launch(ranks(f"print('{text}')"), tmp_path)
    folder = tmp_path / "mf_parallel0"
    assert [(folder / f"mindformers.log{end}").read_text() for end in ("", ".1", ".2")] == ["c\n", "a\n", "b\n"]
    assert {"DEVICE_ID=0", "GLOG_v=3", "MS_MARK=x"} < set((folder / "env.log").read_text().splitlines())


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_launcher_that_is_stopped_lets_its_ranks_end(launcher, number, status):
    process, started = launcher(OBEYS, OBEYS)
    process.send_signal(number)
    assert process.wait(30) == status
    assert len(started) == 2
    assert not any(map(runs, started))


def test_a_second_signal_kills(launcher):
    process, started = launcher(IGNORES)
    process.send_signal(signal.SIGTERM)
    assert "once more kills" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert not any(map(runs, started))


@linux
def test_no_rank_outlives_a_launcher_that_was_killed(launcher):
    process, started = launcher(IGNORES, WAITS)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    assert len(started) == 2
    wait_for(lambda: not any(map(runs, started)))


@pytest.mark.parametrize(
    ("end", "status", "ends_late"),
    [("", 0, True), ("sys.exit(143)", 143, True), ("sys.exit(3)", 3, False), ("1 / 0", 1, False)],
)
def test_a_rank_that_fails_does_not_wait_for_the_engine_to_end(tmp_path, end, status, ends_late):
    (tmp_path / "job.py").write_text(
        f"import atexit, sys\natexit.register(print, 'late')\nprint(sys.argv[1:])\n{end}\n"
    )
    command = [sys.executable, "-m", "mindformers.parallel.launched", str(os.getpid()), "-m", "job", "--epochs=3"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == status
    assert result.stdout == "['--epochs=3']\n" + "late\n" * ends_late
    assert ("ZeroDivisionError" in result.stderr) == (status == 1)


@linux
def test_a_rank_whose_launcher_is_gone_does_not_begin():
    command = [sys.executable, "-m", "mindformers.parallel.launched", "999999999", "-c", "print('begun')"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "")


def test_the_reason_is_the_last_error_without_what_the_engine_says_after_it():
    noise = "[INFO] DISTRIBUTED(1595,7fd1eb7fe6c0,python):2026 Event base dispatch success!"
    trace = ["Traceback (most recent call last):", '  File "a.py", line 1, in f', "ValueError: broken"]
    assert failure("\n".join(["epoch 1", *trace, noise])) == trace
    assert failure("\n".join(["no word of it", noise])) == ["no word of it"]
    assert len(failure("\n".join([trace[0], *["  line"] * 500, trace[2]]))) == 41
