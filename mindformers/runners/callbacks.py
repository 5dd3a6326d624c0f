"""The callbacks of a training run: what the configuration names, what its flags ask for, and what its caller gave."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, List, Optional

import numpy as np
from mindspore.train.callback import Callback

from mindformers.catalog import REGISTRY
from mindformers.config import callback_options, options
from mindformers.config.component import Component
from mindformers.config.explain import explain
from mindformers.errors import UsageError
from mindformers.generation.generate import Call
from mindformers.generation.settings import TEXT_ALONE
from mindformers.parallel.flops import flops
from mindformers.parallel.job import Job
from mindformers.parallel.mesh import Mesh
from mindformers.registry import MindFormerModuleType as Type
from mindformers.runners.folders import checkpoints_of
from mindformers.runners.session import Session
from mindformers.train.checkpoint_callback import CheckpointMonitor
from mindformers.train.early_stopping import EarlyStopping
from mindformers.train.eval_callback import EvalCallback
from mindformers.train.freeze import Freeze
from mindformers.train.guard import FiniteGuard
from mindformers.train.hooks import in_order, load_states
from mindformers.train.loss_monitor import LossMonitor
from mindformers.train.profile_callback import ProfileMonitor
from mindformers.train.progress import Progress
from mindformers.train.sample_text import SampleText
from mindformers.train.scalars import ScalarWriter
from mindformers.train.stop import StopOnSignal
from mindformers.train.throughput import StepWork
from mindformers.weights.folder import CONFIG, FORMAT, FORMAT_VERSION

CONFIG_FILE = "config.yaml"
STOP_FILE = "stop-after-step"


@dataclass(frozen=True)
class TrainingCallbacks:
    """All callbacks in the order of their calls, and those that the runner asks for results."""

    ordered: List[Callback]
    stop: StopOnSignal
    evaluation: Optional[EvalCallback] = None


def training_callbacks(
    session: Session, progress: Progress, scalars: ScalarWriter, identity: Dict[str, Any]
) -> TrainingCallbacks:
    """Return the callbacks of a run; one that is resumed gets the states of its checkpoint back."""
    config, several = session.config, session.context.num_ranks > 1
    stop = StopOnSignal(progress, session.folder.path / STOP_FILE if several else None)
    evaluation = _evaluation(session, progress, scalars) if config.do_eval else None
    built: List[Callback] = [stop, *([evaluation] if evaluation is not None else [])]
    for component in config.callbacks:
        chosen = component.options
        if isinstance(chosen, options.LossMonitor):
            built.append(LossMonitor(progress, _work(session), chosen.per_print_times, scalars))
        elif isinstance(chosen, options.EarlyStopping):
            built.append(_early_stopping(chosen, evaluation))
        elif isinstance(chosen, callback_options.Freeze):
            built.append(_freeze(session, chosen, progress))
        elif isinstance(chosen, callback_options.SampleText):
            built += _sample_text(session, chosen, progress)
        elif isinstance(chosen, options.ObsMonitor):
            _refuse_store(config.aicc_config.obs_path)
        elif not isinstance(chosen, (options.SummaryMonitor, options.CheckpointMonitor)):
            built.append(user_callback(component))
    if not any(isinstance(callback, LossMonitor) for callback in built):
        built.append(LossMonitor(progress, _work(session), None, scalars))
    if config.profile:
        built.append(_profile(session, progress))
    built += session.given.callbacks
    if session.start.saved is not None:
        load_states(built, session.start.saved.callbacks)
    savers = [
        _checkpoints(session, component.options, progress, evaluation, built, identity)
        for component in config.callbacks
        if isinstance(component.options, options.CheckpointMonitor)
    ]
    guard = _guard(session, progress, savers)
    return TrainingCallbacks(in_order([*built, guard, *savers]), stop, evaluation)


def user_callback(component: Component) -> Callback:
    """Return a callback that a user registered, made with its options."""
    return REGISTRY.resolve(Type.CALLBACK, component.type)(**component.arguments())


def _evaluation(session: Session, progress: Progress, scalars: ScalarWriter) -> EvalCallback:
    every_steps = session.config.eval_steps or 0

    def evaluate() -> Dict[str, Any]:
        with _averaged(session):
            return session.evaluate()

    return EvalCallback(
        evaluate,
        progress,
        every_steps=every_steps,
        every_epochs=0 if every_steps else 1,
        scalars=scalars,
        watch=session.task.main_metric,
        watch_max=session.task.larger_is_better,
    )


def _averaged(session: Session) -> ContextManager[None]:
    """Return a context in which the model has its averaged weights, when there are any."""
    average = session.state.average
    return average.in_place_of_weights() if average is not None else nullcontext()


def _freeze(session: Session, chosen: callback_options.Freeze, progress: Progress) -> Freeze:
    steps = progress.steps_per_epoch
    start = chosen.from_step if chosen.from_epoch is None else chosen.from_epoch * steps
    end = chosen.until_step if chosen.until_epoch is None else chosen.until_epoch * steps
    return Freeze(progress, session.state.optimizer, chosen.paths, start or 0, end)


def _sample_text(session: Session, chosen: callback_options.SampleText, progress: Progress) -> List[Callback]:
    """Return the callback on the first rank; the others wait for it at their next step."""
    if session.context.rank:
        return []
    asked = {"max_new_tokens": chosen.max_new_tokens, "do_sample": chosen.do_sample, "seed": session.config.seed}
    asked.update(TEXT_ALONE, num_return_sequences=1)
    call = Call.of(session.model, chosen.prompts, None, session.tokenizer, None, asked)

    def write() -> List[str]:
        with _averaged(session):
            return call.result()

    return [SampleText(write, progress, chosen.prompts, chosen.every_steps, session.folder.of_rank)]


def _work(session: Session) -> StepWork:
    """Return what a step does: tokens where the data has them, operations where the model has one of our stacks."""
    rows, column = session.data.rows_per_step, session.data.train.columns.get("input_ids")
    shape = column[np.zeros(1, np.int64)].shape if column is not None else ()
    if len(shape) != 2:
        return StepWork(rows)
    length, arch = int(shape[1]), getattr(session.model, "arch", None)
    operations = flops(Job(arch, Mesh(), seq_length=length, batch=rows)).model if arch is not None else 0
    peak = (session.config.runner_config.peak_tflops or 0.0) * 1e12 * session.context.num_ranks
    return StepWork(rows, rows * length, operations, peak)


def _guard(session: Session, progress: Progress, savers: List[CheckpointMonitor]) -> FiniteGuard:
    policy = session.config.runner_config.nonfinite
    if policy == "roll_back" and not savers:
        raise UsageError("runner_config.nonfinite is roll_back, but callbacks hold no CheckpointMonitor; add one")
    return FiniteGuard(progress, policy, tuple(session.data.train.columns), savers[0] if savers else None)


def _early_stopping(chosen: options.EarlyStopping, evaluation: Optional[EvalCallback]) -> EarlyStopping:
    if evaluation is None:
        raise UsageError("EarlyStopping needs evaluation during training: set do_eval, or remove it from callbacks")
    return EarlyStopping(evaluation, chosen.patience, chosen.min_delta)


def _profile(session: Session, progress: Progress) -> ProfileMonitor:
    config = session.config
    return ProfileMonitor(
        progress,
        session.folder.of_rank / "profile",
        config.profile_start_step,
        config.profile_stop_step,
        config.init_start_profile,
        config.profile_memory,
    )


def _refuse_store(obs_path: str) -> None:
    if obs_path.startswith("obs://"):
        raise UsageError(
            f"aicc_config.obs_path is {obs_path}, but no client of this object store is part of this version; remove "
            "ObsMonitor from callbacks, and give CheckpointMonitor.upload a function of your own"
        )


def _checkpoints(
    session: Session,
    chosen: options.CheckpointMonitor,
    progress: Progress,
    evaluation: Optional[EvalCallback],
    states: List[Callback],
    identity: Dict[str, Any],
) -> CheckpointMonitor:
    saved, steps = session.start.saved, session.config.runner_config.save_checkpoint_steps
    keep = chosen.keep_checkpoint_max
    if keep and session.context.num_ranks > 1:
        # A rank that was killed while it saved may lack the newest ones; the others must not be without the one before.
        keep = max(keep, 2 + chosen.async_save)
    named = Path(chosen.directory) if chosen.directory else None
    return CheckpointMonitor(
        chosen.prefix,
        named or session.folder.checkpoints,
        progress,
        steps or chosen.save_checkpoint_steps,
        chosen.save_checkpoint_seconds,
        keep,
        chosen.keep_checkpoint_best,
        chosen.async_save,
        context=session.context,
        folder_of=None if named else checkpoints_of(session.folder.path),
        run_id=saved.run_id if saved is not None else None,
        identity=identity,
        evaluation=evaluation,
        states=states,
        extras=_extras(session),
        upload=REGISTRY.resolve(Type.TOOLS, chosen.upload) if chosen.upload else None,
    )


def _extras(session: Session) -> List[Callable[[Path], object]]:
    """Return what writes the files that make a checkpoint a model folder: configurations, labels, tokenizer."""

    def write_run(folder: Path) -> None:
        (folder / CONFIG_FILE).write_text(explain(session.checked, defaults=True) + "\n", encoding="utf-8")

    def write_model(folder: Path) -> None:
        values = {**session.model.hf_config(), FORMAT: FORMAT_VERSION}
        (folder / CONFIG).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    extras: List[Callable[[Path], object]] = [write_run]
    if hasattr(session.model, "hf_config"):
        extras.append(write_model)
    if session.task.names_outputs:
        extras.append(session.task.save_labels)
    if session.tokenizer is not None:
        extras.append(session.tokenizer.save_pretrained)
    return extras
