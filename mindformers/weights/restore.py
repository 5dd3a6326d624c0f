"""Put weights into a model: names and shapes are all compared first, so a failure changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Union

import numpy as np
from mindspore import Tensor, nn

from mindformers.errors import CheckpointError, counted
from mindformers.weights.adapter import adapted
from mindformers.weights.compare import mismatches
from mindformers.weights.layout import cut
from mindformers.weights.mapping import Plan, Step, WeightMap
from mindformers.weights.readers import WeightFiles, read_weights

NEW_HEAD = ("head.*", "pooler.*")
"""Paths that may start fresh when weights of another task are loaded."""


@dataclass(frozen=True)
class LoadReport:
    """What loading did."""

    source: Path
    loaded: int
    """Parameters that were filled."""
    fresh: List[str] = field(default_factory=list)
    """Parameters that keep their first values, because the file cannot have them."""
    ignored: Dict[str, str] = field(default_factory=dict)
    """Names in the file that were not needed -> why."""

    def __str__(self) -> str:
        text = f"{counted(self.loaded, 'parameter')} from {self.source}"
        if self.fresh:
            text += f"; freshly initialised: {', '.join(self.fresh)}"
        if self.ignored:
            reasons = sorted(set(self.ignored.values()))
            text += f"; {len(self.ignored)} in the file not needed ({'; '.join(reasons)})"
        return text


def load_weights(
    model: nn.Cell,
    source: Path,
    weight_map: Optional[WeightMap] = None,
    new_parameters: Sequence[str] = (),
    adapter: Optional[Union[str, Path]] = None,
) -> LoadReport:
    """Fill the parameters of `model` from a folder or file with our names or, through `weight_map`, another library's.

    `new_parameters` are patterns of paths (``head.*``) that may be absent altogether and then stay as they are;
    `adapter` is a folder whose low-rank changes are added to the weights. Raises CheckpointError with every missing,
    unexpected or misshapen name.
    """
    files = read_weights(Path(source))
    if adapter is not None:
        files = adapted(files, Path(adapter))
    parameters = {item.name: item for item in model.get_parameters()}
    run_state = getattr(model, "run_state", ())
    wanted = [name for name in parameters if name not in run_state or name in files]
    plan = _plan(files, wanted, weight_map)
    fresh = _fresh(plan.missing, wanted, new_parameters)
    shapes = {path: tuple(parameter.shape) for path, parameter in parameters.items()}
    problems = mismatches(plan, shapes, files, fresh)
    if problems:
        raise CheckpointError(
            str(source),
            problems,
            "The weights belong to another model; nothing was changed. Compare "
            "model.model_config with the config.json of the weights.",
        )
    num_heads = getattr(getattr(model, "arch", None), "num_heads", 1)
    for step in plan.steps:
        for path, array in zip(step.paths, cut(step, files[step.theirs], num_heads)):
            parameters[path].set_data(Tensor(np.ascontiguousarray(array)).astype(parameters[path].dtype))
    return LoadReport(Path(source), sum(len(step.paths) for step in plan.steps), fresh, plan.ignored)


def _plan(files: WeightFiles, wanted: Sequence[str], weight_map: Optional[WeightMap]) -> Plan:
    """Return the plan of the weight map, or when most names in the file are ours that of equal names."""
    known = sorted(set(files) & set(wanted))
    if 2 * len(known) <= len(files) and weight_map is not None:
        return weight_map.plan(files, wanted)
    missing, surplus = sorted(set(wanted) - set(known)), sorted(set(files) - set(known))
    ignored = {name: "this model has no such part" for name in surplus if weight_map and weight_map.may_lack(name)}
    unexpected = [name for name in surplus if name not in ignored]
    return Plan([Step(name, (name,)) for name in known], ignored, missing, unexpected)


def _fresh(missing: Sequence[str], wanted: Sequence[str], patterns: Sequence[str]) -> List[str]:
    """Return the missing paths that may be new: those under a pattern of which the file has nothing at all."""
    fresh: List[str] = []
    for pattern in patterns:
        group = [path for path in wanted if fnmatch(path, pattern)]
        if group and all(path in missing for path in group):
            fresh += group
    return fresh
