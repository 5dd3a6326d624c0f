"""One function per section of the configuration: section to object."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from mindspore import nn

from mindformers.catalog import REGISTRY
from mindformers.config import options
from mindformers.config.check import Checked
from mindformers.config.component import Component
from mindformers.config.explain import explain
from mindformers.config.schema import DatasetSection, RunConfig
from mindformers.errors import CheckpointError, ConfigError, DataError, Problem, UsageError
from mindformers.log import banner, logger, start_files, start_stream
from mindformers.optim.groups import decay_groups
from mindformers.optim.scheduled import ScheduledOptimizer
from mindformers.parallel import context as parallel
from mindformers.parallel.apply import apply
from mindformers.parallel.context import ParallelContext
from mindformers.registry import MindFormerModuleType as Type
from mindformers.runners import folders
from mindformers.runners.about import about_start
from mindformers.runners.callbacks import CONFIG_FILE
from mindformers.runners.session import Data, Start, TrainingState
from mindformers.tokenizers.find import find_tokenizer
from mindformers.train.average import WeightAverage
from mindformers.train.checkpoint import is_checkpoint, load_training_state
from mindformers.train.checkpoint_files import require_valid
from mindformers.train.loss_scale import DynamicLossScale, FixedLossScale
from mindformers.weights.find import find_local, find_weights
from mindformers.weights.labels import read_labels
from mindformers.weights.restore import NEW_HEAD, load_weights

TRAINING = folders.TRAINING


@dataclass(frozen=True)
class Given:
    """Objects that a caller of `Trainer` made itself; each stands in for what its section would build."""

    model: Optional[nn.Cell] = None
    train_dataset: Any = None
    eval_dataset: Any = None
    tokenizer: Any = None
    metric: Any = None
    callbacks: List[Any] = field(default_factory=list)
    predict_data: Any = None


NOTHING_GIVEN = Given()


def parallel_context(config: RunConfig) -> ParallelContext:
    """Start the engine and join the other ranks."""
    start_stream(parallel.rank_from_environment())
    banner("Build context config")
    return parallel.start(config)


def run_folder(checked: Checked, context: ParallelContext, resumed: Optional[Path]) -> folders.RunFolder:
    """Open the folder of this run: a new one, or that of the run whose checkpoint is resumed."""
    config = checked.run
    root = folders.output_root(config.output_dir)
    earlier = folders.run_of(resumed) if resumed is not None else None
    if earlier is not None and earlier.parent.parent.resolve() == root.resolve():
        number, mode = int(earlier.name.split("-")[0]), earlier.name.split("-")[1]
    else:
        mode = config.run_mode
        number = context.agree(folders.allocate(root, mode, config.overwrite) if context.rank == 0 else 0)
    folder = folders.enter(root, mode, number, context.rank)
    if context.rank == 0:
        folders.describe(folder, config.trainer.model_name, about_start(context))
        (folder.path / CONFIG_FILE).write_text(explain(checked, defaults=True) + "\n", encoding="utf-8")
    start_files(folder.logs)
    logger.info("run folder: %s", folder.path)
    for line in checked.merged.outdated:
        logger.warning(line)
    if checked.merged.unused:
        logger.info(
            "%d keys have no effect here ('mindformers check' lists them): %s",
            len(checked.merged.unused),
            ", ".join(line.split(": ")[1] for line in checked.merged.unused),
        )
    return folder


def _newest(config: RunConfig) -> Path:
    """Return the newest valid checkpoint of this model in the output folder.

    Raises UsageError when the configuration lets checkpoints go elsewhere.
    """
    for component in config.callbacks:
        elsewhere = getattr(component.options, "directory", None)
        if elsewhere and isinstance(component.options, options.CheckpointMonitor):
            raise UsageError(
                f"the newest checkpoint of output_dir is asked for, but CheckpointMonitor.directory is {elsewhere}, "
                "which several runs may share; name the checkpoint there with --load_checkpoint"
            )
    rank = parallel.rank_from_environment()
    return folders.newest_checkpoint(folders.output_root(config.output_dir), rank, config.trainer.model_name)


def resumed_checkpoint(config: RunConfig) -> Optional[Path]:
    """Return the valid training checkpoint that a train run continues; None for a fresh start and other modes."""
    if config.run_mode != "train":
        return None
    if config.resume:
        return _newest(config)
    if not config.load_checkpoint:
        return None
    found = find_local(config.load_checkpoint)
    if found is None:
        raise CheckpointError(
            config.load_checkpoint,
            ["no such file or folder"],
            "run_mode train continues a training checkpoint on this machine; finetune starts from weights.",
        )
    return _whole(found)


def _whole(weights: Path) -> Path:
    """Return `weights`; raises CheckpointError for a damaged training checkpoint."""
    if is_checkpoint(weights):
        require_valid(weights)
    return weights


def weights_source(config: RunConfig, resumed: Optional[Path]) -> Optional[Path]:
    """Return the folder or file that weights come from, None for a fresh start.

    Raises CheckpointError when a mode that needs weights has none, or a training checkpoint is damaged.
    """
    if config.run_mode == "train":
        return resumed
    if config.load_checkpoint:
        return _whole(find_weights(config.load_checkpoint))
    root = folders.output_root(config.output_dir)
    trained = config.run_mode in ("eval", "predict") and folders.training_runs(root, config.trainer.model_name)
    if config.resume or trained:
        return _newest(config)
    sizes = config.model.model_config.options if config.model.model_config else None
    named = getattr(sizes, "checkpoint_name_or_path", None)
    if named:
        return _whole(find_weights(named))
    or_train = (
        "" if config.run_mode == "finetune" else "; or train first, then the newest checkpoint of output_dir is taken"
    )
    raise CheckpointError(
        config.run_mode,
        ["no weights are named"],
        f"{config.run_mode} starts from weights: give --load_checkpoint a folder or file, or set "
        f"model.model_config.checkpoint_name_or_path{or_train}.",
    )


def tokenizer(config: RunConfig, weights: Optional[Path], given: Given) -> Any:
    """Return the caller's tokenizer, else the one that `find_tokenizer` finds, or None."""
    if given.tokenizer is not None:
        return given.tokenizer
    loaders = (
        section.data_loader.options
        for section in (config.train_dataset, config.eval_dataset)
        if section is not None and section.data_loader is not None
    )
    data = [Path(loader.dataset_dir) for loader in loaders if getattr(loader, "dataset_dir", "")]
    sections = [
        section.tokenizer
        for section in (config.train_dataset, config.eval_dataset, config.processor)
        if section is not None and section.tokenizer is not None
    ]
    try:
        return find_tokenizer(sections[0] if sections else None, weights, data)
    except DataError as error:
        named = sections[0].options
        of_prediction = config.processor is not None and sections[0] is config.processor.tokenizer
        if config.run_mode == "predict" or not of_prediction or getattr(named, "vocab_file", None):
            raise
        logger.info("no tokenizer: %s", error)  # data that is tokens already needs none
        return None


