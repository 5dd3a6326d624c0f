"""`RunConfig`: everything a run is, typed. A YAML file holds what differs from the defaults given here.

Every section may declare `OLD_NAMES` (outdated key -> today's key) and `UNUSED` (key -> why it has no effect here);
published r0.3 files use both. Anything else that is not a field is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Dict, List, Literal, Optional, Union

from mindformers.config import options
from mindformers.config.component import Component, Kind
from mindformers.registry import MindFormerModuleType as Type

PIPELINE_KNOWS = "the task knows its columns by name"
OWN_PIPELINE = "features are prepared once and cached, so the loading pipeline needs no tuning"

ONE_STEP = Component("TrainOneStepCell", options.OneStep())
ADAMW = Component("adamw", options.AdamW())
LINEAR = Component("linear", options.LinearSchedule())
CALLBACKS = (
    Component("MFLossMonitor", options.LossMonitor()),
    Component("CheckpointMonitor", options.CheckpointMonitor()),
)
"""What a run that says nothing of callbacks gets."""


@dataclass(frozen=True)
class TrainerSection:
    """What the run does."""

    type: str = "general"
    """Task name; the trainer class names of r0.3 are accepted."""
    model_name: Optional[str] = None
    """Name shown in logs and reports."""


@dataclass(frozen=True)
class ModelSection:
    """Which network is built, and its sizes."""

    arch: Annotated[Optional[Component], Kind(Type.MODELS)] = None
    """The model class: a family's stack with one head."""
    model_config: Annotated[Optional[Component], Kind(Type.CONFIG)] = None
    """The family's configuration."""


@dataclass(frozen=True)
class ContextSection:
    """The execution engine."""

    mode: Literal[0, 1] = 0
    """0: graph mode; 1: PyNative, for debugging."""
    device_target: Literal["auto", "Ascend", "GPU", "CPU"] = "auto"
    """`auto` takes Ascend where there is one, else the CPU."""
    device_id: int = 0
    max_device_memory: Optional[str] = None
    """Memory the engine may take of each device, e.g. ``30GB``."""
    max_call_depth: int = 10000
    save_graphs: bool = False
    save_graphs_path: str = "./graph"
    enable_graph_kernel: bool = False
    graph_kernel_flags: str = ""


@dataclass(frozen=True)
class PipelineOrder:
    """In which order the stages of a pipeline work."""

    UNUSED: ClassVar[Dict[str, str]] = {"pipeline_interleave": "parallel_config.pp_interleave_num above 1 says so"}

    pipeline_scheduler: Literal["1f1b", "gpipe"] = "1f1b"
    """`1f1b` works off a micro-batch's backward pass as soon as it can, `gpipe` after all forward passes."""


@dataclass(frozen=True)
class OptimizerSplit:
    """How the optimizer's work is split over devices that hold the same."""

    optimizer_level: Literal["level1", "level2", "level3"] = "level1"
    """1: weights and state; 2: gradients too; 3: and weights are gathered for each pass anew."""
    optimizer_weight_shard_size: int = -1
    """Devices that share the work; -1: all."""
    parallel_optimizer_threshold: int = 64
    """Smallest parameter that is split, in KiB."""


@dataclass(frozen=True)
class ParallelSection:
    """How MindSpore's parallel compiler works."""

    parallel_mode: Literal[0, 1, 2, 3] = 0
    """0: data parallel; 1: semi-automatic; 2: automatic; 3: hybrid."""
    gradients_mean: bool = True
    loss_repeated_mean: bool = True
    enable_alltoall: bool = False
    full_batch: bool = False
    search_mode: Literal["sharding_propagation", "dynamic_programming", "recursive_programming"] = (
        "sharding_propagation"
    )
    enable_parallel_optimizer: bool = False
    parallel_optimizer_config: OptimizerSplit = field(default_factory=OptimizerSplit)
    pipeline_config: PipelineOrder = field(default_factory=PipelineOrder)
    strategy_ckpt_save_file: str = "./ckpt_strategy.ckpt"
    strategy_ckpt_load_file: str = ""


@dataclass(frozen=True)
class ParallelConfigSection:
    """How many devices share which dimension."""

    data_parallel: int = 1
    model_parallel: int = 1
    expert_parallel: int = 1
    pipeline_stage: int = 1
    optimizer_shard: bool = False
    stage_layers: Optional[List[int]] = None
    """Layers of each stage; equal shares when absent."""
    pp_interleave_num: int = 1
    """Groups of layers that each stage holds and visits in turn."""
    micro_batch_num: int = 1
    use_seq_parallel: bool = False
    """Whether norms and dropout are split by tokens over the devices of a layer."""
    vocab_emb_dp: bool = True
    """Whether each of these devices holds the whole token table and head, or its part of their rows."""
    gradient_aggregation_group: int = 4


