"""What a run consists of once it is built; runners read it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Dict, Optional, Tuple

import numpy as np
from mindspore import nn
from mindspore.dataset import Dataset
from mindspore.train import Model

from mindformers.config.check import Checked
from mindformers.config.schema import DatasetSection, RunConfig
from mindformers.data.loader import BatchPlan, FeatureSet, create_dataset
from mindformers.log import logger
from mindformers.parallel.context import ParallelContext
from mindformers.runners.folders import RunFolder
from mindformers.train.average import WeightAverage
from mindformers.train.checkpoint import TrainState


@dataclass(frozen=True)
class Portions:
    """How a dataset is cut into batches."""

    batch_size: int
    """Rows that a process reads for a step: those of its device, or in a compiled job those of all."""
    seed: int
    shuffle: bool
    drop_remainder: bool


@dataclass(frozen=True)
class Data:
    """Features of a run and how this rank takes its share."""

    context: ParallelContext
    train: Optional[FeatureSet] = None
    train_portions: Optional[Portions] = None
    evaluation: Any = None
    """What the task's `eval_features` returned: `.features` and whatever its metric needs."""
    eval_batch_size: int = 1

    @classmethod
    def portioned(
        cls, config: RunConfig, context: ParallelContext, train: Optional[FeatureSet], evaluation: Any
    ) -> Data:
        """Return the data with the batch sizes and orders that the configuration asks for."""
        portions = None
        if train is not None:
            section = config.train_dataset or DatasetSection()
            shuffle = getattr(getattr(section.data_loader, "options", None), "shuffle", None)
            alone = batch_size(config, section) * config.runner_config.gradient_accumulation_steps
            portions = Portions(
                alone if context.job is None else context.job.global_batch,
                config.seed if section.seed is None else section.seed,
                shuffle is not False,
                section.drop_remainder,
            )
        return cls(context, train, portions, evaluation, batch_size(config, config.eval_dataset or DatasetSection()))

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass over the training rows."""
        return self._plan().steps

    @property
    def rows_per_step(self) -> int:
        """Rows that a step takes on all devices together."""
        return self._plan().global_batch

    def train_batches(self, epoch: int, step: int) -> Dataset:
        """Return the training batches of this rank from a step of an epoch on (both counted from 0)."""
        portions = self.train_portions
        return create_dataset(
            self.train,
            portions.batch_size,
            shuffle=portions.shuffle,
            seed=portions.seed,
            epochs_done=epoch,
            start_step=step,
            rank=self.context.reader[0],
            num_ranks=self.context.reader[1],
            drop_remainder=portions.drop_remainder,
        )

    def eval_batches(self) -> Dataset:
        """Return the evaluation batches, all rows on every rank, with the column `row`."""
        return create_dataset(self.evaluation.features, self.eval_batch_size, shuffle=False, seed=0, with_rows=True)

    def _plan(self) -> BatchPlan:
        portions = self.train_portions
        return BatchPlan(
            len(self.train),
            portions.batch_size,
            portions.shuffle,
            portions.seed,
            *self.context.reader,
            portions.drop_remainder,
        )


@dataclass(frozen=True)
class TrainingState:
    """What training changes besides the weights."""

    optimizer: nn.Optimizer
    rates: np.ndarray
    """Learning rate of every optimizer step, float32."""
    loss_scale: Optional[nn.Cell]
    average: Optional[WeightAverage] = None
    """Moving average of the weights."""

    @property
    def cells(self) -> Tuple[nn.Cell, ...]:
        """What has a state of its own beside model and optimizer."""
        return tuple(cell for cell in (self.loss_scale, self.average) if cell is not None)


@dataclass(frozen=True)
class Start:
    """Where training starts: what counts as done, in whole epochs, steps of the next one, and the saved state."""

    epoch: int = 0
    step: int = 0
    saved: Optional[TrainState] = None

    @classmethod
    def after(cls, saved: TrainState, steps_per_epoch: int, batch_size: int) -> Start:
        """Return the start behind a saved state, whose epoch counts from 1.

        With another batch size, of all devices together, it is the step that the rows of the epoch so far fill; a
        rest that fills none is seen again.
        """
        before = saved.identity.get("batch_size", batch_size)
        done = min(saved.step * before // batch_size, steps_per_epoch)
        return cls(saved.epoch - 1 + done // steps_per_epoch, done % steps_per_epoch, saved)


@dataclass
class Session:
    """Base of the runners: a built run."""

    checked: Checked
    context: ParallelContext
    folder: RunFolder
    task: Any
    tokenizer: Any
    model: nn.Cell
    data: Data
    state: Optional[TrainingState]
    start: Start
    given: Any

    @property
    def config(self) -> RunConfig:
        """The checked configuration."""
        return self.checked.run

    @cached_property
    def eval_cell(self) -> nn.Cell:
        """What takes a batch of evaluation; the same one every time, so that its graph is compiled once."""
        return self.task.eval_cell(self.model, tuple(self.data.evaluation.features.columns))

    def new_metric(self) -> Any:
        """Return the metric of the evaluation data: the caller's own, or a fresh one of the task."""
        return self.task.metric(self.data.evaluation) if self.given.metric is None else self.given.metric

    def evaluate(self, metric: Any = None) -> Dict[str, Any]:
        """Score the model on the evaluation data and log the result; the model's training flag stays as it was.

        A `metric` that the caller gives holds afterwards what it has beside the scores.
        """
        metric = self.new_metric() if metric is None else metric
        training = self.model.training
        self.model.set_train(False)
        try:
            result = Model(self.eval_cell, eval_network=self.eval_cell, metrics={self.task.metric_name: metric}).eval(
                self.data.eval_batches(), dataset_sink_mode=False
            )
        finally:
            self.model.set_train(training)
        scores = result[self.task.metric_name]
        counts = {key: scores.pop(key) for key in ("scored", "total") if isinstance(scores, dict) and key in scores}
        if counts:
            logger.info("scored %d of %d", counts["scored"], counts["total"])
        logger.info("%s = %s", self.task.metric_name, result)
        return {**scores, **counts} if isinstance(scores, dict) else {self.task.metric_name: scores}


def batch_size(config: RunConfig, section: DatasetSection) -> int:
    """Return the rows per device and step: the runner's number, or the dataset section's own."""
    return config.runner_config.batch_size or section.batch_size
