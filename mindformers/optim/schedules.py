"""Learning-rate curves: one value for every optimizer step, worked out before training. NumPy only.

Entry `i` is the rate of the step that `i` steps precede. With a warm-up that starts at zero the first step therefore
has rate zero, as with Hugging Face's schedulers, which these curves equal when `lr_end` and `warmup_lr_init` are zero.
"""

from __future__ import annotations

import math
from typing import Callable, Optional

import numpy as np

from mindformers.errors import UsageError


def constant(learning_rate: float, *, total_steps: int) -> np.ndarray:
    """Return `learning_rate` at every step."""
    return _curve(learning_rate, total_steps, 0, 0.0, _stay)


def constant_with_warmup(
    learning_rate: float,
    *,
    total_steps: int,
    warmup_steps: int = 0,
    warmup_ratio: float = 0.0,
    warmup_lr_init: float = 0.0,
    lr_end: float = 0.0,
) -> np.ndarray:
    """Return a linear warm-up, then `learning_rate`.

    Raises:
        UsageError: for an `lr_end` above 0, which it would not fall to.
    """
    if lr_end:
        raise UsageError(
            f"lr_end is {lr_end}, but a constant schedule stays at learning_rate {learning_rate}; "
            "remove lr_end, or choose linear, cosine or polynomial"
        )
    warmup = warmup_length(total_steps, warmup_steps, warmup_ratio)
    return _curve(learning_rate, total_steps, warmup, warmup_lr_init, _stay)


def linear(
    learning_rate: float,
    *,
    total_steps: int,
    warmup_steps: int = 0,
    warmup_ratio: float = 0.0,
    warmup_lr_init: float = 0.0,
    lr_end: float = 0.0,
) -> np.ndarray:
    """Return a linear warm-up, then a straight line that would meet `lr_end` at step `total_steps`."""
    warmup = warmup_length(total_steps, warmup_steps, warmup_ratio)
    return _curve(learning_rate, total_steps, warmup, warmup_lr_init, lambda done: 1 - done, lr_end)


def polynomial(
    learning_rate: float,
    *,
    total_steps: int,
    warmup_steps: int = 0,
    warmup_ratio: float = 0.0,
    warmup_lr_init: float = 0.0,
    lr_end: float = 0.0,
    power: float = 1.0,
) -> np.ndarray:
    """Return a linear warm-up, then (1 - done)^power between `learning_rate` and `lr_end`."""
    warmup = warmup_length(total_steps, warmup_steps, warmup_ratio)
    return _curve(learning_rate, total_steps, warmup, warmup_lr_init, lambda done: (1 - done) ** power, lr_end)


def cosine(
    learning_rate: float,
    *,
    total_steps: int,
    warmup_steps: int = 0,
    warmup_ratio: float = 0.0,
    warmup_lr_init: float = 0.0,
    lr_end: float = 0.0,
    num_cycles: float = 0.5,
) -> np.ndarray:
    """Return a linear warm-up, then `num_cycles` waves of a cosine between `learning_rate` and `lr_end`.

    Half a cycle, the default, falls once (Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts).
    """
    warmup = warmup_length(total_steps, warmup_steps, warmup_ratio)

    def wave(done: np.ndarray) -> np.ndarray:
        return 0.5 * (1 + np.cos(2 * math.pi * num_cycles * done))

    return _curve(learning_rate, total_steps, warmup, warmup_lr_init, wave, lr_end)


def cosine_with_restarts(
    learning_rate: float,
    *,
    total_steps: int,
    warmup_steps: int = 0,
    warmup_ratio: float = 0.0,
    warmup_lr_init: float = 0.0,
    lr_end: float = 0.0,
    num_cycles: float = 1.0,
) -> np.ndarray:
    """Return a linear warm-up, then `num_cycles` falls of half a cosine, each restarting at `learning_rate`.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, section 3, with cycles of equal length.
    """
    warmup = warmup_length(total_steps, warmup_steps, warmup_ratio)

    def falls(done: np.ndarray) -> np.ndarray:
        return 0.5 * (1 + np.cos(math.pi * ((num_cycles * done) % 1.0)))

    return _curve(learning_rate, total_steps, warmup, warmup_lr_init, falls, lr_end)


def warmup_length(total_steps: int, warmup_steps: int = 0, warmup_ratio: float = 0.0) -> int:
    """Return the steps of the warm-up; a ratio above zero wins over a number and is rounded up.

    The product is formed in floating point, as Hugging Face does: 0.1 of 30 steps is 4.

    Raises:
        UsageError: for a negative number of steps or a ratio outside 0..1.
    """
    if not 0 <= warmup_ratio <= 1:
        raise UsageError(f"warmup_ratio is {warmup_ratio}; it is a share of all steps, between 0 and 1")
    if warmup_steps < 0:
        raise UsageError(f"warmup_steps is {warmup_steps}; it must be 0 or more")
    return math.ceil(total_steps * warmup_ratio) if warmup_ratio > 0 else warmup_steps


def _curve(
    learning_rate: float,
    total_steps: int,
    warmup_steps: int,
    warmup_lr_init: float,
    shape: Callable[[np.ndarray], np.ndarray],
    lr_end: Optional[float] = 0.0,
) -> np.ndarray:
    """Return float32 rates [total_steps]: up to `learning_rate`, then along `shape`, which maps 0..1 to 1..0."""
    if total_steps < 1:
        raise UsageError(f"a learning-rate schedule of {total_steps} steps; it needs at least 1")
    for name, value in (("learning_rate", learning_rate), ("lr_end", lr_end), ("warmup_lr_init", warmup_lr_init)):
        if not (math.isfinite(value) and value >= 0):
            raise UsageError(f"{name} is {value}; it must be a finite number, 0 or more")
    if lr_end > learning_rate:
        raise UsageError(f"lr_end {lr_end} is above learning_rate {learning_rate}; a schedule falls from the latter")
    step = np.arange(total_steps, dtype=np.float64)
    rising = warmup_lr_init + (learning_rate - warmup_lr_init) * step / max(1, warmup_steps)
    done = np.clip((step - warmup_steps) / max(1, total_steps - warmup_steps), 0.0, 1.0)
    falling = lr_end + (learning_rate - lr_end) * shape(done)
    return np.where(step < warmup_steps, rising, falling).astype(np.float32)


def _stay(done: np.ndarray) -> np.ndarray:
    """Return ones: the shape of a constant rate."""
    return np.ones_like(done)