@dataclass(frozen=True)
class RecomputeSection:
    """Which activations are computed again in the backward pass instead of kept."""

    recompute: Union[bool, List[int]] = False
    """Whether layers are recomputed; or the number of layers on each stage that are."""
    select_recompute: bool = False
    """Recompute only attention's scores."""
    parallel_optimizer_comm_recompute: bool = False
    mp_comm_recompute: bool = True
    recompute_slice_activation: bool = False


@dataclass(frozen=True)
class MoeSection:
    """Mixture of experts; 1 expert is a dense model."""

    expert_num: int = 1
    capacity_factor: float = 1.05
    aux_loss_factor: float = 0.05
    num_experts_chosen: int = 1


@dataclass(frozen=True)
class RunnerSection:
    """How long and in which portions the data is used."""

    UNUSED: ClassVar[Dict[str, str]] = {
        "image_size": "text has no image size",
        "per_epoch_size": "an epoch is one pass over the data",
        "has_trained_epoches": "the position comes from the checkpoint",
        "has_trained_steps": "the position comes from the checkpoint",
    }

    epochs: int = 1
    batch_size: Optional[int] = None
    """Samples a device takes per step; beats the batch sizes of the dataset sections."""
    sink_mode: bool = False
    """Whether whole epochs are handed to the device at once; a CPU feeds step by step in any case."""
    sink_size: int = -1
    """Steps handed over at once in sink mode; -1: an epoch."""
    initial_epoch: int = 0
    """Epochs that count as done when training starts afresh."""
    save_checkpoint_steps: Optional[int] = None
    """Optimizer steps between two checkpoints; beats the CheckpointMonitor's own number."""
    gradient_accumulation_steps: int = 1
    """Portions of `batch_size` samples that a step adds the gradients of, each by its number of labels."""
    nonfinite: Literal["skip", "stop", "roll_back"] = "skip"
    """What follows a loss or gradient that is not finite: the next batch, the end, or the last good checkpoint."""
    peak_tflops: Optional[float] = None
    """What one device does at best, 10^12 operations a second; log lines then show the share that a step reaches."""
    ema_decay: Optional[float] = None
    """Decay of a moving average of the weights, e.g. 0.999, which evaluation and a checkpoint's `averaged` use."""


@dataclass(frozen=True)
class DatasetSection:
    """Where rows come from and how they are portioned."""

    UNUSED: ClassVar[Dict[str, str]] = {
        "input_columns": PIPELINE_KNOWS,
        "output_columns": PIPELINE_KNOWS,
        "column_order": PIPELINE_KNOWS,
        "num_parallel_workers": OWN_PIPELINE,
        "python_multiprocessing": OWN_PIPELINE,
        "numa_enable": OWN_PIPELINE,
        "prefetch_size": OWN_PIPELINE,
        "text_transforms": "the task tokenizes",
        "label_transforms": "the task pads labels",
    }

    data_loader: Annotated[Optional[Component], Kind(Type.DATASET_LOADER)] = None
    tokenizer: Annotated[Optional[Component], Kind(Type.TOKENIZER)] = None
    mask_policy: Optional[Dict[str, Any]] = None
    sampler: Optional[Dict[str, Any]] = None
    batch_size: int = 1
    """Samples a device takes per step, unless `runner_config.batch_size` says otherwise."""
    drop_remainder: bool = True
    """Whether training leaves out the last, smaller batch of an epoch; evaluation always scores every row."""
    repeat: int = 1
    """Times the rows are seen in one epoch."""
    seed: Optional[int] = None
    """Seed of the row order; the run's seed when absent."""


@dataclass(frozen=True)
class ProcessorSection:
    """What turns a user's input into model input at prediction."""

    UNUSED: ClassVar[Dict[str, str]] = {
        "image_processor": "text tasks have none",
        "audio_processor": "text tasks have none",
    }

    type: Optional[str] = None
    tokenizer: Annotated[Optional[Component], Kind(Type.TOKENIZER)] = None
    max_length: Optional[int] = None
    """Tokens that `AutoProcessor` pads or cuts a text to; a task goes by the model's `seq_length`."""
    padding: Optional[Union[bool, str]] = None
    return_tensors: Optional[str] = None
    """`ms` for tensors, `np` for arrays."""


