"""Change the layout of a checkpoint: `mindformers reshard SOURCE TARGET --to data,tensor,stages`.

The source is whole or in pieces, weights alone or a training checkpoint with the state of its optimizer.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Tuple

from mindformers.config.check import check_file
from mindformers.config.parallel_job import parallel_job
from mindformers.config.places import find_config
from mindformers.errors import OutputError, UsageError
from mindformers.parallel.mesh import Mesh
from mindformers.train.checkpoint_files import MANIFEST, is_checkpoint, require_valid, write_folder
from mindformers.weights.find import find_weights
from mindformers.weights.folder import CONFIG
from mindformers.weights.reshard import Format, JobOf, jobs_on, parameter_cuts, write_relaid
from mindformers.weights.writers import whole_folder

_MESH = re.compile(r"(\d+),(\d+),(\d+)")


def reshard(source: str, target: Path, to: str, kind: Format = "safetensors") -> str:
    """Write the checkpoint `source` into the new folder `target` as another layout has it; returns what was done.

    `to` is ``data,tensor,stages``, or a run file whose parallel_config says more. Raises CheckpointError, ConfigError,
    OutputError, UsageError; then `target` is not there.
    """
    found, target = find_weights(source), Path(target).expanduser()
    mesh, job_of = _layout(to)
    trains = is_checkpoint(found)
    if not found.is_dir():
        raise UsageError(f"{found} is a file; give the folder, with {CONFIG}")
    if target.exists():
        raise OutputError(f"{target} exists; choose another folder")
    if trains:
        require_valid(found)
        if kind == "ckpt" and mesh.tensor * mesh.stage == 1:
            raise UsageError("--format ckpt: training continues from safetensors; only pieces and weights may be ckpt")
    cuts = parameter_cuts(found, job_of)

    def fill(folder: Path) -> None:
        write_relaid(found, folder, cuts, mesh, kind)
        for inner in (item for item in found.iterdir() if (item / CONFIG).is_file()):  # the average of the weights
            (folder / inner.name).mkdir()
            write_relaid(inner, folder / inner.name, cuts, mesh, kind)
        (folder / MANIFEST).unlink(missing_ok=True)  # the source's own

    if trains:
        write_folder(target, fill)
    else:
        with whole_folder(target, overwrite=False, last=CONFIG) as folder:
            fill(folder)
    what = "a training checkpoint" if trains else "weights"
    return (
        f"{target}: {what} of {found} for {mesh.devices} devices (data {mesh.data}, tensor {mesh.tensor}, "
        f"stages {mesh.stage})"
    )


def _layout(to: str) -> Tuple[Mesh, JobOf]:
    match = _MESH.fullmatch(to.replace(" ", ""))
    if match is None:
        if not to.endswith((".yaml", ".yml")):
            raise UsageError(f"--to '{to}'; write data,tensor,stages, e.g. 1,2,2, or a run file with parallel_config")
        run = check_file(find_config(to)).run
        sizes = run.parallel_config
        mesh = Mesh(sizes.data_parallel, sizes.model_parallel, sizes.pipeline_stage)
        return mesh, lambda arch: dataclasses.replace(parallel_job(run, arch), shard_level=0)
    mesh = Mesh(*map(int, match.groups()))
    if min(mesh.data, mesh.tensor, mesh.stage) < 1:
        raise UsageError(f"--to '{to}': each number is at least 1")
    return mesh, jobs_on(mesh)
