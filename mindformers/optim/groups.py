"""Which parameters decay, and how fast each one learns: a decision about paths, without tensors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from mindformers.errors import UsageError, counted

NO_DECAY = ("*norm*", "*.bias", "*.relative.weight")
"""Path patterns of what is not decayed by default: scales and shifts of normalisation, and biases, T5's of relative
positions included."""

LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
EMBEDDING = re.compile(r"(?:^|\.)embed(?:dings?)?\.")


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share their weight decay and their factor on the learning rate."""

    weight_decay: float
    paths: Tuple[str, ...]
    learning_rate_scale: float = 1.0


def decay_groups(
    paths: Iterable[str], weight_decay: float, no_decay: Sequence[str] = NO_DECAY, layer_decay: Optional[float] = None
) -> Tuple[ParameterGroup, ...]:
    """Sort parameter `paths` into groups, in the order of first appearance.

    A path that matches one of the patterns `no_decay` has weight decay 0. With `layer_decay` d the layers learn at
    d^(distance from the top): the head at 1, the last layer at d, the embeddings slowest (Clark et al. 2020,
    arXiv:2003.10555, appendix A).

    Raises:
        UsageError: for a path given twice, a negative decay, or a pattern that matches nothing and so would have no
            effect (the default patterns may).
    """
    listed = list(paths)
    _check(listed, weight_decay, no_decay, layer_decay)
    depth = max((int(match.group(1)) for match in map(LAYER.search, listed) if match), default=-1) + 1
    members: Dict[Tuple[float, float], List[str]] = {}
    for path in listed:
        decay = 0.0 if any(fnmatchcase(path, pattern) for pattern in no_decay) else float(weight_decay)
        scale = 1.0 if layer_decay is None else float(layer_decay) ** (depth + 1 - _height(path, depth))
        members.setdefault((decay, scale), []).append(path)
    return tuple(ParameterGroup(decay, tuple(names), scale) for (decay, scale), names in members.items())


def _height(path: str, depth: int) -> int:
    """Return how high `path` stands: embeddings 0, layer i at i + 1, all above the stack at `depth` + 1."""
    layer = LAYER.search(path)
    if layer:
        return int(layer.group(1)) + 1
    return 0 if EMBEDDING.search(path) else depth + 1


def _check(paths: Sequence[str], weight_decay: float, no_decay: Sequence[str], layer_decay: Optional[float]) -> None:
    twice = sorted({path for path in paths if paths.count(path) > 1}) if len(set(paths)) < len(paths) else []
    if twice:
        raise UsageError(f"{counted(len(twice), 'parameter')} given twice: {', '.join(twice)}")
    if weight_decay < 0:
        raise UsageError(f"weight_decay is {weight_decay}; it must be 0 or more")
    if layer_decay is not None and not 0 < layer_decay <= 1:
        raise UsageError(f"layer_decay is {layer_decay}; it must be above 0 and at most 1")
    idle = [
        pattern
        for pattern in no_decay
        if pattern not in NO_DECAY and not any(fnmatchcase(path, pattern) for path in paths)
    ]
    if idle:
        raise UsageError(
            f"no parameter matches the no-decay pattern {', '.join(map(repr, idle))}; "
            f"paths look like {', '.join(paths[:3])}"
        )
