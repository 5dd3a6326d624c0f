"""Where every parameter lies: its slice on a device, the stages that use it, how the optimizer splits it further."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from mindformers.arch.paths import ParameterSpec, parameter_table
from mindformers.arch.stacks import EncoderDecoderArch
from mindformers.parallel.job import Job
from mindformers.parallel.mesh import Axis, Mesh
from mindformers.parallel.rules import dims_of

TABLE = "embed.tokens.weight"
_LAYER = re.compile(r"(encoder\.|decoder\.)?layers\.(\d+)\.")


@dataclass(frozen=True)
class Placement:
    """One parameter on the mesh."""

    path: str
    shape: Tuple[int, ...]
    """Sizes of the whole parameter."""
    axes: Tuple[Optional[Axis], ...]
    """Axis of the mesh that splits each dimension, None for a whole one."""
    slice_shape: Tuple[int, ...]
    """Sizes of the part that a device computes with."""
    stages: Tuple[int, ...]
    """Stages that use it, in order. The first owns it: MindSpore sends it to the others once a step and gets their
    gradients back."""
    shards: int = 1
    """Devices with the same slice among which the optimizer splits its first dimension."""

    @property
    def slice_size(self) -> int:
        """Elements that a device computes with."""
        return math.prod(self.slice_shape)

    @property
    def stored_size(self) -> int:
        """Elements that a device of the owning stage keeps between steps, and updates."""
        return self.slice_size // self.shards

    @property
    def stored_shape(self) -> Tuple[int, ...]:
        """Sizes of what a device of the owning stage keeps between steps."""
        return (self.slice_shape[0] // self.shards, *self.slice_shape[1:])

    def copies(self, mesh: Mesh) -> int:
        """Return the number of a stage's devices that keep the same part between steps."""
        return mesh.stage_devices // (mesh.tensor if self.splits_layer else 1) // self.shards

    @property
    def splits_layer(self) -> bool:
        """Whether the devices of a layer hold different parts."""
        return "tensor" in self.axes


def place(job: Job) -> List[Placement]:
    """Return the placement of every parameter, from input to output.

    `job` must have no `limits.problems`. Raises KeyError for a parameter that no rule places.
    """
    table = parameter_table(job.arch)
    stages = stages_by_stack(job)
    layers = {prefix: _stages_of_layers(job, prefix, ran) for prefix, ran in stages.items()}
    return [_placed(job, path, spec, _stages_of(path, job, stages, layers)) for path, spec in table.items()]


def stages_by_stack(job: Job) -> Dict[str, Tuple[int, ...]]:
    """Return for each stack, by the prefix of its paths, the stage of each layer that is run."""
    if isinstance(job.arch, EncoderDecoderArch):
        first = job.arch.num_layers
        return {"encoder.": job.layer_stages[:first], "decoder.": job.layer_stages[first:]}
    return {"": job.layer_stages}


def _stages_of_layers(job: Job, prefix: str, ran: Sequence[int]) -> Dict[int, Tuple[int, ...]]:
    """Return the stages that use each distinct layer of a stack whose layers run on the stages `ran`."""
    found: Dict[int, List[int]] = {}
    for stage, layer in zip(ran, range(len(ran)) if prefix else job.arch.layer_order):
        found.setdefault(layer, []).append(stage)
    return {layer: _in_order(stages) for layer, stages in found.items()}


def _stages_of(
    path: str, job: Job, stages: Dict[str, Tuple[int, ...]], layers: Dict[str, Dict[int, Tuple[int, ...]]]
) -> Tuple[int, ...]:
    last = job.mesh.stage - 1
    match = _LAYER.match(path)
    if match is not None:
        return layers[match[1] or ""][int(match[2])]
    prefix = next((name for name in stages if name and path.startswith(name)), "")
    if path.endswith("relative.weight"):
        return _in_order(stages[prefix])
    if path.endswith(("norm_out.weight", "norm_out.bias")) and prefix:
        return (stages[prefix][-1],)
    if path.startswith("embed."):
        if path != TABLE:
            return (0,)
        users = [ran[0] for ran in stages.values()]
        return _in_order((*users, last) if reads_table(job) else users)
    return (last,)


def reads_table(job: Job) -> bool:
    """Say whether the head's logits come from the token table."""
    return job.arch.tied_head and job.has_vocabulary_head


def _in_order(stages: Iterable[int]) -> Tuple[int, ...]:
    return tuple(sorted(set(stages)))


def _placed(job: Job, path: str, spec: ParameterSpec, stages: Tuple[int, ...]) -> Placement:
    dims = dims_of(path)
    if len(dims) != len(spec.shape):
        raise KeyError(f"the rule for '{path}' names {len(dims)} dimensions; it has {len(spec.shape)}")
    axes = tuple(job.axes[dim] if dim is not None else None for dim in dims)
    sliced = tuple(size // job.ways(dim) for size, dim in zip(spec.shape, dims))
    # MindSpore 2.10 splits no parameter of several stages, and cannot add the split gradients of a table's two uses.
    whole = len(stages) > 1 or (path == TABLE and reads_table(job) and job.shard_level >= 3)
    return Placement(path, spec.shape, axes, sliced, stages, 1 if whole else _shards(job, sliced, "tensor" in axes))


def _shards(job: Job, sliced: Tuple[int, ...], splits_layer: bool) -> int:
    """Return among how many devices the optimizer splits a slice; MindSpore splits equally, by the first dimension."""
    holders = job.mesh.data * (1 if splits_layer else job.mesh.tensor)
    shards = holders if job.shard_size is None else job.shard_size
    too_small = math.prod(sliced) * job.param_bytes < job.shard_threshold
    if job.shard_level == 0 or too_small or sliced[0] % shards:
        return 1
    return shards


def alike(placements: Sequence[Placement]) -> List[Tuple[Placement, int]]:
    """Return one of each kind of placement, and how many there are: layers repeat a few kinds many times."""
    kinds: Dict[Tuple[object, ...], List[Placement]] = {}
    for item in placements:
        key = (item.path == TABLE, item.axes, item.slice_shape, item.stages, item.shards)
        kinds.setdefault(key, []).append(item)
    return [(items[0], len(items)) for items in kinds.values()]
