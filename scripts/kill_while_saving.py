"""Kill a process at random moments while it saves checkpoints; count what was lost: python scripts/kill_while_saving.py

Each round a process continues from the newest valid checkpoint (sometimes from the one before, so that it replaces a
checkpoint of the same name) and saves one after the other until SIGKILL hits it. After every kill, the newest
checkpoint whose completion it had reported, or a newer one, must be there and valid.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import List

import numpy as np

from mindformers.train.checkpoint import Snapshot, TrainState, read_state, save_checkpoint
from mindformers.train.checkpoint_files import list_checkpoints, verify
from mindformers.train.checkpoint_retention import remove_abandoned, remove_outdated

RUN, PREFIX, KEEP = "soak", "killed", 3


def save_until_killed(folder: Path, first_step: int, report: int) -> None:
    """Save step after step and write the number of each complete one to the descriptor `report`."""
    remove_abandoned(folder, PREFIX, 0)
    step = first_step
    while True:
        step += 1
        arrays = {f"layer.{index}": np.full((256, 64), step, np.float32) for index in range(4)}
        state = TrainState(epoch=1, step=step, global_step=step, run_id=RUN)
        save_checkpoint(folder, PREFIX, 0, Snapshot(state, arrays, {"global_step": np.int32(step)}, time.time()))
        os.write(report, f"{step}\n".encode())
        remove_outdated(folder, RUN, 0, KEEP)


def kill_once(folder: Path, first_step: int, delay: float) -> int:
    """Start a saver, kill it `delay` seconds after its first checkpoint; return the last step that it reported."""
    receives, reports = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receives)
        save_until_killed(folder, first_step, reports)
    os.close(reports)
    said = os.read(receives, 1 << 16)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while block := os.read(receives, 1 << 16):
        said += block
    os.close(receives)
    return int(said.split()[-1])


def valid_steps(folder: Path) -> List[int]:
    """Return the steps whose checkpoints are whole, the latest last."""
    return sorted(read_state(entry.path).global_step for entry in list_checkpoints(folder) if not verify(entry.path))


def main() -> int:
    """Kill as often as asked; exit with 1 when a checkpoint was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    lost, unfinished, first_step = 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(arguments.rounds):
            reported = kill_once(folder, first_step, draw.uniform(0.0, 0.06))
            unfinished += any(path.name.startswith(".tmp-") for path in folder.iterdir())
            remove_abandoned(folder, PREFIX, 0)
            steps = valid_steps(folder)
            if not steps or steps[-1] < reported:
                print(f"round {number}: step {reported} was complete, now valid: {steps}", file=sys.stderr)
                lost += 1
            first_step = steps[-2] if len(steps) > 1 and draw.random() < 0.5 else steps[-1] if steps else 0
    print(f"{arguments.rounds} kills, {unfinished} while a checkpoint was being written, {lost} lost a checkpoint")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