@dataclass(frozen=True)
class CloudSection:
    """Object store of a cloud training service."""

    OLD_NAMES: ClassVar[Dict[str, str]] = {"upload_frequence": "upload_frequency"}

    obs_path: str = ""
    upload_frequency: int = 1
    keep_last: bool = False


@dataclass(frozen=True)
class RunConfig:
    """One run."""

    OLD_NAMES: ClassVar[Dict[str, str]] = {
        "metrics": "metric",
        "resume_or_finetune_checkpoint": "load_checkpoint",
        "resume_or_finetune_from_checkpoint": "load_checkpoint",
        "moe_conifg": "moe_config",
        "remote_save_url": "aicc_config.obs_path",
        "resume_training": "resume",
    }
    UNUSED: ClassVar[Dict[str, str]] = {
        "auto_tune": OWN_PIPELINE,
        "filepath_prefix": OWN_PIPELINE,
        "autotune_per_step": OWN_PIPELINE,
        "train_dataset_task": "trainer.type names the task",
        "eval_dataset_task": "trainer.type names the task",
        "layer_scale": "layer-wise rates belong to image models",
        "layer_decay": "layer-wise rates belong to image models",
        "lr_scale": "the learning rate is taken as written",
        "lr_scale_factor": "the learning rate is taken as written",
        "src_strategy_path_or_dir": "checkpoints carry their layout",
        "auto_trans_ckpt": "checkpoints carry their layout",
        "profile_communication": "the profile of a device contains its communication",
        "only_save_strategy": "checkpoints carry their layout",
    }

    run_mode: Literal["train", "finetune", "eval", "predict"] = "train"
    trainer: TrainerSection = field(default_factory=TrainerSection)
    model: ModelSection = field(default_factory=ModelSection)
    seed: int = 0
    """Start of every random state: weights, dropout, row order."""
    output_dir: str = "./output"
    """Folder of runs; every training run gets a folder of its own below it."""
    overwrite: bool = False
    """Reuse the folder of the newest run in `output_dir`: what it holds is replaced."""
    load_checkpoint: Optional[str] = None
    """Weights to start from: a folder, a file or a name. In train mode, the checkpoint to resume."""
    resume: bool = False
    """Continue the newest valid checkpoint in `output_dir`."""
    resume_allow: List[Literal["batch_size", "data", "seed"]] = field(default_factory=list)
    """What may differ from the run that is continued; anything else of these ends it."""
    do_eval: bool = False
    """Evaluate after every epoch of training."""
    eval_steps: Optional[int] = None
    """Optimizer steps between two evaluations, instead of an epoch."""
    predict_data: Optional[Union[str, List[Any], Dict[str, Any]]] = None
    """What to predict on: a text, a list of texts, or a file with one text a line."""
    top_k: int = 1
    """Answers that prediction returns per input."""
    use_parallel: bool = False
    context: ContextSection = field(default_factory=ContextSection)
    parallel: ParallelSection = field(default_factory=ParallelSection)
    parallel_config: ParallelConfigSection = field(default_factory=ParallelConfigSection)
    recompute_config: RecomputeSection = field(default_factory=RecomputeSection)
    moe_config: MoeSection = field(default_factory=MoeSection)
    micro_batch_interleave_num: int = 1
    runner_config: RunnerSection = field(default_factory=RunnerSection)
    runner_wrapper: Annotated[Component, Kind(Type.WRAPPER, "TrainOneStepCell")] = ONE_STEP
    optimizer: Annotated[Component, Kind(Type.OPTIMIZER, "adamw")] = ADAMW
    lr_schedule: Annotated[Component, Kind(Type.LR, "linear")] = LINEAR
    callbacks: List[Annotated[Component, Kind(Type.CALLBACK)]] = field(default_factory=lambda: list(CALLBACKS))
    eval_callbacks: List[Annotated[Component, Kind(Type.CALLBACK)]] = field(default_factory=list)
    metric: Annotated[Optional[Component], Kind(Type.METRIC)] = None
    train_dataset: Optional[DatasetSection] = None
    eval_dataset: Optional[DatasetSection] = None
    processor: Optional[ProcessorSection] = None
    profile: bool = False
    """Record the engine's profile between two steps."""
    profile_start_step: int = 1
    """First recorded step of this process, from 1."""
    profile_stop_step: int = 10
    """Last recorded step."""
    init_start_profile: bool = False
    """Record what comes before the first step, too."""
    profile_memory: bool = True
    aicc_config: CloudSection = field(default_factory=CloudSection)
