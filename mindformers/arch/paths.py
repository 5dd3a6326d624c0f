"""The canonical parameter paths of an architecture: what exists, how large, how it starts, whether it decays.

One table serves initialization, weight maps, optimizer groups and plans, so that none of them needs a built model.
Each component is one small function that yields rows below a prefix; a stack is a concatenation of components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, Iterator, Literal, Mapping, Tuple

from mindformers.arch.stacks import EncoderArch

Init = Literal["normal", "zeros", "ones"]
Row = Tuple[str, "ParameterSpec"]


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter of a model, before any tensor exists."""

    shape: Tuple[int, ...]
    init: Init
    """`normal` draws from N(0, arch.init_std)."""
    decay: bool
    """Whether weight decay applies: matrices and tables yes, norms and biases no."""


def parameter_table(arch: EncoderArch) -> Dict[str, ParameterSpec]:
    """Return path -> spec of every trainable parameter of `arch`, in construction order; matrices are [out, in]."""
    rows = [*embedding_sum("embed", arch)]
    for layer in range(arch.num_layers):
        rows += encoder_block(f"layers.{layer}", arch)
    rows += head(arch)
    return dict(rows)


def count(table: Mapping[str, ParameterSpec]) -> int:
    """Return the number of scalars in `table`."""
    return sum(math.prod(spec.shape) for spec in table.values())


def embedding_sum(path: str, arch: EncoderArch) -> Iterator[Row]:
    """Yield the token, position and segment tables and the norm over their sum."""
    yield from matrix(f"{path}.tokens", arch.vocab_size, arch.hidden_size)
    yield from matrix(f"{path}.positions", arch.max_positions, arch.hidden_size)
    yield from matrix(f"{path}.types", arch.type_vocab_size, arch.hidden_size)
    yield from norm(f"{path}.norm", arch.hidden_size)


def encoder_block(path: str, arch: EncoderArch) -> Iterator[Row]:
    """Yield one post-norm layer: attention, its norm, feed-forward, its norm."""
    for projection in ("q", "k", "v", "o"):
        yield from linear(f"{path}.attention.{projection}", arch.hidden_size, arch.hidden_size)
    yield from norm(f"{path}.norm_attn", arch.hidden_size)
    yield from linear(f"{path}.mlp.up", arch.intermediate_size, arch.hidden_size)
    yield from linear(f"{path}.mlp.down", arch.hidden_size, arch.intermediate_size)
    yield from norm(f"{path}.norm_mlp", arch.hidden_size)


def head(arch: EncoderArch) -> Iterator[Row]:
    """Yield what stands on the stack."""
    if arch.head == "pooler":
        yield from linear("pooler", arch.hidden_size, arch.hidden_size)
    elif arch.head == "question_answering":
        yield from linear("head.span", 2, arch.hidden_size)


def linear(path: str, out_size: int, in_size: int) -> Iterator[Row]:
    """Yield a dense layer with bias."""
    yield from matrix(path, out_size, in_size)
    yield f"{path}.bias", ParameterSpec((out_size,), "zeros", decay=False)


def matrix(path: str, rows: int, columns: int) -> Iterator[Row]:
    """Yield a weight or a table without bias."""
    yield f"{path}.weight", ParameterSpec((rows, columns), "normal", decay=True)


def norm(path: str, size: int) -> Iterator[Row]:
    """Yield a layer norm's gain and offset."""
    yield f"{path}.weight", ParameterSpec((size,), "ones", decay=False)
    yield f"{path}.bias", ParameterSpec((size,), "zeros", decay=False)
