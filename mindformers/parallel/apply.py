"""Put the layouts of `rules.OPERATORS` on the operators of a built model, from outside.

For MindSpore's `auto_parallel` mode with `sharding_propagation`: the operators placed here decide, the others follow.
MindSpore 2.10 cannot place operators of a cell that writes its own backward pass (`bprop`): there shapes of slices meet
shapes of the whole. Such cells have to leave it to differentiation before they are compiled in parallel.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Dict, Optional, Tuple

from mindspore import nn

from mindformers.errors import UsageError
from mindformers.parallel.job import Job
from mindformers.parallel.placement import place
from mindformers.parallel.rules import OPERATORS

Strategy = Tuple[Tuple[int, ...], ...]
"""Parts of each dimension of each input."""

OPERATOR_NAMES = sorted({pattern.rpartition(".")[2] for pattern, _ in OPERATORS})


def apply(model: nn.Cell, job: Job) -> Dict[str, Strategy]:
    """Place the operators of `model` as `job` says; returns operator -> strategy.

    Raises UsageError when the product with a split parameter is not among them: rules and cells disagree.
    """
    placed: Dict[str, Strategy] = {}
    for path, cell in model.cells_and_names():
        for name in OPERATOR_NAMES:
            strategy = strategy_of(f"{path}.{name}", job)
            if strategy is not None and hasattr(cell, name):
                getattr(cell, name).shard(strategy)
                placed[f"{path}.{name}"] = strategy
    missing = [
        item.path
        for item in place(job)
        if item.splits_layer
        and "layers." in item.path
        and item.path.endswith(".weight")
        and item.path.replace(".weight", ".product.matmul") not in placed
    ]
    if missing:
        raise UsageError(f"no operator is placed for {missing[0]}: parallel/rules.py and the model's cells disagree")
    return placed


def strategy_of(operator: str, job: Job) -> Optional[Strategy]:
    """Return how the inputs of an operator are split, None for one that no rule places."""
    for pattern, inputs in OPERATORS:
        if fnmatchcase(operator, pattern):
            return tuple(tuple(job.ways(dim) for dim in dims) for dims in inputs)
    return None
