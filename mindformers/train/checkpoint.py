"""What a training checkpoint holds, and how training continues from one.

A folder `{prefix}_rank_{rank}-{epoch}_{step}` with

- model.safetensors: every parameter of the model under its canonical name, trainable or not;
- optimizer.safetensors: the optimizer's parameters with its `global_step`, and those of the loss scale. The learning
  rates are not among them: they come from the configuration;
- state.json: the fields of `TrainState` and when it was saved;
- what the caller adds, such as the configuration and the tokenizer;
- manifest.json: size and sha256 of every file, written last.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np
from mindspore import Parameter, Tensor, nn

from mindformers.errors import CheckpointError
from mindformers.train import checkpoint_files as files
from mindformers.train.checkpoint_files import is_checkpoint, list_checkpoints, newest_valid, verify
from mindformers.weights.readers import read_weights
from mindformers.weights.writers import save_safetensors

__all__ = [
    "TrainState",
    "is_checkpoint",
    "list_checkpoints",
    "load_training_state",
    "newest_valid",
    "read_state",
    "save_checkpoint",
    "verify",
]

MODEL = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"
FORMAT = "mindformers training state"
ADVICE = "The checkpoint belongs to another model or optimizer; nothing was changed."


@dataclass(frozen=True)
class TrainState:
    """Where training stood."""

    epoch: int
    """The epoch of the last batch, from 1."""
    step: int
    """Batches of that epoch that were consumed."""
    global_step: int
    """Batches of the whole run that were consumed, those with skipped updates included."""
    batch_size: int
    """Samples one batch had, on all devices together."""
    seed: int
    run_id: str
    """Shared by all checkpoints of one run, through resumption."""
    best_metric: Optional[float] = None
    random: Dict[str, Any] = field(default_factory=dict)
    """What `capture_random_state` returned."""


def save_checkpoint(
    folder: Path,
    prefix: str,
    rank: int,
    state: TrainState,
    model: nn.Cell,
    optimizer: nn.Optimizer,
    loss_scale: Optional[nn.Cell] = None,
    extras: Sequence[Callable[[Path], object]] = (),
) -> Path:
    """Write a complete checkpoint into `folder` and return its path; one of the same run and name is replaced.

    Each of `extras` is called with the folder in the making and writes files of its own into it.

    Raises:
        OutputError: when it cannot be written, or its name belongs to another run; earlier ones stay as they were.
    """
    target = Path(folder) / files.checkpoint_name(prefix, rank, state.epoch, state.step)
    own = any(entry.path == target and entry.run_id == state.run_id for entry in list_checkpoints(folder))

    def fill(temporary: Path) -> None:
        save_safetensors(temporary / MODEL, _arrays(model.parameters_dict()))
        save_safetensors(temporary / OPTIMIZER, _arrays(_training_parameters(optimizer, loss_scale)))
        content = {"format": FORMAT, "format_version": files.FORMAT_VERSION, "saved_at": time.time(), **asdict(state)}
        (temporary / files.STATE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        for extra in extras:
            extra(temporary)

    files.write_folder(target, fill, replace=own)
    return target


def read_state(path: Path) -> TrainState:
    """Return the state of the checkpoint folder `path`.

    Raises:
        CheckpointError: naming what is missing or not readable.
    """
    where = str(Path(path) / files.STATE)
    try:
        content = json.loads((Path(path) / files.STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(where, [f"unreadable: {error}"]) from error
    if not isinstance(content, dict) or content.get("format_version") != files.FORMAT_VERSION:
        raise CheckpointError(where, [f"not a training state of format version {files.FORMAT_VERSION}"])
    missing = [item.name for item in fields(TrainState) if item.name not in content]
    if missing:
        raise CheckpointError(where, [f"{name}: missing" for name in missing])
    return TrainState(**{item.name: content[item.name] for item in fields(TrainState)})


def load_training_state(
    path: Path, optimizer: nn.Optimizer, loss_scale: Optional[nn.Cell] = None, model: Optional[nn.Cell] = None
) -> TrainState:
    """Put the state saved in the folder `path` into `optimizer` and `loss_scale`, into `model` too when it is given.

    All is compared before anything is assigned, so a failure leaves every parameter as it was. Random generators are
    left to `restore_random_state`, at the moment training begins.

    Raises:
        CheckpointError: naming each file that is damaged, or else each parameter that is missing, unexpected, or of
            another shape or type.
    """
    path = Path(path)
    files.require_valid(path)
    state = read_state(path)
    wanted = {OPTIMIZER: _training_parameters(optimizer, loss_scale)}
    if model is not None:
        wanted[MODEL] = model.parameters_dict()
    loaded = {name: dict(read_weights(path / name)) for name in wanted}
    mismatches = [
        f"{name}: {problem}" for name, parameters in wanted.items() for problem in _mismatches(parameters, loaded[name])
    ]
    if mismatches:
        raise CheckpointError(str(path), mismatches, ADVICE)
    for name, parameters in wanted.items():
        for key, parameter in parameters.items():
            parameter.set_data(Tensor(loaded[name][key]))
    return state


def _training_parameters(optimizer: nn.Optimizer, loss_scale: Optional[nn.Cell]) -> Dict[str, Parameter]:
    """Return the state of optimizer and loss scale by name, without the model's parameters and the learning rates."""
    trained = {parameter.name for parameter in optimizer.parameters}
    kept = {
        name: parameter
        for name, parameter in optimizer.parameters_dict().items()
        if name not in trained and not name.startswith("learning_rate")
    }
    if loss_scale is not None:
        kept.update(loss_scale.parameters_dict())
    return kept


def _mismatches(parameters: Dict[str, Parameter], arrays: Dict[str, np.ndarray]) -> List[str]:
    problems = [f"{name}: not in the checkpoint" for name in parameters if name not in arrays]
    problems += [f"{name}: in the checkpoint only" for name in arrays if name not in parameters]
    for name in [name for name in parameters if name in arrays]:
        array, parameter = arrays[name], parameters[name]
        kind = parameter.asnumpy().dtype
        if array.shape != tuple(parameter.shape):
            problems.append(f"{name}: shape {array.shape} in the checkpoint, {tuple(parameter.shape)} here")
        elif array.dtype != kind:
            problems.append(f"{name}: {array.dtype} in the checkpoint, {kind} here")
    return problems


def _arrays(parameters: Dict[str, Parameter]) -> Dict[str, np.ndarray]:
    return {name: parameter.asnumpy() for name, parameter in parameters.items()}
