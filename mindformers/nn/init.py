"""How parameters start, by canonical path, so that a value depends on (seed, path) alone and not on build order.

The table of paths (`arch.paths`) says how: norms' gains at 1, offsets and biases at 0, matrices and tables from a
normal distribution (not truncated) whose standard deviation is

| family | matrices | tables |
|---|---|---|
| BERT and most others | arch.init_std, usually 0.02 | the same |
| GPT-2 | the same; projections into the residual stream / sqrt(2 layers) | the same |
| T5 | init_std / sqrt(inputs), queries also / sqrt(head size) | init_std |

Row `arch.frozen_row` of the token table starts at 0. These are Hugging Face's values for each family.
"""

from __future__ import annotations

import zlib
from typing import Collection, Optional

import numpy as np
from mindspore import Tensor, nn

from mindformers.arch.paths import ParameterSpec, parameter_table
from mindformers.arch.stacks import StackArch


def initial_value(path: str, spec: ParameterSpec, seed: int) -> np.ndarray:
    """Return the first value of the parameter at `path`, float32 of spec.shape."""
    if spec.init == "zeros":
        return np.zeros(spec.shape, np.float32)
    if spec.init == "ones":
        return np.ones(spec.shape, np.float32)
    generator = np.random.Generator(np.random.PCG64([seed, zlib.crc32(path.encode())]))
    return generator.standard_normal(spec.shape, np.float32) * np.float32(spec.std)


def initialize(model: nn.Cell, arch: StackArch, seed: int, only: Optional[Collection[str]] = None) -> None:
    """Set the parameters of `model` at the canonical paths of `arch` (those in `only`, if given) to their start."""
    table = parameter_table(arch)
    for path, parameter in model.parameters_and_names():
        if path not in table or (only is not None and path not in only):
            continue
        value = initial_value(path, table[path], seed)
        if path == "embed.tokens.weight" and arch.frozen_row is not None:
            value[arch.frozen_row] = 0
        parameter.set_data(Tensor(value).astype(parameter.dtype))
