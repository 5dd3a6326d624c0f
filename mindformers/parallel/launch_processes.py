"""Start the processes of a job and stay until all have ended: one that fails ends the job, none outlives it.

Every process writes into ``{logs}/{its folder}/mindformers.log``; a log of an earlier job is kept under another name.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Iterator, List, Optional, Sequence

from mindformers.errors import OutputError, listing
from mindformers.parallel.launch import Process

LOG, VARIABLES = "mindformers.log", "env.log"
SHOWN_VARIABLES = ("MS_", "RANK_", "DEVICE_", "HCCL_", "ASCEND_", "GLOG_", "OMP_", "PYTHONPATH", "LD_LIBRARY_PATH")
ERRORS_ONLY = "3"
"""What the engine logs unless GLOG_v says otherwise: joining a cluster alone takes it dozens of warnings."""
SHOWN_LINES = 40
"""How many lines of a failed process's log are repeated."""
POLL_SECONDS = 0.05
VICTIM_SECONDS = 1.0
"""How long a failed process is watched alone: others that fail meanwhile are named beside it."""
KILL_SECONDS = 5.0
"""How long the others have to end once one has failed: they wait for it and cannot go on."""
STOP_SECONDS = 300.0
"""How long ranks have to end a step and write a checkpoint once the launcher is asked to stop."""
_OF_ENGINE = re.compile(r"\[(INFO|WARNING)\] \w+\(\d+,")
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass
class Started:
    """A process under way."""

    process: Process
    popen: subprocess.Popen[bytes]
    log: Path
    echoed: int = 0
    """Bytes of the log that were passed on."""

    @property
    def is_rank(self) -> bool:
        """Whether it trains, rather than schedules."""
        return self.process.environment.get("MS_ROLE") != "MS_SCHED"

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.popen.poll() is None

    @property
    def failed(self) -> bool:
        """Whether it ended and not well."""
        return bool(self.popen.poll())


def launch(processes: Sequence[Process], logs: Path) -> int:
    """Run `processes` to their end; returns 0, or the status of the first that failed, 128 + n for signal n.

    The first rank's output is passed on to standard output. SIGTERM, SIGINT and SIGHUP are handed to the ranks as
    SIGTERM, which lets them end their step and save; a second one kills them. Raises OutputError when `logs` cannot be
    written.
    """
    started: List[Started] = []
    with _stop_requests() as requests:
        try:
            started.extend(_start(process, logs) for process in processes)  # an error leaves those before it in
            return _watch(started, requests)
        finally:
            _kill(started)


@dataclass
class _Requests:
    """Signals that this process got."""

    first: int = 0
    count: int = 0


@contextmanager
def _stop_requests() -> Iterator[_Requests]:
    requests = _Requests()

    def note(number: int, frame: Optional[FrameType]) -> None:
        requests.first = requests.first or number
        requests.count += 1

    # What is ignored, e.g. by nohup, stays ignored.
    former = {number: signal.getsignal(number) for number in STOPPING}
    taken = [number for number in STOPPING if former[number] is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, note)
    try:
        yield requests
    finally:
        for number in taken:
            signal.signal(number, former[number])


def _start(process: Process, logs: Path) -> Started:
    folder = logs / process.folder
    environment = {"GLOG_v": ERRORS_ONLY, **os.environ, **process.environment}
    shown = sorted(f"{key}={value}" for key, value in environment.items() if key.startswith(SHOWN_VARIABLES))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / LOG
        if log.exists():
            numbers = (f"{LOG}.{number}" for number in range(1, sys.maxsize))
            log.rename(next(folder / name for name in numbers if not (folder / name).exists()))
        (folder / VARIABLES).write_text("\n".join(shown) + "\n", encoding="utf-8")
        with log.open("wb") as stream:
            popen = subprocess.Popen(
                [sys.executable, "-m", "mindformers.parallel.launched", str(os.getpid()), *process.command],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**environment, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # a terminal's Ctrl-C reaches the ranks as SIGTERM, through this process
            )
    except OSError as error:
        raise OutputError(f"{folder}: logs cannot be written there: {error.strerror or error}") from error
    if process.name.startswith("rank"):
        device = process.environment["DEVICE_ID"]
        print(f"start training for {process.name}, device {device}: {log}", flush=True)
    return Started(process, popen, log)


