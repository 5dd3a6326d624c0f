"""How parameters lie in the tensors of a file: cut a tensor into parameters, or put parameters together again.

Both directions follow from the same fields of `mapping.Step`; `num_heads` is needed where a tensor goes head by head.
"""

from __future__ import annotations

from typing import List, Sequence, Tuple

import numpy as np

from mindformers.weights.mapping import Step


def cut(step: Step, array: np.ndarray, num_heads: int) -> List[np.ndarray]:
    """Return the parameters in `array`, in the order of step.paths; they may be views of it."""
    if step.transposed:
        array = array.T
    parts, tail = len(step.paths), array.shape[1:]
    if parts == 1:
        return [array]
    if step.packing == "rows":
        return list(array.reshape(parts, -1, *tail))
    by_head = array.reshape(num_heads, parts, -1, *tail)
    return [by_head[:, part].reshape(-1, *tail) for part in range(parts)]


def join(step: Step, arrays: Sequence[np.ndarray], num_heads: int) -> np.ndarray:
    """Return the tensor that holds `arrays`, in the order of step.paths."""
    tail = arrays[0].shape[1:]
    if len(arrays) == 1:
        array = arrays[0]
    elif step.packing == "rows":
        array = np.concatenate(arrays)
    else:
        array = np.stack([part.reshape(num_heads, -1, *tail) for part in arrays], axis=1).reshape(-1, *tail)
    return array.T if step.transposed else array


def cut_shape(step: Step, shape: Sequence[int]) -> Tuple[float, ...]:
    """Return the shape of each parameter in a tensor of `shape`; a fraction says that the rows do not divide."""
    ours = tuple(reversed(shape)) if step.transposed else tuple(shape)
    rows, parts = ours[0], len(step.paths)
    return (rows // parts if rows % parts == 0 else rows / parts, *ours[1:])


def joined_shape(step: Step, shape: Sequence[int]) -> Tuple[int, ...]:
    """Return the shape of the tensor that holds parameters of `shape`, one for each of step.paths."""
    ours = (shape[0] * len(step.paths), *shape[1:])
    return tuple(reversed(ours)) if step.transposed else ours
