"""Weights of eight bits, for models that only write text: a quarter of the memory, which is a quarter of the time.

Shape suffixes: none; a matrix is [out, in].
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn
from mindspore import dtype as mstype

from mindformers.errors import UsageError
from mindformers.kernels import library
from mindformers.nn.linear import Linear

SCALE_BYTES = 4
"""Behind each row, which `csrc/element.h` says too."""
ROWS_AT_A_TIME = 4096
"""Of a table that are float32 at the same time."""


def rows_of_int8(matrix: np.ndarray) -> np.ndarray:
    """Return a float32 matrix as int8 [out, in + 4]: each row divided by its scale, which its last four bytes are.

    The scale of a row is its largest absolute value over 127, so that no number is off by more than half a scale.
    """
    scales = np.abs(matrix).max(1, keepdims=True) / 127
    safe = np.where(scales > 0, scales, 1).astype(np.float32)
    return np.concatenate([np.rint(matrix / safe).astype(np.int8), safe.view(np.int8)], 1)


def quantize(model: nn.Cell) -> None:
    """Turn the matrices of a model's linear layers, its table of tokens and that of its head into rows of int8.

    What is left has its type; norms, biases and tables of positions are small. The model can no longer be trained or
    saved. Raises UsageError without the kernels that read such rows.
    """
    if not library.usable():
        raise UsageError(
            "weights of int8 are read by the kernels of the CPU alone, which are not there (the log says why); "
            "take float32, float16 or bfloat16"
        )
    head = getattr(model, "head", None)
    if hasattr(head, "weight"):
        head.weight = _parameter(head.weight, model.arch.normalizes_head)
        head.normalizes = False
    for _, cell in model.cells_and_names():
        if isinstance(cell, Linear) or cell is model.embed.tokens:
            cell.weight = _parameter(cell.weight)
    for parameter in model.get_parameters():
        parameter.requires_grad = False


def _parameter(weight: Parameter, as_units: bool = False) -> Parameter:
    """Return the rows of a matrix, on request of length 1, as int8."""
    pieces = []
    for first in range(0, weight.shape[0], ROWS_AT_A_TIME):
        rows = weight[first : first + ROWS_AT_A_TIME].astype(mstype.float32).asnumpy()
        if as_units:
            rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        pieces.append(rows_of_int8(rows))
    return Parameter(Tensor(np.concatenate(pieces), ms.int8), name=weight.name, requires_grad=False)


def is_quantized(model: nn.Cell) -> bool:
    """Say whether `quantize` was called for a model."""
    return any(parameter.dtype == mstype.int8 for parameter in model.get_parameters())