def _watch(started: Sequence[Started], requests: _Requests) -> int:
    ranks = [item for item in started if item.is_rank]
    asked_at = 0.0
    while any(item.is_alive for item in ranks):
        time.sleep(POLL_SECONDS)
        _pass_on(ranks[0])
        if requests.count and not asked_at:
            asked_at = time.monotonic()
            name = signal.Signals(requests.first).name
            print(f"{name}: the ranks end their step; once more kills them", file=sys.stderr, flush=True)
            _signal(ranks, signal.SIGTERM)
        if requests.count > 1 or asked_at and time.monotonic() - asked_at > STOP_SECONDS:
            break
        if not asked_at and any(item.failed for item in started):
            return _report(started)
    _pass_on(ranks[0])
    if requests.count and not all(item.popen.poll() == 0 for item in ranks):
        return 128 + requests.first
    if any(item.failed for item in ranks):
        return _report(started)
    _wait(started, STOP_SECONDS)  # the scheduler serves ranks of other machines, too
    return 0


def _report(started: Sequence[Started]) -> int:
    """Print what failed first and end the others; returns its status."""
    first = next(item for item in started if item.failed)
    _wait(started, VICTIM_SECONDS)
    others = [item for item in started if item.failed and item is not first]
    _signal(started, signal.SIGTERM)
    _wait(started, KILL_SECONDS)
    _pass_on(next(item for item in started if item.is_rank))
    lines = [f"{_ended(first)}; the log is {first.log}", *(f"  {line}" for line in failure(_read(first.log)))]
    lines += [f"{_ended(item)} right after it, perhaps for that reason: {item.log}" for item in others]
    print(listing("error: the job failed:", lines, limit=None), file=sys.stderr, flush=True)
    status = first.popen.returncode
    return status if status > 0 else 128 - status


def _ended(item: Started) -> str:
    status = item.popen.returncode
    if status > 0:
        return f"{item.process.name} ended with status {status}"
    reason = ", which the system does when memory runs out" if -status == signal.SIGKILL else ""
    return f"{item.process.name} was ended by {signal.Signals(-status).name}{reason}"


def failure(log: str) -> List[str]:
    """Return the lines of a log that say why its process failed: its last error or traceback, else its end."""
    lines = [line for line in log.rstrip().splitlines() if not _OF_ENGINE.match(line)]
    starts = [i for i, line in enumerate(lines) if line.startswith(("error: ", "Traceback (most recent call last)"))]
    if not starts:
        return lines[-SHOWN_LINES:]
    found = lines[starts[-1] :]
    return found if len(found) <= SHOWN_LINES else [*found[: SHOWN_LINES // 2], "...", *found[-SHOWN_LINES // 2 :]]


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def _pass_on(item: Started) -> None:
    with item.log.open("rb") as stream:
        stream.seek(item.echoed)
        new = stream.read()
    item.echoed += len(new)
    sys.stdout.write(new.decode("utf-8", errors="replace"))
    sys.stdout.flush()


def _signal(started: Sequence[Started], number: int) -> None:
    for item in started:
        if item.is_alive:
            item.popen.send_signal(number)


def _wait(started: Sequence[Started], seconds: float) -> None:
    end = time.monotonic() + seconds
    while any(item.is_alive for item in started) and time.monotonic() < end:
        time.sleep(POLL_SECONDS)


def _kill(started: Sequence[Started]) -> None:
    """End what still runs, with all processes that it started: the scheduler of a job that is over, hung ranks."""
    for item in started:
        if item.is_alive:
            os.killpg(item.popen.pid, signal.SIGKILL)
        item.popen.wait()
