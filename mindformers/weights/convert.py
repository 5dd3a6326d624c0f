"""Convert a model folder between Hugging Face's names and ours, or to another type or size of shards.

Weights in our names may be written, and are read, in pieces for the devices of a layout (`weights.split`).

All names, shapes and types are compared before anything is written. Then one tensor at a time is read, cut or joined
as the family's weight map says, and written, so that memory does not grow with the model. MindSpore is not imported.
"""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Collection, Dict, List, Literal, Mapping, Optional, Sequence, Union

import numpy as np

from mindformers.arch.paths import ParameterSpec, count
from mindformers.errors import CheckpointError, OutputError, UsageError, counted, listing
from mindformers.parallel.mesh import Mesh
from mindformers.weights.compare import mismatches, native_plan
from mindformers.weights.find import find_weights
from mindformers.weights.folder import (
    CONFIG,
    COPIED,
    FORMAT,
    FORMAT_VERSION,
    config_from_hf,
    family_of,
    read_config,
    weight_map_of,
)
from mindformers.weights.heads import Content, content
from mindformers.weights.layout import cut, join, joined_shape
from mindformers.weights.mapping import Plan, Step, WeightMap
from mindformers.weights.readers import WeightFiles, read_weights
from mindformers.weights.reshard import jobs_on, save_split
from mindformers.weights.split import placed
from mindformers.weights.stored import DTYPES, StoredTensor
from mindformers.weights.writers import SHARD_BYTES, save_json, save_tensors, whole_folder

Names = Literal["hf", "native"]
"""Whose names the tensors of a folder have: Hugging Face's, or our paths."""


