"""Training: the step on `mindspore.train.Model` from where the run starts to its last epoch."""

from __future__ import annotations

from typing import Any, Dict, Optional

from mindspore.train import Model

from mindformers.config import options
from mindformers.errors import UsageError
from mindformers.log import banner, logger
from mindformers.parallel.placement import place
from mindformers.runners.callbacks import TrainingCallbacks, training_callbacks
from mindformers.runners.continuation import check_identity, identity
from mindformers.runners.folders import run_of
from mindformers.runners.session import Session
from mindformers.train.placed_step import PlacedStep
from mindformers.train.progress import Progress
from mindformers.train.random_state import restore_random_state
from mindformers.train.scalars import ScalarWriter
from mindformers.train.shares import LabelShares
from mindformers.train.step import LossCell, TrainStep
from mindformers.train.stop import RunStoppedError


class TrainRunner(Session):
    """Trains the model from scratch, from weights, or from where a checkpoint stopped."""

    def run(self) -> Dict[str, Any]:
        """Train to the last epoch; return the scores of the last evaluation, empty when there was none.

        Raises RunStoppedError when SIGTERM ended it before, with a checkpoint of the last step on the disk.
        """
        progress = self._progress()
        if self.start.saved is not None:
            logger.info("continues after step %d of %d", progress.first_step, progress.total_steps)
        same = identity(self.config, self.data)
        saved = self.start.saved
        if saved is not None:
            run = str(run_of(self.folder.path) or self.folder.path)
            check_identity(saved.identity, same, self.config.resume_allow, run)
        tensorboard = any(isinstance(item.options, options.SummaryMonitor) for item in self.config.callbacks)
        scalars = ScalarWriter(self.folder.of_rank, progress.first_step, tensorboard)
        try:
            callbacks = training_callbacks(self, progress, scalars, same)
            step = self.step()
            if saved is not None:
                restore_random_state(saved.random)
            self._train(step, progress, callbacks)
        finally:
            scalars.close()
        if callbacks.stop.stopped:
            raise RunStoppedError(
                f"stopped by SIGTERM after step {progress.global_step} of {progress.total_steps}; "
                "--resume continues from there"
            )
        return callbacks.evaluation.metrics if callbacks.evaluation is not None else {}

    def _progress(self) -> Progress:
        steps, epochs = self.data.steps_per_epoch, self.config.runner_config.epochs
        progress = Progress(steps, epochs, self.start.epoch * steps + self.start.step)
        if progress.first_step == progress.total_steps:
            raise UsageError(
                f"nothing to do: all {progress.total_steps} steps of {epochs} epochs are done; raise "
                "runner_config.epochs to train on"
            )
        return progress

    def step(self) -> TrainStep:
        """Return the cell that trains a batch."""
        banner("Build Running Wrapper")
        self.model.set_train(True)
        wrapper, job = self.config.runner_wrapper.options, self.context.job
        loss_cell, optimizer = LossCell(self.model, tuple(self.data.train.columns)), self.state.optimizer
        clip = wrapper.max_grad_norm if wrapper.use_clip_grad else None
        if job is None:
            return TrainStep(loss_cell, optimizer, clip, self.state.loss_scale, self._shares(), self.state.average)
        places = {item.path: item for item in place(job)}
        placements = [places[parameter.name] for parameter in optimizer.parameters]
        return PlacedStep(
            loss_cell,
            optimizer,
            [item.copies(job.mesh) for item in placements],
            job.micro_batches,
            job.mesh.stage,
            [item.shards > 1 for item in placements],
            max_grad_norm=clip,
            loss_scale=self.state.loss_scale,
            average=self.state.average,
        )

    def _shares(self) -> Optional[LabelShares]:
        """Return how labels weigh the portions of a step; None where the batch is one portion on one device."""
        portions, ranks = self.config.runner_config.gradient_accumulation_steps, self.context.num_ranks
        if portions == ranks == 1:
            return None
        features = self.data.train
        causal = getattr(getattr(self.model, "arch", None), "head", None) == "causal_lm"
        return LabelShares(tuple(features.columns), features.fillers, portions, ranks, shifted=causal)

    def _train(self, step: TrainStep, progress: Progress, callbacks: TrainingCallbacks) -> None:
        """Run what is left; the dataset's first pass starts within the epoch where a resumed run stopped."""
        banner("Starting Training Model")
        logger.info(
            "%d rows, %d steps an epoch, %d epochs, batch size %d on %d device(s)",
            len(self.data.train),
            progress.steps_per_epoch,
            progress.epochs,
            self.data.train_portions.batch_size,
            self.context.num_ranks,
        )
        runner, epoch, within = self.config.runner_config, self.start.epoch, self.start.step
        # A device that takes whole epochs at once cannot start within one: then this run is fed step by step.
        sink = runner.sink_mode and self.context.device_target != "CPU" and not within
        Model(step).train(
            progress.epochs,
            self.data.train_batches(epoch, within),
            callbacks=callbacks.ordered,
            dataset_sink_mode=sink,
            sink_size=runner.sink_size if sink else -1,
            initial_epoch=epoch,
        )