def task(config: RunConfig, tokenizer_: Any, weights: Optional[Path]) -> Any:
    """Return the task object: data, head, metric and prediction format; `weights` may name its labels."""
    cls = REGISTRY.resolve(Type.TRAINER, config.trainer.type)
    made = cls.from_config(config, tokenizer_)
    labels = read_labels(weights) if weights is not None and made.names_outputs else None
    if labels is not None:
        made.adopt_labels(labels)
    return made


def tokenizer_and_task(config: RunConfig) -> Tuple[Any, Any]:
    """Return what turns data into rows, for commands that look at data and run nothing; weights need not be there."""
    weights = find_weights(config.load_checkpoint) if config.load_checkpoint else None
    made = tokenizer(config, weights, NOTHING_GIVEN)
    return made, task(config, made, weights)


def model(config: RunConfig, context: ParallelContext, given: Given, tokenizer_: Any) -> nn.Cell:
    """Return the network, freshly initialised: the same weights on every rank, dropout masks of its own on each.

    Raises ConfigError when the tokenizer has ids that the model has no row for.
    """
    banner("Build Net")
    if given.model is not None:
        return given.model
    section = config.model
    if section.arch is None:
        raise ConfigError([Problem("model.arch", "missing; name a model class, e.g. type: BertForQuestionAnswering")])
    cls = REGISTRY.resolve(Type.MODELS, section.arch.type)
    sizes = [section.model_config.options] if section.model_config is not None else []
    rows, ids = getattr(sizes[0], "vocab_size", None) if sizes else None, getattr(tokenizer_, "vocab_size", None)
    if isinstance(rows, int) and isinstance(ids, int) and ids > rows:
        raise ConfigError(
            [
                Problem(
                    "model.model_config.vocab_size",
                    f"is {rows}, but the tokenizer has {ids} ids; it must be at least {ids}",
                )
            ]
        )
    made = cls(*sizes, **section.arch.arguments())
    if context.job is not None:
        apply(made, context.job)  # where masks are functions of the place in the whole batch
    elif context.rank and hasattr(made, "dropout"):
        made.dropout.set_seed(config.seed + context.rank)
    return made


def data_loader(section: Optional[DatasetSection], name: str, stage: str) -> Any:
    """Return the reader of a dataset section; options that it does not take shape features and are the task's."""
    if section is None or section.data_loader is None:
        raise ConfigError([Problem(f"{name}.data_loader", "missing; this run mode needs a dataset")])
    cls = REGISTRY.resolve(Type.DATASET_LOADER, section.data_loader.type)
    arguments = section.data_loader.arguments()
    if isinstance(section.data_loader.options, options.Loader):
        arguments["stage"] = arguments["stage"] or stage
        taken = inspect.signature(cls).parameters
        arguments = {key: value for key, value in arguments.items() if key in taken}
    return cls(**arguments)


