"""Put weights into a model: names and shapes are all compared first, so a failure changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from mindspore import Parameter, Tensor, nn

from mindformers.errors import CheckpointError, counted
from mindformers.weights.mapping import Plan, WeightMap, near
from mindformers.weights.readers import WeightFiles, read_weights


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
    model: nn.Cell, source: Path, weight_map: Optional[WeightMap] = None, new_parameters: Sequence[str] = ()
) -> LoadReport:
    """Fill the parameters of `model` from a folder or file with our names or, through `weight_map`, another library's.

    `new_parameters` are patterns of paths (``head.*``) that may be absent altogether and then stay as they are.
    Raises CheckpointError with every missing, unexpected or misshapen name.
    """
    files = read_weights(Path(source))
    parameters = {item.name: item for item in model.get_parameters()}
    run_state = getattr(model, "run_state", ())
    wanted = [name for name in parameters if name not in run_state or name in files]
    own = sum(name in parameters for name in files)
    if own or weight_map is None:
        known = set(files) & set(wanted)
        plan = Plan({name: name for name in known}, {}, sorted(set(wanted) - known), sorted(set(files) - known))
    else:
        plan = weight_map.plan(files, wanted)
    fresh = _fresh(plan.missing, wanted, new_parameters)
    problems = _mismatches(plan, parameters, files, fresh)
    if problems:
        raise CheckpointError(
            str(source),
            problems,
            "The weights belong to another model; nothing was changed. Compare "
            "model.model_config with the config.json of the weights.",
        )
    for path, name in plan.sources.items():
        parameter = parameters[path]
        parameter.set_data(Tensor(files[name]).astype(parameter.dtype))
    return LoadReport(Path(source), len(plan.sources), fresh, plan.ignored)


def _fresh(missing: Sequence[str], wanted: Sequence[str], patterns: Sequence[str]) -> List[str]:
    """Return the missing paths that may be new: those under a pattern of which the file has nothing at all."""
    fresh: List[str] = []
    for pattern in patterns:
        group = [path for path in wanted if fnmatch(path, pattern)]
        if group and all(path in missing for path in group):
            fresh += group
    return fresh


def _mismatches(plan: Plan, parameters: Dict[str, Parameter], files: WeightFiles, fresh: Sequence[str]) -> List[str]:
    problems = [f"{path} {list(parameters[path].shape)}: missing" for path in plan.missing if path not in fresh]
    for name in plan.unexpected:
        nearest = near(name, parameters)
        problems.append(
            f"{name} {list(files.shape(name))}: unknown{f'; the nearest path is {nearest}' if nearest else ''}"
        )
    for path, name in plan.sources.items():
        if files.shape(name) != tuple(parameters[path].shape):
            known_as = "" if name == path else f" (as {name})"
            problems.append(
                f"{path}{known_as}: shape {list(files.shape(name))} in the file, "
                f"{list(parameters[path].shape)} in the model"
            )
    return problems
