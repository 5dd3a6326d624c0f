"""Train for a long time and watch that nothing grows: python scripts/soak.py --minutes 30

A two-layer GPT-2 is trained on drawn words; it evaluates and saves every 20 steps, and SIGTERM ends it when the time is
over. Meanwhile memory, open files, threads and the room of its checkpoints are looked at from outside. The first third
is left out, since caches fill up. Exits with 1 when something grows, or the run does not end as it should.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
STOPPED = 128 + signal.SIGTERM
"""What a run that SIGTERM ended exits with."""
ALLOWED = {"memory": 0.01, "open files": 0.1, "threads": 0.1, "checkpoints": 0.1}
"""Share of its mean by which each may grow from the first third of the time to its end. Files and room go up and down
with a checkpoint that is being written."""
WARM_UP = 100
"""Steps before the first look that counts."""
FLAGS = [
    "--model.model_config.resid_pdrop=0.1",
    "--epochs=20000",
    "--batch_size=8",
    "--do_eval",
    "--eval_steps=20",
    "--save_checkpoint_steps=20",
    "--callbacks.2.keep_checkpoint_max=3",
]


def write_text(file: Path) -> None:
    """Write a few thousand words."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 7))) for _ in range(60)]
    file.write_text("\n".join(" ".join(draw.choices(words, k=12)) for _ in range(300)))


def start(folder: Path) -> subprocess.Popen:
    """Start the run in `folder`; what it says goes to run.log there."""
    text = folder / "text" / "text.txt"
    text.parent.mkdir()
    write_text(text)
    command = [sys.executable, ROOT / "run_mindformer.py", "--config", ROOT / "configs" / "gpt2" / "run_gpt2_tiny.yaml"]
    command += ["--dataset_dir", text.parent, *FLAGS]
    with open(folder / "run.log", "w", encoding="utf-8") as log:
        return subprocess.Popen(
            [*map(str, command), "--output_dir", str(folder / "output")],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )


def look(process: subprocess.Popen, output: Path) -> Dict[str, float]:
    """Return what the process holds now: memory in MB, open files, threads, checkpoints in MB; and its steps so far."""
    place = Path("/proc") / str(process.pid)
    status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines() if ":" in line)
    metrics = output / "rank_0" / "metrics.jsonl"
    return {
        "memory": int(status["VmRSS"].split()[0]) / 1024,
        "open files": len(os.listdir(place / "fd")),
        "threads": int(status["Threads"]),
        "checkpoints": size_of(output / "rank_0" / "checkpoint") / 2**20,
        "steps": metrics.read_bytes().count(b"\n") if metrics.exists() else 0,
    }


def size_of(folder: Path) -> int:
    """Return the bytes of all files below; files that go away meanwhile count nothing."""
    total = 0
    for place, _, names in os.walk(folder.resolve()):
        for name in names:
            try:
                total += (Path(place) / name).stat().st_size
            except FileNotFoundError:
                continue
    return total


def grown(name: str, times: List[float], values: List[float]) -> bool:
    """Print how something went, and return whether it grew by more than is allowed."""
    kept = len(times) // 3
    hours, later = np.array(times[kept:]) / 3600, np.array(values[kept:])
    slope = float(np.polyfit(hours, later, 1)[0])
    share = slope * (hours[-1] - hours[0]) / later.mean()
    is_grown = share > ALLOWED[name]
    went = f"{later[0]:.1f} -> {later[-1]:.1f}, at most {later.max():.1f}, {slope:+.2f} an hour"
    print(f"{name:12} {'GROWS' if is_grown else 'flat':6} {went} ({share:+.2%} in {60 * np.ptp(hours):.1f} minutes)")
    return is_grown


def main() -> int:
    """Run, look, and say what grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two looks")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = start(folder)
        samples, times, began = [], [], time.monotonic()
        try:
            while process.poll() is None and time.monotonic() - began < 60 * arguments.minutes:
                time.sleep(arguments.every)
                if process.poll() is None:
                    seen = look(process, folder / "output")
                    if seen["steps"] >= WARM_UP:
                        samples.append(seen)
                        times.append(time.monotonic() - began)
            process.send_signal(signal.SIGTERM)
            status = process.wait(120)
        finally:
            process.kill()
        if status != STOPPED or len(samples) < 9:
            print((folder / "run.log").read_text(encoding="utf-8")[-3000:])
            print(f"the run ended with exit status {status} after {len(samples)} looks; {STOPPED} was expected")
            return 1
    print(f"{samples[-1]['steps']:.0f} steps in {times[-1] / 60:.1f} minutes, {len(samples)} looks")
    return min(1, sum(grown(name, times, [sample[name] for sample in samples]) for name in ALLOWED))


if __name__ == "__main__":
    sys.exit(main())