def datasets(config: RunConfig, task_: Any, context: ParallelContext, given: Given) -> Data:
    """Read what the run mode needs and return it as features, portioned by rank."""
    train = evaluation = None
    if config.run_mode in TRAINING:
        banner("Build Dataset For Train")
        train = task_.train_features(
            given.train_dataset
            if given.train_dataset is not None
            else data_loader(config.train_dataset, "train_dataset", "train")
        )
    if config.run_mode == "eval" or config.run_mode in TRAINING and config.do_eval:
        banner("Build Dataset For Evaluate")
        evaluation = task_.eval_features(
            given.eval_dataset
            if given.eval_dataset is not None
            else data_loader(config.eval_dataset, "eval_dataset", "dev")
        )
    return Data.portioned(config, context, train, evaluation)


def state(config: RunConfig, model_: nn.Cell, data: Data) -> Optional[TrainingState]:
    """Return optimizer, schedule and loss scale for the length of the run; None when nothing is trained."""
    if config.run_mode not in TRAINING:
        return None
    banner("Build Optimizer")
    rates = schedule(config, data.steps_per_epoch)
    parameters = list(model_.trainable_params())
    cls = REGISTRY.resolve(Type.OPTIMIZER, config.optimizer.type)
    arguments = config.optimizer.arguments()
    arguments.pop("learning_rate", None)
    if isinstance(config.optimizer.options, options.OPTIMIZERS):
        arguments["groups"] = decay_groups([item.name for item in parameters], arguments.pop("weight_decay"))
    optimizer = cls(parameters, learning_rate=rates, **arguments)
    decay = config.runner_config.ema_decay
    average = WeightAverage(optimizer.parameters, decay) if decay is not None else None
    return TrainingState(optimizer, rates, loss_scale(config.runner_wrapper), average)


def schedule(config: RunConfig, steps_per_epoch: int) -> Any:
    """Return the learning rate of every optimizer step, float32 [steps]."""
    arguments: Dict[str, Any] = config.lr_schedule.arguments()
    peak = arguments.pop("learning_rate", None)
    peak = peak if peak is not None else getattr(config.optimizer.options, "learning_rate", None)
    if peak is None:
        raise ConfigError([Problem("lr_schedule.learning_rate", "missing; the peak rate has no default, e.g. 3.0e-5")])
    run_steps = config.runner_config.epochs * steps_per_epoch
    total = arguments.pop("total_steps", -1)
    epochs = arguments.pop("warmup_epochs", None)
    if epochs is not None:
        arguments["warmup_steps"] = epochs * steps_per_epoch
    arguments = {key: value for key, value in arguments.items() if value is not None}
    return REGISTRY.resolve(Type.LR, config.lr_schedule.type)(
        peak, total_steps=run_steps if total < 1 else total, **arguments
    )


def loss_scale(wrapper: Component) -> Optional[nn.Cell]:
    """Return the loss scale that a wrapper section asks for, None for none."""
    scale = getattr(wrapper.options, "scale_sense", None)
    if scale is None:
        sens = getattr(wrapper.options, "sens", 1.0)
        return FixedLossScale(sens) if sens != 1.0 else None
    if scale.type == "FixedLossScaleUpdateCell":
        return FixedLossScale(scale.loss_scale_value)
    return DynamicLossScale(scale.loss_scale_value, scale.scale_factor, scale.scale_window)


def restore(
    config: RunConfig, model_: nn.Cell, data: Data, state_: Optional[TrainingState], weights: Optional[Path]
) -> Start:
    """Load weights and, when a training checkpoint is continued, the training state; returns where training starts.

    The learning rate goes on behind the rows that were seen, though steps of another size may count them now.
    """
    if weights is None:
        return Start(epoch=config.runner_config.initial_epoch)
    resumes = config.run_mode == "train"
    if resumes and not is_checkpoint(weights):
        raise UsageError(
            f"{weights} holds weights without a training state, so it cannot be resumed; "
            "use --run_mode finetune to start training from these weights"
        )
    fresh_head = NEW_HEAD if config.run_mode == "finetune" else ()
    report = load_weights(model_, weights, weight_map=getattr(model_, "weight_map", None), new_parameters=fresh_head)
    logger.info("weights: %s", report)
    if not resumes:
        if state_ is not None and state_.average is not None:
            state_.average.restart()
        return Start(epoch=config.runner_config.initial_epoch)
    saved = load_training_state(weights, state_.optimizer, state_.cells)
    start = Start.after(saved, data.steps_per_epoch, data.rows_per_step)
    first_step = start.epoch * data.steps_per_epoch + start.step
    if first_step != saved.global_step and isinstance(state_.optimizer, ScheduledOptimizer):
        state_.optimizer.stretch_schedule(saved.global_step, first_step)
    return start


def runner(config: RunConfig) -> Any:
    """Return the runner class of the run mode."""
    names = {"train": "train", "finetune": "train", "eval": "evaluate", "predict": "predict"}
    return REGISTRY.resolve(Type.RUNNER, names[config.run_mode])