WHOLE = Mesh()
SIZE_TOLERANCE = 0.15
"""How far the number that a model is called by may be from its parameters: LLaMA's 30B has 32.5."""


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion did."""

    source: Path
    target: Path
    tensors: int
    """Tensors written."""
    nbytes: int
    """Their size."""
    files: List[Path]
    """Weight files written, the index included."""
    ignored: Dict[str, str]
    """Names in the source that were left out -> why."""
    copied: List[str]
    """Files of the tokenizer that went along."""

    def __str__(self) -> str:
        text = (
            f"{counted(self.tensors, 'tensor')} ({self.nbytes / 1e9:.3g} GB) from {self.source} to {self.target}: "
            f"{', '.join(str(path.relative_to(self.target)) for path in self.files)}"
        )
        if self.copied:
            text += f"\nwith {', '.join(self.copied)}"
        if self.ignored:
            left = [f"{name}: {why}" for name, why in self.ignored.items()]
            text += "\n" + listing(f"{counted(len(left), 'tensor')} left out:", left, limit=None)
        return text


def convert(
    source: Union[str, Path],
    target: Union[str, Path],
    source_names: Names,
    target_names: Names,
    dtype: Optional[str] = None,
    shard_bytes: int = SHARD_BYTES,
    overwrite: bool = False,
    mesh: Mesh = WHOLE,
    size: Optional[str] = None,
) -> ConversionReport:
    """Convert the model in `source` (a folder, or a weight file with config.json beside it) into the folder `target`.

    `dtype` is a key of `stored.DTYPES`, None to keep every tensor's own; `shard_bytes` is the largest weight file
    of a whole model. A `mesh` of several devices asks for pieces, `size` (such as 7B) for a model of so many
    parameters. config.json stays as it is but for the type and the mark of our names; files of a tokenizer are copied.
    Raises CheckpointError with every missing, unexpected, misshapen or unreadable tensor, ConfigError for pieces that
    cannot be, OutputError, UsageError, UnknownNameError; then nothing is written.
    """
    source, target = find_weights(str(source)), Path(target).expanduser()
    values = read_config(source)
    folder = source if source.is_dir() else source.parent
    _check_arguments(folder, target, values, source_names, dtype)
    if mesh != WHOLE and target_names == "hf":
        raise UsageError("pieces for several devices have our names: convert --to native")
    family, config = family_of(values), config_from_hf(values)
    weight_map, files = weight_map_of(family), read_weights(source)

    def planner(paths: Collection[str]) -> Plan:
        return weight_map.plan(files, paths) if source_names == "hf" else native_plan(files, paths)

    held = content(values, config, family, planner)
    _check_size(size, held.table)
    cuts = placed(config, family, held.table, jobs_on(mesh))
    problems = mismatches(held.plan, {path: spec.shape for path, spec in held.table.items()}, files)
    problems += _unfit_types(held.plan, files)
    if problems:
        raise CheckpointError(str(source), problems, _advice(held, values, source_names))
    num_heads = config.arch("none").num_heads
    tensors = _outgoing(held, files, weight_map, target_names, num_heads)
    with whole_folder(target, overwrite, last=CONFIG) as temporary:
        if mesh == WHOLE:
            written = save_tensors(temporary, tensors, dtype, shard_bytes)
        else:
            written = save_split(temporary, {"model": tensors}, cuts, mesh, dtype=dtype)
        copied = _copy(folder, temporary)
        save_json(temporary / CONFIG, _config(values, target_names, dtype, tensors))
    return ConversionReport(
        source,
        target,
        len(tensors),
        sum(tensor.nbytes_as(dtype) for tensor in tensors.values()),
        [target / path.relative_to(temporary) for path in written],
        held.plan.ignored,
        copied,
    )


def _check_arguments(folder: Path, target: Path, values: Mapping[str, Any], names: Names, dtype: Optional[str]) -> None:
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"dtype '{dtype}'; accepted: {', '.join(DTYPES)}")
    if target.resolve() == folder.resolve():
        raise UsageError(f"{target} is also where the model is read from; choose another folder")
    version = values.get(FORMAT)
    if version is not None and names == "hf":
        raise UsageError(f"{folder}: {CONFIG} says that its tensors have our names; read it as native")
    if version not in (None, FORMAT_VERSION):
        raise CheckpointError(
            str(folder / CONFIG),
            [f"{FORMAT} is {version!r}; this release reads {FORMAT_VERSION}"],
            "Update mindformers.",
        )


def _check_size(size: Optional[str], table: Mapping[str, ParameterSpec]) -> None:
    """Raise UsageError when the model has not about as many parameters as its size says (7B: 7 billion)."""
    if size is None:
        return
    stated = re.fullmatch(r"(\d+(?:\.\d+)?)[bB]", size)
    parameters = count(table) / 1e9
    if stated is None or not math.isclose(float(stated[1]), parameters, rel_tol=SIZE_TOLERANCE):
        raise UsageError(f"--type {size}: {CONFIG} describes a model of {parameters:.3g}B parameters")


def _unfit_types(plan: Plan, files: WeightFiles) -> List[str]:
    able = set(DTYPES.values())
    return [
        f"{step.theirs}: stored as {files.stored(step.theirs).kind}; weights are one of {', '.join(DTYPES)}"
        for step in plan.steps
        if files.stored(step.theirs).kind not in able
    ]


def _advice(held: Content, values: Mapping[str, Any], names: Names) -> str:
    if not held.plan.steps:
        other = "native" if names == "hf" else "hf"
        return f"No name fits at all; nothing was written. Were the names meant to be '{other}'?"
    named = f" and its architectures {values['architectures']}" if held.ending is not None else ""
    return f"Nothing was written. Compare the sizes in {CONFIG}{named} with the weights."


class _Parameters:
    """Our parameters, read from the tensors of a file that hold them."""

    def __init__(self, files: WeightFiles, steps: Sequence[Step], num_heads: int):
        self.step_of = {path: step for step in steps for path in step.paths}
        self._files, self._num_heads = files, num_heads
        self._packed: Optional[Step] = None
        self._parts: List[np.ndarray] = []

    def tensor(self, path: str) -> StoredTensor:
        """Return the tensor of the file that holds the parameter."""
        return self._files.stored(self.step_of[path].theirs)

    def read(self, path: str) -> np.ndarray:
        """Return a parameter; of a packed tensor all are kept until another is asked for, as they follow each other."""
        step = self.step_of[path]
        if step is not self._packed:
            self._packed, self._parts = None, []  # frees the memory first
            parts = cut(step, self._files.stored(step.theirs).read(), self._num_heads)
            if len(parts) == 1:
                return parts[0]
            self._packed, self._parts = step, parts
        return self._parts[step.paths.index(path)]


def _outgoing(
    held: Content, files: WeightFiles, weight_map: WeightMap, names: Names, num_heads: int
) -> Dict[str, StoredTensor]:
    """Return the tensors to write, by name, in the order of the source: it is then read from front to back."""
    place = {name: number for number, name in enumerate(files)}
    ordered = sorted(held.plan.steps, key=lambda step: place[step.theirs])
    parameters = _Parameters(files, ordered, num_heads)
    if names == "native":
        steps = [Step(path, (path,)) for path in parameters.step_of]
    else:
        steps = weight_map.export(list(parameters.step_of), held.is_base(files, weight_map))

    def outgoing(step: Step) -> StoredTensor:
        origin = parameters.step_of[step.paths[0]]
        stored = files.stored(origin.theirs)
        if (origin.paths, origin.packing, origin.transposed) == (step.paths, step.packing, step.transposed):
            return stored  # only the name changes
        shape = joined_shape(step, held.table[step.paths[0]].shape)
        return StoredTensor(
            stored.kind, shape, lambda: join(step, [parameters.read(path) for path in step.paths], num_heads)
        )

    mixed = [
        f"{step.theirs}: {' and '.join(f'{path} as {parameters.tensor(path).kind}' for path in step.paths)}"
        for step in steps
        if len({parameters.tensor(path).kind for path in step.paths}) > 1
    ]
    if mixed:
        raise CheckpointError(
            str(files.source), mixed, "One tensor has one type: convert native to native with a dtype first."
        )
    return {step.theirs: outgoing(step) for step in steps}


def _config(
    values: Mapping[str, Any], names: Names, dtype: Optional[str], tensors: Mapping[str, StoredTensor]
) -> Dict[str, Any]:
    """Return the new config.json: all that the old one says, keys that only another library reads included."""
    result = {key: value for key, value in values.items() if key != FORMAT}
    spellings = [key for key in ("torch_dtype", "dtype") if values.get(key) is not None]
    kinds = {tensor.kind for tensor in tensors.values()}
    if dtype is None and not spellings and len(kinds) == 1:
        dtype = next(name for name, kind in DTYPES.items() if kind in kinds)
    if dtype is not None:
        result.update(dict.fromkeys(spellings or ["torch_dtype"], dtype))
    return {**result, FORMAT: FORMAT_VERSION} if names == "native" else result


def _copy(folder: Path, target: Path) -> List[str]:
    names = sorted({item.name for pattern in COPIED for item in folder.glob(pattern) if item.is_file()})
    for name in names:
        try:
            shutil.copyfile(folder / name, target / name)
        except OSError as error:
            raise OutputError(f"{name}: cannot be copied from {folder} to {target}: {error.strerror}") from error
    return names
