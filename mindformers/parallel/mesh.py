"""The mesh of devices: which rank stands where, and which ranks work together on what.

MindSpore orders ranks so: the pipeline stage is the slowest axis (``rank // (devices / stages)``), and within a stage
an operator's device matrix is data x tensor, the last axis running fastest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Literal, Tuple

Axis = Literal["data", "tensor", "stage"]
AXES: Tuple[Axis, ...] = ("stage", "data", "tensor")
"""Axes of the mesh, the slowest first."""

Group = Tuple[int, ...]

GROUPS: Dict[str, Tuple[Axis, ...]] = {
    "tensor": ("tensor",),
    "data": ("data",),
    "pipeline": ("stage",),
    "stage": ("data", "tensor"),
}
"""Kind of group -> the axes along which its members differ."""


@dataclass(frozen=True)
class Place:
    """Where a rank stands, from 0 on each axis."""

    stage: int
    data: int
    tensor: int


@dataclass(frozen=True)
class Mesh:
    """Numbers of devices along the three axes; sequence parallelism has none of its own, it uses that of tensors."""

    data: int = 1
    """Ways the batch is split."""
    tensor: int = 1
    """Ways a layer is split."""
    stage: int = 1
    """Stages of the pipeline."""

    @property
    def devices(self) -> int:
        """Number of all devices."""
        return self.data * self.tensor * self.stage

    @property
    def stage_devices(self) -> int:
        """Number of devices of one stage."""
        return self.data * self.tensor

    def place(self, rank: int) -> Place:
        """Return where `rank` stands; raises IndexError for a rank that the mesh does not have."""
        if not 0 <= rank < self.devices:
            raise IndexError(f"rank {rank} of {self.devices}")
        stage, within = divmod(rank, self.stage_devices)
        return Place(stage, *divmod(within, self.tensor))

    def rank(self, place: Place) -> int:
        """Return the rank that stands at `place`."""
        return (place.stage * self.data + place.data) * self.tensor + place.tensor

    def stage_ranks(self, stage: int) -> range:
        """Return the ranks of a stage."""
        return range(stage * self.stage_devices, (stage + 1) * self.stage_devices)

    def groups(self, kind: str) -> List[Group]:
        """Return all groups of `kind` (of `GROUPS`), the ranks of each in order; each rank is in one."""
        members: Dict[Tuple[int, ...], List[int]] = {}
        fixed = [axis for axis in AXES if axis not in GROUPS[kind]]
        for rank in range(self.devices):
            place = self.place(rank)
            members.setdefault(tuple(getattr(place, axis) for axis in fixed), []).append(rank)
        return [tuple(group) for group in members.values()]
