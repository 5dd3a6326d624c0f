"""Write weights as the devices of another layout hold them, one tensor at a time; MindSpore is not imported for it.

(Except for files of MindSpore's own format, whose tensors are in memory together.)
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Callable, Dict, List, Literal, Mapping, Optional

from mindformers.arch.stacks import StackArch
from mindformers.errors import CheckpointError
from mindformers.parallel.job import Job
from mindformers.parallel.mesh import Mesh, Place
from mindformers.weights.compare import mismatches, native_plan
from mindformers.weights.folder import config_from_hf, family_of, read_config
from mindformers.weights.heads import content
from mindformers.weights.readers import read_weights
from mindformers.weights.split import LAYOUT, Cut, Layout, cuts_of, pieces_at, placed, read_layout, write_layout
from mindformers.weights.stored import StoredTensor
from mindformers.weights.writers import save_ckpt, save_file

Format = Literal["safetensors", "ckpt"]
"""Of the files that are written: safetensors, or MindSpore's own."""
JobOf = Callable[[StackArch], Job]
OPTIMIZER = "optimizer"
"""File beside the model's in a training checkpoint."""
LEFT = (".safetensors", ".ckpt", ".bin", ".index.json")
"""Endings of files that are written anew or not needed beside it."""


def jobs_on(mesh: Mesh) -> JobOf:
    """Return what makes the job of an architecture on `mesh`, tables whole on every device of a layer."""
    return lambda arch: Job(arch, mesh, micro_batches=mesh.stage)


def parameter_cuts(source: Path, job_of: JobOf) -> Dict[str, Cut]:
    """Return how the parameters of the model in `source` are cut for the jobs of `job_of`.

    Raises CheckpointError for names that are not ours, and for parameters that are missing or of other shapes;
    ConfigError for a layout that the model cannot have.
    """
    values, files = read_config(source), read_weights(source)
    config, family = config_from_hf(values), family_of(values)
    held = content(values, config, family, lambda paths: native_plan(files, paths))
    problems = mismatches(held.plan, {path: spec.shape for path, spec in held.table.items()}, files)
    if problems:
        advice = "" if held.plan.steps else "No name is ours; `mindformers convert --from hf` splits other weights."
        raise CheckpointError(str(source), problems, advice)
    return placed(config, family, held.table, job_of)


def write_relaid(source: Path, target: Path, parameters: Mapping[str, Cut], mesh: Mesh, kind: Format) -> None:
    """Write the folder `source` into the folder `target` as the devices of `mesh` hold it; a mesh of one holds all.

    Files that hold no tensor go along. Raises CheckpointError, OutputError, OSError.
    """
    layout = read_layout(source)
    held = [file for file in ("model", OPTIMIZER) if file == "model" or (source / f"{file}.safetensors").exists()]
    files = {file: _stored(source, file) for file in (held if layout is None else layout.files)}
    if mesh.tensor * mesh.stage > 1:
        save_split(target, files, parameters, mesh, kind)
    else:
        for file, tensors in files.items():
            save_as(target / file, tensors, kind)
    for item in source.iterdir():
        if item.is_file() and not item.name.endswith(LEFT) and item.name != LAYOUT:
            shutil.copyfile(item, target / item.name)


def save_split(
    folder: Path,
    files: Mapping[str, Mapping[str, StoredTensor]],
    parameters: Mapping[str, Cut],
    mesh: Mesh,
    kind: Format = "safetensors",
    dtype: Optional[str] = None,
) -> List[Path]:
    """Write files of whole tensors as pieces for the devices of `mesh`; returns what was written, layout.json last."""
    layout = Layout(mesh, {file: cuts_of(tensors, parameters, mesh) for file, tensors in files.items()})
    written = []
    for stage in range(mesh.stage):
        for number in range(mesh.tensor):
            piece = folder / layout.piece(stage, number)
            piece.mkdir()
            for file, tensors in files.items():
                held = pieces_at(tensors, layout.files[file], mesh, Place(stage, 0, number))
                written.append(save_as(piece / file, held, kind, dtype))
    write_layout(folder, layout)
    return [*written, folder / LAYOUT]


def save_as(path: Path, tensors: Mapping[str, StoredTensor], kind: Format, dtype: Optional[str] = None) -> Path:
    """Write one file at `path`, which gets the ending of its format, and return it."""
    file = path.with_name(f"{path.name}.{kind}")
    if kind == "ckpt":
        save_ckpt(file, tensors)
    else:
        save_file(file, tensors, dtype, {"format": "pt"})
    return file


def _stored(source: Path, file: str) -> Dict[str, StoredTensor]:
    tensors = read_weights(source if file == "model" else source / f"{file}.safetensors")
    return {name: tensors.stored(name) for name in tensors}
