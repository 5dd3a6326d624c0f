"""How parameters start, by canonical path, so that a value depends on (seed, path) alone and not on build order.

| parameter | start |
|---|---|
| `*.weight` of linear layers and embedding tables | N(0, arch.init_std), 0.02 in BERT; not truncated |
| row `arch.pad_token_id` of `embed.tokens.weight` | 0 |
| `*.bias` | 0 |
| `norm*.weight` | 1 |

These are Hugging Face's values for the family (Devlin et al. 2019 truncate at two standard deviations).
"""

from __future__ import annotations

import zlib
from typing import Collection, Optional

import numpy as np
from mindspore import Tensor, nn

from mindformers.arch.paths import ParameterSpec, parameter_table
from mindformers.arch.stacks import EncoderArch


def initial_value(path: str, spec: ParameterSpec, std: float, seed: int) -> np.ndarray:
    """Return the first value of the parameter at `path`, float32 of spec.shape."""
    if spec.init == "zeros":
        return np.zeros(spec.shape, np.float32)
    if spec.init == "ones":
        return np.ones(spec.shape, np.float32)
    generator = np.random.Generator(np.random.PCG64([seed, zlib.crc32(path.encode())]))
    return generator.standard_normal(spec.shape, np.float32) * np.float32(std)


def initialize(model: nn.Cell, arch: EncoderArch, seed: int, only: Optional[Collection[str]] = None) -> None:
    """Set the parameters of `model` at the canonical paths of `arch` (those in `only`, if given) to their start."""
    table = parameter_table(arch)
    for path, parameter in model.parameters_and_names():
        if path not in table or (only is not None and path not in only):
            continue
        value = initial_value(path, table[path], arch.init_std, seed)
        if path == "embed.tokens.weight" and 0 <= arch.pad_token_id < arch.vocab_size:
            value[arch.pad_token_id] = 0
        parameter.set_data(Tensor(value, parameter.dtype))
