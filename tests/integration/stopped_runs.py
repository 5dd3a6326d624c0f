"""A run that kill -9 ended, that went on until SIGTERM, and went on to its end: what it wrote each time."""

import json
import random
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

SAVED_EVERY, KILLED_AFTER, TERMINATED_AFTER = 40, 70, 45
"""In steps: the run that was killed goes on behind step 40, and each later part writes again what the first one did."""
TIMES = ("time", "wait_seconds", "samples_per_second", "tokens_per_second", "tflops")

CALLBACKS = """
base_config: [{base}]
callbacks:
  - {{type: MFLossMonitor}}
  - {{type: CheckpointMonitor, async_save: true}}
  - {{type: Freeze, paths: ["layers.0.*"], from_step: 30, until_epoch: 1}}
"""
SAMPLES = "  - {type: SampleText, prompts: [ab, cd], every_steps: 50, max_new_tokens: 4}\n"


@dataclass(frozen=True)
class StoppedRun:
    """What was seen of it; traces are one for each rank."""

    killed: list
    """Traces at the moment of kill -9."""
    terminated: object
    """The finished process that got SIGTERM."""
    then: Path
    """A copy of the output folder after SIGTERM."""
    finished: list
    """Traces of the whole."""
    output: Path


def stop_twice(launch, end, output, ranks=1, at_last=()):
    """Run the three parts; `launch(*flags)` starts one, `end(process, signal)` sends a signal and waits."""
    file = metrics(output, 0)
    first = launch()
    wait_for(first, file, KILLED_AFTER)
    end(first, signal.SIGKILL)
    assert first.returncode == -signal.SIGKILL, first.said
    killed = [trace(output, rank) for rank in range(ranks)]
    before = file.stat().st_ino
    second = launch("--resume")
    wait_for(second, file, TERMINATED_AFTER, before)
    end(second, signal.SIGTERM)
    then = shutil.copytree(output, output.with_name("then"), symlinks=True)
    third = launch("--resume", *at_last)
    end(third, 0)
    assert third.returncode == 0, third.said
    return StoppedRun(killed, second, then, [trace(output, rank) for rank in range(ranks)], output)


def metrics(output, rank):
    """Return the file of a rank of the one run in `output`."""
    return output / "runs" / "0001-train" / f"rank_{rank}" / "metrics.jsonl"


def trace(output, rank=0):
    """Return what every step wrote, but for times."""
    lines = [json.loads(line) for line in metrics(output, rank).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def wait_for(process, file, lines, before=None):
    """Wait until `file`, another one than that of inode `before`, has so many lines, or the process has ended."""
    while process.poll() is None:
        if file.exists() and file.stat().st_ino != before and file.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.005)


def tiny_language_model(folder, samples=False, rows=8):
    """Write a text; return the flags of a GPT-2 of characters that reads it: two epochs of 57 steps of 8 rows in all.

    `rows` are those of a rank. There is dropout, weights are of half precision, one layer is frozen for a while, and
    with `samples` texts are written.
    """
    config = folder / ("samples.yaml" if samples else "run.yaml")
    base = ROOT / "configs" / "gpt2" / "run_gpt2_tiny.yaml"
    config.write_text(CALLBACKS.format(base=base) + (SAMPLES if samples else ""))
    draw = random.Random(3)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 7))) for _ in range(60)]
    text = folder / "words.txt"
    text.write_text("\n".join(" ".join(draw.choices(words, k=12)) for _ in range(250)))
    return [
        "--config",
        config,
        "--dataset_dir",
        folder,
        "--model.model_config.resid_pdrop=0.1",
        "--model.model_config.param_init_type=float16",
        "--epochs=2",
        f"--batch_size={rows}",
        f"--save_checkpoint_steps={SAVED_EVERY}",
    ]
