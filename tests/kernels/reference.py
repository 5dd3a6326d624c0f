"""Operators of the kernels in PyTorch's float64, and how their results and gradients are compared."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import torch
from mindspore import Tensor, ops

from mindformers.nn.quantize import SCALE_BYTES, rows_of_int8

BOUNDS = {ms.float32: 2e-6, ms.bfloat16: 1e-2}
"""Largest L2 norm of a difference over the norm of the reference. float32: some roundings of 6e-8, in long sums;
bfloat16: eight bits of mantissa, 2e-3 on average for a rounding, and a few of them one after the other."""

RNG = np.random.default_rng(5)
START = RNG.bit_generator.state

NO_WORDS = Tensor(np.zeros(1, np.int32))
"""In the place of dropout's words."""


def normal(*shape, scale=1.0, dtype=ms.float32) -> Tensor:
    """Return random numbers that `dtype` holds exactly; of int8 rows with their scales."""
    numbers = (RNG.standard_normal(shape) * scale).astype(np.float32)
    return Tensor(rows_of_int8(numbers)) if dtype == ms.int8 else Tensor(numbers).astype(dtype)


def wide(x: Tensor) -> np.ndarray:
    """Return the numbers of a tensor in float64."""
    if x.dtype == ms.int8:
        rows = x.asnumpy()
        return rows[:, :-SCALE_BYTES].astype(np.float64) * rows[:, -SCALE_BYTES:].copy().view(np.float32)
    return x.astype(ms.float32).asnumpy().astype(np.float64)


def double(value: Tensor):
    """Return PyTorch's float64 of a tensor of floating type, ready for gradients, and any other as an array."""
    if value.dtype in (ms.int32, ms.float64):
        return value.asnumpy()
    return torch.tensor(wide(value), requires_grad=True)


def words(rows: int, columns: int, first: int):
    """Return random words of dropout, with `first` rows that belong to others."""
    draw = [RNG.integers(-(2**31), 2**31, size, dtype=np.int32) | 1 for size in (first + rows, columns)]
    return Tensor(draw[0]), Tensor(draw[1])


def kept(rows: Tensor, columns: Tensor, first: int, rate: float) -> torch.Tensor:
    """Return the mask of nn/dropout.py, scaled, [rows, columns]."""
    product = (rows.asnumpy()[first:, None].astype(np.int64) * columns.asnumpy()[None, :]).astype(np.uint32)
    is_kept = product.astype(np.int32) >= int(rate * 2**32) - 2**31
    return torch.tensor(is_kept / (1 - rate))


def close(found: Tensor, expected: torch.Tensor, bound: float, what: str) -> None:
    found_array, expected_array = wide(found), expected.detach().numpy()
    assert found_array.shape == expected_array.shape, what
    norm = np.linalg.norm(expected_array)
    if expected_array.size == 1:  # a sum whose terms of size 1 may nearly cancel
        norm = max(norm, 1.0)
    error = np.linalg.norm(found_array - expected_array) / (norm if norm > 1e-6 else 1.0)
    assert error < bound, f"{what}: {error:.2e} is above {bound:.0e}"


def check(cell, formula, inputs, dtype) -> None:
    """Compare result and gradients of a cell with those of `formula`, which gets the same inputs in float64.

    Gradients are compared where PyTorch has one; `cell` may return what it keeps as second result.
    """
    found = cell(*inputs)
    first = found[0] if isinstance(found, tuple) else found
    references = [double(value) for value in inputs]
    expected = formula(*references)
    close(first, expected, BOUNDS[dtype], "result")
    grad = normal(*first.shape, dtype=first.dtype)
    expected.backward(torch.tensor(wide(grad)))
    zero = ops.zeros_like(found[1]) if isinstance(found, tuple) else None
    found_grads = cell.bprop(*inputs, found, (grad, zero) if zero is not None else grad)
    compared = 0
    for place, (reference, own) in enumerate(zip(references, found_grads)):
        if isinstance(reference, torch.Tensor) and reference.grad is not None:
            close(own, reference.grad, BOUNDS[dtype], f"gradient {place}")
            compared += 1
    assert compared
