"""Training: the step on `mindspore.train.Model`, its callbacks, checkpoints, and evaluation between epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from mindspore.train import Model
from mindspore.train.callback import Callback

from mindformers.catalog import REGISTRY
from mindformers.config import options
from mindformers.config.component import Component
from mindformers.config.explain import explain
from mindformers.errors import UsageError
from mindformers.log import banner, logger
from mindformers.registry import MindFormerModuleType as Type
from mindformers.runners.folders import run_of
from mindformers.runners.session import Session
from mindformers.train.checkpoint_callback import CheckpointMonitor
from mindformers.train.eval_callback import EvalCallback
from mindformers.train.loss_monitor import LossMonitor
from mindformers.train.profile_callback import ProfileMonitor
from mindformers.train.progress import Progress
from mindformers.train.random_state import restore_random_state
from mindformers.train.scalars import ScalarWriter
from mindformers.train.step import LossCell, TrainStep

CONFIG_FILE = "config.yaml"


class TrainRunner(Session):
    """Trains the model from scratch, from weights, or from where a checkpoint stopped."""

    def run(self) -> Dict[str, Any]:
        """Train to the last epoch; return the scores of the last evaluation, empty when there was none."""
        config, steps = self.config, self.data.steps_per_epoch
        first_step = self.start.epoch * steps + self.start.step
        progress = Progress(steps, config.runner_config.epochs, first_step)
        if first_step == progress.total_steps:
            raise UsageError(
                f"nothing to do: all {progress.total_steps} steps of {config.runner_config.epochs} epochs are "
                "done; raise runner_config.epochs to train on"
            )
        scalars = ScalarWriter(self.folder.of_rank, first_step, tensorboard=self._asks_for(options.SummaryMonitor))
        evaluation = self._evaluation(progress, scalars) if config.do_eval else None
        callbacks = self._callbacks(progress, scalars, evaluation)
        banner("Build Running Wrapper")
        self.model.set_train(True)
        wrapper = config.runner_wrapper.options
        step = TrainStep(
            LossCell(self.model, tuple(self.data.train.columns)),
            self.state.optimizer,
            wrapper.max_grad_norm if wrapper.use_clip_grad else None,
            self.state.loss_scale,
        )
        if self.start.saved is not None:
            self._check_continuation(steps)
            restore_random_state(self.start.saved.random)
        banner("Starting Training Model")
        logger.info(
            "%d rows, %d steps an epoch, %d epochs, batch size %d on %d device(s)",
            len(self.data.train),
            steps,
            config.runner_config.epochs,
            self.data.train_portions.batch_size,
            self.context.num_ranks,
        )
        try:
            self._train(step, progress, callbacks)
        finally:
            scalars.close()
        return evaluation.metrics if evaluation is not None else {}

    def _train(self, step: TrainStep, progress: Progress, callbacks: List[Callback]) -> None:
        """Run what is left; the dataset's first pass starts within the epoch where a resumed run stopped."""
        runner, epoch, within = self.config.runner_config, self.start.epoch, self.start.step
        # A device that takes whole epochs at once cannot start within one: then this run is fed step by step.
        sink = runner.sink_mode and self.context.device_target != "CPU" and not within
        Model(step).train(
            progress.epochs,
            self.data.train_batches(epoch, within),
            callbacks=callbacks,
            dataset_sink_mode=sink,
            sink_size=runner.sink_size if sink else -1,
            initial_epoch=epoch,
        )

    def _callbacks(
        self, progress: Progress, scalars: ScalarWriter, evaluation: Optional[EvalCallback]
    ) -> List[Callback]:
        """Return the callbacks in the order of their calls: evaluation before the checkpoint that keeps its result."""
        rows = self.data.train_portions.batch_size * self.context.num_ranks
        built: List[Callback] = [evaluation] if evaluation is not None else []
        for component in self.config.callbacks:
            chosen = component.options
            if isinstance(chosen, options.LossMonitor):
                built.insert(0, LossMonitor(progress, rows, chosen.per_print_times, scalars))
            elif isinstance(chosen, options.CheckpointMonitor):
                built.append(self._checkpoints(chosen, progress, rows, evaluation))
            elif isinstance(chosen, options.ObsMonitor):
                self._no_store()
            elif not isinstance(chosen, options.SummaryMonitor):
                built.append(user_callback(component))
        if self.config.profile:
            built.append(
                ProfileMonitor(
                    self.folder.of_rank / "profile",
                    self.config.profile_start_step,
                    self.config.profile_stop_step,
                    self.config.init_start_profile,
                    self.config.profile_memory,
                )
            )
        return [*built, *self.given.callbacks]

    def _evaluation(self, progress: Progress, scalars: ScalarWriter) -> EvalCallback:
        best = self.start.saved.best_metric if self.start.saved is not None else None
        return EvalCallback(
            self.evaluate,
            progress,
            every_epochs=1,
            scalars=scalars,
            watch=self.task.main_metric,
            watch_max=self.task.larger_is_better,
            best=best,
        )

    def _checkpoints(
        self, chosen: options.CheckpointMonitor, progress: Progress, rows: int, evaluation: Optional[EvalCallback]
    ) -> CheckpointMonitor:
        saved = self.start.saved
        best: Callable[[], Optional[float]] = (lambda: evaluation.best) if evaluation is not None else lambda: None
        extras: List[Callable[[Path], object]] = [self._write_config]
        if self.task.names_outputs:
            extras.append(self.task.save_labels)
        if self.tokenizer is not None:
            extras.append(self.tokenizer.save_pretrained)
        return CheckpointMonitor(
            chosen.prefix,
            Path(chosen.directory) if chosen.directory else self.folder.checkpoints,
            progress,
            chosen.save_checkpoint_steps,
            chosen.save_checkpoint_seconds,
            chosen.keep_checkpoint_max,
            rank=self.context.rank,
            batch_size=rows,
            seed=self.data.train_portions.seed,
            run_id=saved.run_id if saved is not None else None,
            best_metric=best,
            extras=extras,
        )

    def _write_config(self, folder: Path) -> None:
        (folder / CONFIG_FILE).write_text(explain(self.checked, defaults=True) + "\n", encoding="utf-8")

    def _check_continuation(self, steps: int) -> None:
        """Refuse to continue with rows in another order than the run that is continued had."""
        saved, rows = self.start.saved, self.data.train_portions.batch_size * self.context.num_ranks
        changed = [
            f"{name} was {was} and is {now}"
            for name, was, now in (
                ("batch size on all devices", saved.batch_size, rows),
                ("row seed", saved.seed, self.data.train_portions.seed),
            )
            if was != now
        ]
        if changed:
            raise UsageError(
                f"{run_of(self.folder.path) or self.folder.path} cannot be continued: {'; '.join(changed)}. "
                "Use the same values, or --run_mode finetune to start anew from these weights"
            )

    def _asks_for(self, kind: type) -> bool:
        return any(isinstance(component.options, kind) for component in self.config.callbacks)

    def _no_store(self) -> None:
        if self.config.aicc_config.obs_path.startswith("obs://"):
            raise UsageError(
                f"aicc_config.obs_path is {self.config.aicc_config.obs_path}, but uploads to an object store "
                "are not part of this version; remove ObsMonitor from callbacks"
            )


def user_callback(component: Component) -> Callback:
    """Return a callback that a user registered, made with its options."""
    return REGISTRY.resolve(Type.CALLBACK, component.type)(**component.arguments())
