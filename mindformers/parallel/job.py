"""A parallel job in numbers: what is trained, on which mesh, in which portions, and what is saved for memory's sake."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Dict, Literal, Optional, Tuple

from mindformers.arch.stacks import EncoderDecoderArch, StackArch
from mindformers.parallel.mesh import Axis, Mesh
from mindformers.parallel.rules import Logical, mesh_axes

Schedule = Literal["1f1b", "gpipe"]
Recompute = Literal["none", "selective", "full"]
"""`selective` works out attention's scores again (Korthikanti et al. 2022, arXiv:2205.05198, section 5), `full` whole
layers (Chen et al. 2016, arXiv:1604.06174)."""
FLOAT32 = 4
"""Bytes of an element of that type."""


@dataclass(frozen=True)
class Job:
    """One training job."""

    arch: StackArch
    mesh: Mesh
    seq_length: int = 1024
    """Tokens of a sample."""
    batch: int = 1
    """Samples of one micro-batch, on each of the ways the batch is split."""
    micro_batches: int = 1
    """Micro-batches of a step: those that fill a pipeline, or whose gradients are added up without one."""
    schedule: Schedule = "1f1b"
    chunks: int = 1
    """Groups of layers that a stage holds and visits in turn (Narayanan et al. 2021, arXiv:2104.04473, section 2.2)."""
    stage_layers: Optional[Tuple[int, ...]] = None
    """Layers of each stage; None for equal shares."""
    splits_sequence: bool = False
    """Whether what lies between the split products of a layer is split by tokens (Korthikanti et al., section 4.2)."""
    splits_vocab: bool = False
    """Whether the token table and the head are split by their rows, or held by all devices of a layer."""
    recompute: Recompute = "none"
    recomputed_layers: Optional[Tuple[int, ...]] = None
    """Layers of each stage that `recompute` holds for; None for all."""
    slices_checkpoints: bool = False
    """Whether the kept inputs of recomputed layers are split by tokens over the devices of a layer."""
    repeats_layer_sums: bool = True
    """Whether recomputation repeats the communication within a layer."""
    repeats_weight_gathers: bool = False
    """Whether recomputation gathers weights that the optimizer split again; see `lets_weights_go`."""
    shard_level: int = 0
    """What the optimizer splits over the devices that hold the same: 0 nothing, 1 weights and state, 2 gradients too,
    3 and weights are gathered once for each pass (Rajbhandari et al. 2020, arXiv:1910.02054)."""
    shard_size: Optional[int] = None
    """Devices that share the optimizer's work; None for all that hold the same."""
    shard_threshold: int = 64 * 1024
    """Bytes from which on a parameter is split by the optimizer."""
    param_bytes: int = 4
    """Bytes of an element of a parameter and of its gradient; the state of the optimizer is float32."""
    compute_bytes: int = 4
    """Bytes of an element of an activation."""

    @property
    def num_layers(self) -> int:
        """Layers that a token runs through, those of encoder and decoder together."""
        decoder = self.arch.num_decoder_layers if isinstance(self.arch, EncoderDecoderArch) else 0
        return self.arch.num_layers + decoder

    @property
    def has_vocabulary_head(self) -> bool:
        """Whether the head says how likely each entry of the vocabulary is."""
        return self.arch.head in ("causal_lm", "seq2seq_lm", "masked_lm", "pre_training")

    @property
    def micro_tokens(self) -> int:
        """Tokens of one micro-batch on one device."""
        return self.batch * self.seq_length

    @property
    def global_batch(self) -> int:
        """Samples of a step on all devices."""
        return self.batch * self.mesh.data * self.micro_batches

    @functools.cached_property
    def axes(self) -> Dict[Logical, Optional[Axis]]:
        """Logical axis -> axis of the mesh."""
        return mesh_axes(self.mesh.tensor, self.arch.kv_heads, self.splits_sequence, self.splits_vocab)

    def ways(self, logical: Optional[Logical]) -> int:
        """Return in how many parts a logical axis is split."""
        axis = self.axes[logical] if logical is not None else None
        return getattr(self.mesh, axis) if axis is not None else 1

    @functools.cached_property
    def crosses(self) -> Tuple[bool, ...]:
        """For each layer that is run, whether it also attends to an encoder's output."""
        first = self.arch.num_layers if isinstance(self.arch, EncoderDecoderArch) else self.num_layers
        return tuple(layer >= first for layer in range(self.num_layers))

    def layers_of(self, stage: int) -> int:
        """Return the number of layers of a stage."""
        return self.layer_stages.count(stage)

    def recomputed_of(self, stage: int) -> int:
        """Return the number of layers of a stage that are recomputed."""
        if self.recompute == "none":
            return 0
        return self.layers_of(stage) if self.recomputed_layers is None else self.recomputed_layers[stage]

    def lets_weights_go(self, stage: int) -> bool:
        """Say whether gathered weights are dropped after each pass of each micro-batch and gathered anew.

        Level 3 does so; below it recomputation can, where it holds for all layers of the stage.
        """
        again = self.recompute == "full" and self.recomputed_of(stage) == self.layers_of(stage)
        return self.shard_level >= 3 or (self.shard_level > 0 and self.repeats_weight_gathers and again)

    @functools.cached_property
    def layer_stages(self) -> Tuple[int, ...]:
        """The stage of each layer that is run; chunks go round the stages."""
        if self.stage_layers is not None:
            return tuple(stage for stage, count in enumerate(self.stage_layers) for _ in range(count))
        chunk = self.num_layers // (self.mesh.stage * self.chunks)
        return tuple(layer // chunk % self.mesh.stage for layer in range(self.num_layers))
