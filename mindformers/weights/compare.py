"""What keeps the tensors of a file from being the parameters of a model: found before any of them is read."""

from __future__ import annotations

from typing import Collection, List, Mapping, Tuple

from mindformers.weights.layout import cut_shape, joined_shape
from mindformers.weights.mapping import Plan, Step, near
from mindformers.weights.readers import WeightFiles

RUN_STATE = {"dropout.state": "state of a training run"}
"""What a run's checkpoint holds among the weights -> why it is left out."""


def native_plan(names: Collection[str], paths: Collection[str]) -> Plan:
    """Return how the names of a file meet the paths of a model when they are the same."""
    wanted, held = set(paths), set(names)
    steps = [Step(name, (name,)) for name in names if name in wanted]
    ignored = {name: RUN_STATE[name] for name in names if name in RUN_STATE}
    unexpected = [name for name in names if name not in wanted and name not in ignored]
    return Plan(steps, ignored, sorted(wanted - held), unexpected)


def mismatches(
    plan: Plan, shapes: Mapping[str, Tuple[int, ...]], files: WeightFiles, fresh: Collection[str] = ()
) -> List[str]:
    """Return a line for every missing path but `fresh`, unknown name and wrong shape; `shapes` is of our paths."""
    problems = [f"{path} {list(shapes[path])}: missing" for path in plan.missing if path not in fresh]
    for name in plan.unexpected:
        nearest = near(name, shapes)
        problems.append(
            f"{name} {list(files.shape(name))}: unknown{f'; the nearest path is {nearest}' if nearest else ''}"
        )
    for step in plan.steps:
        shape, name = files.shape(step.theirs), step.theirs
        for path in step.paths:
            wanted = tuple(shapes[path])
            if len(shape) != len(wanted) or cut_shape(step, shape) != wanted:
                known_as = "" if name == path else f" (as {name})"
                whole = joined_shape(step, wanted)
                problems.append(f"{path}{known_as}: shape {list(shape)} in the file, {list(whole)} in the model")
    return problems
