"""What a training checkpoint holds, and how training continues from one.

A folder `{prefix}_rank_{rank}-{epoch}_{step}` with

- model.safetensors: every parameter of the model under its canonical name, trainable or not;
- optimizer.safetensors: the optimizer's parameters with its count of updates and its place in the schedule, and those
  of the loss scale and of the average of the weights. The learning rates come from the configuration;
- averaged/: a model folder with the average of the weights, when there is one;
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
from mindspore import Parameter, nn

from mindformers.errors import CheckpointError
from mindformers.optim.scheduled import PACE
from mindformers.train import checkpoint_files as files
from mindformers.train.average import assign, averages_in
from mindformers.train.checkpoint_files import is_checkpoint, list_checkpoints, verify
from mindformers.weights.readers import WeightFiles, read_weights
from mindformers.weights.stored import StoredTensor, of_array
from mindformers.weights.writers import save_file

__all__ = [
    "Snapshot",
    "TrainState",
    "is_checkpoint",
    "list_checkpoints",
    "load_training_state",
    "read_state",
    "save_checkpoint",
    "take_snapshot",
    "verify",
]

MODEL = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"
AVERAGED = "averaged"
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
    run_id: str
    """Shared by all checkpoints of one run, through resumption."""
    best_metric: Optional[float] = None
    """The best score of the run so far."""
    metric: Optional[float] = None
    """The score of the evaluation at this very step."""
    random: Dict[str, Any] = field(default_factory=dict)
    """What `capture_random_state` returned."""
    identity: Dict[str, Any] = field(default_factory=dict)
    """What a resumed run must share, by the names that `resume_allow` takes."""
    callbacks: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    """What `hooks.states_of` returned."""
    ranks: int = 1
    """Ranks of the run that saved this step."""


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint holds of a training that may go on meanwhile."""

    state: TrainState
    model: Dict[str, np.ndarray]
    training: Dict[str, np.ndarray]
    taken_at: float
    """Seconds since 1970."""


def take_snapshot(
    state: TrainState,
    model: nn.Cell,
    optimizer: nn.Optimizer,
    cells: Sequence[nn.Cell] = (),
    copy: bool = False,
) -> Snapshot:
    """Return the content of a checkpoint; with `copy` later steps of training do not change it.

    `cells` have a state beside model and optimizer: loss scale, average.
    """
    parameters = _training_parameters(optimizer, cells)
    return Snapshot(state, _arrays(model.parameters_dict(), copy), _arrays(parameters, copy), time.time())


def save_checkpoint(
    folder: Path, prefix: str, rank: int, snapshot: Snapshot, extras: Sequence[Callable[[Path], object]] = ()
) -> Path:
    """Write a complete checkpoint into `folder` and return its path; one of the same run and name is replaced.

    Each of `extras` is called with the folder in the making and writes files of its own into it.

    Raises:
        OutputError: when it cannot be written, or its name belongs to another run; earlier ones stay as they were.
    """
    state = snapshot.state
    target = Path(folder) / files.checkpoint_name(prefix, rank, state.epoch, state.step)
    own = any(entry.path == target and entry.run_id == state.run_id for entry in list_checkpoints(folder))

    def fill(temporary: Path) -> None:
        _save(temporary / MODEL, snapshot.model)
        _save(temporary / OPTIMIZER, snapshot.training)
        about = {"format": FORMAT, "format_version": files.FORMAT_VERSION, "saved_at": snapshot.taken_at}
        text = json.dumps({**about, **asdict(state)}, indent=1)
        (temporary / files.STATE).write_text(text + "\n", encoding="utf-8")
        averages = averages_in(snapshot.training)
        if averages:
            (temporary / AVERAGED).mkdir()
            as_weights = {name: array.astype(snapshot.model[name].dtype) for name, array in averages.items()}
            _save(temporary / AVERAGED / MODEL, {**snapshot.model, **as_weights})
        for place in (temporary, temporary / AVERAGED) if averages else (temporary,):
            for extra in extras:
                extra(place)

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
    known = [item.name for item in fields(TrainState)]
    try:
        return TrainState(**{name: content[name] for name in known if name in content})
    except TypeError as error:
        raise CheckpointError(where, [str(error)]) from error


def load_training_state(
    path: Path, optimizer: nn.Optimizer, cells: Sequence[nn.Cell] = (), model: Optional[nn.Cell] = None
) -> TrainState:
    """Put the state saved in the folder `path` into `optimizer` and `cells`, into `model` too when it is given.

    Whoever found the folder has verified it. All is compared before anything is assigned, so a failure leaves every
    parameter as it was. Random generators are left to `restore_random_state`, at the moment training begins.

    Raises:
        CheckpointError: naming each parameter that is missing, unexpected, or of another shape or type.
    """
    path = Path(path)
    state = read_state(path)
    wanted = {OPTIMIZER: _training_parameters(optimizer, cells)}
    if model is not None:
        wanted[MODEL] = model.parameters_dict()
    tensors_of = {name: read_weights(path / name) for name in wanted}
    mismatches = [
        f"{name}: {problem}"
        for name, parameters in wanted.items()
        for problem in _mismatches(parameters, tensors_of[name])
    ]
    if mismatches:
        raise CheckpointError(str(path), mismatches, ADVICE)
    loaded = {name: dict(tensors) for name, tensors in tensors_of.items()}  # all is read before anything is assigned
    for name, parameters in wanted.items():
        for key, parameter in parameters.items():
            assign(parameter, loaded[name][key])
    return state


def _training_parameters(optimizer: nn.Optimizer, cells: Sequence[nn.Cell]) -> Dict[str, Parameter]:
    """Return the state of optimizer and cells by name, without the model's parameters and what the step decides."""
    trained = {parameter.name for parameter in optimizer.parameters}
    return {
        name: parameter
        for cell in (optimizer, *cells)
        for name, parameter in cell.parameters_dict().items()
        if name not in trained and name != PACE and not name.startswith("learning_rate")
    }


def _mismatches(parameters: Dict[str, Parameter], saved: WeightFiles) -> List[str]:
    problems = [f"{name}: not in the checkpoint" for name in parameters if name not in saved]
    problems += [f"{name}: in the checkpoint only" for name in saved if name not in parameters]
    for name in [name for name in parameters if name in saved]:
        there, here = saved.stored(name), _stored(parameters[name].asnumpy())
        if there.shape != here.shape:
            problems.append(f"{name}: shape {there.shape} in the checkpoint, {here.shape} here")
        elif there.kind != here.kind:
            problems.append(f"{name}: {there.kind} in the checkpoint, {here.kind} here")
    return problems


def _save(path: Path, arrays: Dict[str, np.ndarray]) -> None:
    save_file(path, {name: _stored(array) for name, array in arrays.items()})


def _stored(array: np.ndarray) -> StoredTensor:
    """Return an array as a file has it; MindSpore's bfloat16, which NumPy does not know, as its 16-bit words."""
    if array.dtype.name != "bfloat16":
        return of_array(array)
    return StoredTensor("BF16", array.shape, lambda: array.view(np.uint16))


def _arrays(parameters: Dict[str, Parameter], copy: bool) -> Dict[str, np.ndarray]:
    arrays = {name: parameter.asnumpy() for name, parameter in parameters.items()}
    return {name: array.copy() for name, array in arrays.items()} if copy else arrays
