"""What the training loop costs beside the step itself: python scripts/bench/loop_overhead.py

The same compiled step is called bare, on one batch that is there already, and through `mindspore.train.Model` with
the data pipeline and all callbacks of a run, in turns. Their difference is what a step of any model pays; `--step` is
the time of the step that it is compared with, e.g. BERT-base at 8 x 384 on two cores.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.train import Model

from mindformers.data.loader import FeatureSet, create_dataset
from mindformers.log import logger
from mindformers.optim.adamw import AdamW
from mindformers.optim.schedules import linear
from mindformers.train.checkpoint_callback import CheckpointMonitor
from mindformers.train.guard import FiniteGuard
from mindformers.train.hooks import in_order
from mindformers.train.loss_monitor import LossMonitor
from mindformers.train.progress import Progress
from mindformers.train.scalars import ScalarWriter
from mindformers.train.step import LossCell, TrainStep
from mindformers.train.stop import StopOnSignal
from mindformers.train.throughput import StepWork

ROWS, LENGTH, COLUMNS = 8, 384, ("input_ids", "labels")
MOST = 0.01
"""Share of a step that the loop may take."""


class Small(nn.Cell):
    """A model so small that the loop shows beside it, with batches of real size."""

    def __init__(self):
        super().__init__()
        self.table = Parameter(Tensor(np.ones((32, 1), np.float32)), name="table")

    def construct(self, input_ids, labels):
        """Return a number that depends on both columns."""
        return (ops.gather(self.table, input_ids, 0) - ops.gather(self.table, labels, 0) * 0.5).mean()


def make_step() -> TrainStep:
    """Return the step that is timed."""
    model = Small()
    step = TrainStep(LossCell(model, COLUMNS), AdamW(model.trainable_params(), linear(1e-3, total_steps=10**6)), 1.0)
    step.set_train(True)
    return step


def bare(step: TrainStep, batch: tuple, steps: int) -> float:
    """Return the seconds of a step that is called on a batch that is there, its loss read."""
    started = time.perf_counter()
    for _ in range(steps):
        step(*batch)[0].asnumpy()
    return (time.perf_counter() - started) / steps


def looped(step: TrainStep, features: FeatureSet, steps: int, folder: Path) -> float:
    """Return the seconds of a step in the loop of a run; building the pipeline and the last checkpoint do not count."""
    progress, scalars, moments = Progress(steps, 1), ScalarWriter(folder), []

    class Clock(ms.train.Callback):
        def on_train_step_end(self, run_context):
            moments.append(time.perf_counter())

    saver = CheckpointMonitor("bench", folder / "checkpoint", progress)
    callbacks = [
        LossMonitor(progress, StepWork(ROWS, ROWS * LENGTH, 1), 10, scalars),
        FiniteGuard(progress, "skip", COLUMNS),
        StopOnSignal(progress),
        saver,
        Clock(),
    ]
    Model(step).train(
        1,
        create_dataset(features, ROWS, shuffle=True, seed=0),
        callbacks=in_order(callbacks),
        dataset_sink_mode=False,
    )
    scalars.close()
    return (moments[-1] - moments[0]) / (len(moments) - 1)


def main() -> int:
    """Print both times and their difference as JSON; exit with 1 when it is more than one per cent of `--step`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="steps of a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--step", type=float, default=2.0, help="seconds of the step that the loop is compared with")
    arguments = parser.parse_args()
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    ms.set_context(mode=ms.GRAPH_MODE)
    ids = np.random.default_rng(0).integers(0, 32, (arguments.steps * ROWS, LENGTH)).astype(np.int32)
    features, step = FeatureSet(dict.fromkeys(COLUMNS, ids)), make_step()
    batch = (Tensor(ids[:ROWS]), Tensor(ids[:ROWS]))
    bare(step, batch, 20)
    times = {"bare": [], "looped": []}
    for turn in range(arguments.turns):
        times["bare"].append(bare(step, batch, arguments.steps))
        with tempfile.TemporaryDirectory() as folder:
            times["looped"].append(looped(step, features, arguments.steps, Path(folder) / str(turn)))
    least = {name: min(values) for name, values in times.items()}  # what other processes take is not the loop's
    overhead = least["looped"] - least["bare"]
    report = {
        "bare_ms": round(1e3 * least["bare"], 3),
        "looped_ms": round(1e3 * least["looped"], 3),
        "overhead_ms": round(1e3 * overhead, 3),
        "share_of_step": round(overhead / arguments.step, 5),
    }
    print(json.dumps(report))
    return 1 if report["share_of_step"] > MOST else 0


if __name__ == "__main__":
    sys.exit(main())
