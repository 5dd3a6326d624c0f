"""Training options under the names that Hugging Face users know; one table says where each goes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Dict, List, Optional

from mindformers.config.layers import override
from mindformers.config.source import Layer

PATHS: Dict[str, str] = {
    "output_dir": "output_dir",
    "overwrite_output_dir": "overwrite",
    "seed": "seed",
    "data_seed": "train_dataset.seed",
    "use_parallel": "use_parallel",
    "profile": "profile",
    "do_eval": "do_eval",
    "sink_mode": "runner_config.sink_mode",
    "sink_size": "runner_config.sink_size",
    "num_train_epochs": "runner_config.epochs",
    "initial_epoch": "runner_config.initial_epoch",
    "batch_size": "runner_config.batch_size",
    "per_device_train_batch_size": "runner_config.batch_size",
    "gradient_accumulation_steps": "runner_config.gradient_accumulation_steps",
    "save_steps": "runner_config.save_checkpoint_steps",
    "eval_steps": "eval_steps",
    "learning_rate": "lr_schedule.learning_rate",
    "lr_scheduler_type": "lr_schedule.type",
    "warmup_steps": "lr_schedule.warmup_steps",
    "warmup_ratio": "lr_schedule.warmup_ratio",
    "optim": "optimizer.type",
    "weight_decay": "optimizer.weight_decay",
    "adam_beta1": "optimizer.beta1",
    "adam_beta2": "optimizer.beta2",
    "adam_epsilon": "optimizer.eps",
    "max_grad_norm": "runner_wrapper.max_grad_norm",
    "dataloader_drop_last": "train_dataset.drop_remainder",
}
"""Field -> configuration path."""


@dataclass
class TrainingArguments:
    """Options of a training run; what stays None is left to the configuration file."""

    output_dir: Optional[str] = None
    overwrite_output_dir: Optional[bool] = None
    seed: Optional[int] = None
    data_seed: Optional[int] = None
    """Seed of the row order."""
    use_parallel: Optional[bool] = None
    profile: Optional[bool] = None
    do_eval: Optional[bool] = None
    sink_mode: Optional[bool] = None
    sink_size: Optional[int] = None
    num_train_epochs: Optional[int] = None
    initial_epoch: Optional[int] = None
    batch_size: Optional[int] = None
    per_device_train_batch_size: Optional[int] = None
    """Samples per device and step; the same as `batch_size`, which it beats."""
    gradient_accumulation_steps: Optional[int] = None
    """Portions that a step is computed in; samples per step are this times the batch size."""
    save_steps: Optional[int] = None
    """Optimizer steps between two checkpoints."""
    eval_steps: Optional[int] = None
    """Optimizer steps between two evaluations."""
    learning_rate: Optional[float] = None
    lr_scheduler_type: Optional[str] = None
    warmup_steps: Optional[int] = None
    """Steps of warm-up; beaten by `warmup_ratio`."""
    warmup_ratio: Optional[float] = None
    optim: Optional[str] = None
    weight_decay: Optional[float] = None
    adam_beta1: Optional[float] = None
    adam_beta2: Optional[float] = None
    adam_epsilon: Optional[float] = None
    max_grad_norm: Optional[float] = None
    """Largest global norm of the gradients; larger ones are scaled down to it."""
    dataloader_drop_last: Optional[bool] = None

    def layers(self) -> List[Layer]:
        """Return one configuration layer per option that was given."""
        given: Dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        layers = [
            override(tuple(PATHS[name].split(".")), value, f"TrainingArguments.{name}")
            for name, value in given.items()
            if value is not None
        ]
        if self.max_grad_norm is not None:
            layers.append(override(("runner_wrapper", "use_clip_grad"), True, "TrainingArguments.max_grad_norm"))
        return layers
