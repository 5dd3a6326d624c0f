"""Weights in pieces: a folder with one sub-folder for each device that holds something else than the others.

layout.json says how the pieces make the whole: for each tensor its shape, the dimension that is cut, and the stages
that have it. It is written from `parallel.placement` and read without it, so that weights outlive a change of rules.
Devices along the data axis hold the same; they read the sub-folder of the first.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from mindformers.arch.paths import ParameterSpec
from mindformers.arch.stacks import HEAD_OF_CLASS, Head, StackArch
from mindformers.catalog import Family
from mindformers.errors import CheckpointError, ConfigError, Problem
from mindformers.parallel import limits
from mindformers.parallel.job import Job
from mindformers.parallel.mesh import Mesh, Place
from mindformers.parallel.placement import place
from mindformers.weights.stored import KINDS, StoredTensor

LAYOUT = "layout.json"
LAYOUT_VERSION = 1
PIECE = "rank_"
"""Beginning of the names of sub-folders; the number of the rank follows."""
SUFFIXES = (".safetensors", ".ckpt")
"""Endings that a file of pieces may have."""


@dataclass(frozen=True)
class Cut:
    """How one tensor is held by the devices."""

    shape: Tuple[int, ...]
    """Sizes of the whole."""
    dim: Optional[int]
    """The dimension that is cut along the tensor axis; None for a tensor that each device has whole."""
    stages: Tuple[int, ...]
    """Stages that have it; the first is the one that counts."""


@dataclass(frozen=True)
class Layout:
    """What layout.json says."""

    mesh: Mesh
    files: Mapping[str, Mapping[str, Cut]]
    """File without its ending -> tensor -> how it is cut."""

    def piece(self, stage: int, tensor: int) -> str:
        """Return the sub-folder of the devices at a place."""
        return f"{PIECE}{self.mesh.rank(Place(stage, 0, tensor))}"


def placed(
    config: Any, family: Family, table: Mapping[str, ParameterSpec], job_of: Callable[[StackArch], Job]
) -> Dict[str, Cut]:
    """Return how the parameters in `table` are cut when `job_of` makes a job of each head that they contain.

    Raises ConfigError with every reason why the layers cannot be shared out so.
    """
    found = limits.problems(job_of(config.arch("none")))
    if found:
        raise ConfigError([Problem(key, message) for key, message in found])
    heads: List[Head] = ["none", "pooler", *(HEAD_OF_CLASS[ending] for ending in family.heads)]
    cuts: Dict[str, Cut] = {}
    for head in heads:
        placements = place(job_of(config.arch(head)))
        if any(item.path not in table or table[item.path].shape != item.shape for item in placements):
            continue
        for item in placements:
            dim = item.axes.index("tensor") if item.splits_layer else None
            earlier = cuts[item.path].stages if item.path in cuts else ()
            cuts[item.path] = Cut(item.shape, dim, tuple(sorted({*earlier, *item.stages})))
    return cuts


def cuts_of(tensors: Mapping[str, StoredTensor], parameters: Mapping[str, Cut], mesh: Mesh) -> Dict[str, Cut]:
    """Return how the tensors of a file are cut: what is of a parameter's shape and carries its path, as the parameter.

    The state of an optimizer is named ``<what it is>.<path>``. What belongs to no parameter is whole on every device.
    """
    cuts = {}
    for name, tensor in tensors.items():
        cut = parameters.get(name) or parameters.get(name.partition(".")[2])
        if cut is None or cut.shape != tensor.shape:
            stages = cut.stages if cut is not None else tuple(range(mesh.stage))
            cut = Cut(tensor.shape, None, stages)
        cuts[name] = cut
    return cuts


def pieces_at(
    tensors: Mapping[str, StoredTensor], cuts: Mapping[str, Cut], mesh: Mesh, place: Place
) -> Dict[str, StoredTensor]:
    """Return what the device at `place` has of whole tensors, nothing of it read yet."""
    held = {name: tensor for name, tensor in tensors.items() if place.stage in cuts[name].stages}
    return {name: _part(tensor, cuts[name].dim, place.tensor, mesh.tensor) for name, tensor in held.items()}


def _part(whole: StoredTensor, dim: Optional[int], number: int, parts: int) -> StoredTensor:
    if dim is None:
        return whole
    size = whole.shape[dim] // parts
    shape = (*whole.shape[:dim], size, *whole.shape[dim + 1 :])
    chosen = (*(slice(None),) * dim, slice(number * size, (number + 1) * size))
    where = None
    if dim == 0 and whole.place is not None:  # rows lie together: the file's own bytes are copied
        file, begin = whole.place
        where = file, begin + number * int(np.prod(shape)) * KINDS[whole.kind].itemsize
    return StoredTensor(whole.kind, shape, lambda: whole.read()[chosen], where)


def write_layout(folder: Path, layout: Layout) -> None:
    """Write layout.json; raises OSError."""
    files = {
        file: {name: {"shape": cut.shape, "dim": cut.dim, "stages": cut.stages} for name, cut in cuts.items()}
        for file, cuts in layout.files.items()
    }
    content = {"format_version": LAYOUT_VERSION, "mesh": asdict(layout.mesh), "files": files}
    (folder / LAYOUT).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_layout(folder: Path) -> Optional[Layout]:
    """Return the layout of a folder of pieces, None for any other. Raises CheckpointError for what cannot be read."""
    file = folder / LAYOUT
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format_version"] != LAYOUT_VERSION:
            version = content["format_version"]
            raise CheckpointError(str(file), [f"format version {version}; this release reads {LAYOUT_VERSION}"])
        files = {
            stem: {
                name: Cut(tuple(item["shape"]), item["dim"], tuple(item["stages"])) for name, item in tensors.items()
            }
            for stem, tensors in content["files"].items()
        }
        return Layout(Mesh(**content["mesh"]), files)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(str(file), [f"not readable: {error!r}"]) from error


def find_split(source: Path) -> Optional[Tuple[Path, Layout, str]]:
    """Return folder, layout and file of weights in pieces that `source` names; None when they are not in pieces.

    A folder stands for its file ``model``. Raises CheckpointError for a single piece.
    """
    piece = source if source.name.startswith(PIECE) else source.parent
    if piece.name.startswith(PIECE) and (piece.parent / LAYOUT).is_file():
        raise CheckpointError(str(source), ["is a piece of a split model"], f"Give the whole folder, {piece.parent}.")
    layout = read_layout(source)
    if layout is not None:
        return source, layout, "model"
    layout = None if source.exists() else read_layout(source.parent)
    return (source.parent, layout, source.stem) if layout is not None and source.stem in layout.files else None


def joined(
    folder: Path, layout: Layout, file: str, opened: Callable[[Path], Mapping[str, StoredTensor]]
) -> Dict[str, StoredTensor]:
    """Return the whole tensors of a file in pieces, each put together when it is read.

    `opened` reads a file of tensors. Raises CheckpointError with every piece that is missing or has another shape.
    """
    cuts, mesh = layout.files[file], layout.mesh
    needed = {stage for cut in cuts.values() for stage in cut.stages[:1]}
    held = {
        (stage, tensor): opened(_piece_file(folder / layout.piece(stage, tensor), file))
        for stage in sorted(needed)
        for tensor in range(mesh.tensor)
    }
    problems: List[str] = []
    tensors = {}
    for name, cut in cuts.items():
        parts = [held[cut.stages[0], tensor] for tensor in range(mesh.tensor if cut.dim is not None else 1)]
        wanted = list(cut.shape)
        if cut.dim is not None:
            wanted[cut.dim] //= mesh.tensor
        found = [part[name] for part in parts if name in part and part[name].shape == tuple(wanted)]
        if len(found) == len(parts) and len({item.kind for item in found}) == 1:
            tensors[name] = _whole(found, cut)
            continue
        for number, part in enumerate(parts):
            what = f"{part[name].kind} {list(part[name].shape)}" if name in part else "missing"
            problems.append(f"{layout.piece(cut.stages[0], number)}: {name}: {what}; its piece is {wanted}")
    if problems:
        raise CheckpointError(str(folder), problems, "Copy every sub-folder of the model.")
    return tensors


def _piece_file(folder: Path, file: str) -> Path:
    found = [folder / f"{file}{suffix}" for suffix in SUFFIXES if (folder / f"{file}{suffix}").is_file()]
    if not found:
        raise CheckpointError(str(folder), [f"no {file}{' or '.join(SUFFIXES)}"], "Copy every sub-folder of the model.")
    return found[0]


def _whole(parts: Sequence[StoredTensor], cut: Cut) -> StoredTensor:
    if cut.dim is None:
        return parts[0]
    dim = cut.dim
    return StoredTensor(parts[0].kind, cut.shape, lambda: np.concatenate([part.read() for part in parts], axis=dim))
