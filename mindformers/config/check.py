"""From a file to a `RunConfig`: merge, settle, validate, then the rules across sections; all problems at once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence

from pydantic import ValidationError

from mindformers.config import cross
from mindformers.config.component import adapter
from mindformers.config.layers import Merged, load, merge
from mindformers.config.schema import RunConfig
from mindformers.config.settle import settle
from mindformers.config.shape import hints, item_hint, section_class
from mindformers.config.source import KeyPath, Layer, dotted
from mindformers.errors import ConfigError, Problem, suggestion

OF_BOTH = ("--dataset_dir", "--num_samples")
"""Flags for both datasets."""


@dataclass(frozen=True)
class Checked:
    """A usable configuration and where it came from."""

    run: RunConfig
    merged: Merged


def check_file(path: Path, overrides: Sequence[Layer] = ()) -> Checked:
    """Return the checked configuration of a file under `overrides`; raises ConfigError with every problem."""
    return check(load(Path(path), overrides))


def check_layers(layers: Sequence[Layer]) -> Checked:
    """Return the checked configuration of layers given in memory."""
    return check(merge(layers))


def check(merged: Merged) -> Checked:
    """Validate a merged tree; raises ConfigError with every problem that was found."""
    _drop_undescribed(merged)
    problems = settle(merged, RunConfig)
    _share_data(merged)
    try:
        config = adapter(RunConfig).validate_json(json.dumps(merged.tree), strict=True)
    except ValidationError as error:
        problems += [_problem(details, merged) for details in _flat(error, ())]
        raise ConfigError(problems) from None
    problems += cross.problems(config, merged)
    if problems:
        raise ConfigError(problems)
    return Checked(config, merged)


def _drop_undescribed(merged: Merged) -> None:
    """Drop a dataset that no layer describes: flags that set something of both datasets do not make one."""
    for name in ("train_dataset", "eval_dataset"):
        section = merged.tree.get(name)
        loader = section.get("data_loader") if isinstance(section, dict) and len(section) == 1 else None
        if isinstance(loader, dict) and all(merged.origin((name, "data_loader", key)) in OF_BOTH for key in loader):
            del merged.tree[name]


def _share_data(merged: Merged) -> None:
    """Let an evaluation dataset that says nothing of its place be found where the training data is."""
    path = ("data_loader", "dataset_dir")
    train, evaluation = (_section(merged.tree, (name, "data_loader")) for name in ("train_dataset", "eval_dataset"))
    if train.get("dataset_dir") and evaluation and "dataset_dir" not in evaluation:
        evaluation["dataset_dir"] = train["dataset_dir"]
        merged.origins[("eval_dataset", *path)] = f"{merged.origin(('train_dataset', *path))}, as train_dataset"


def _section(tree: Any, path: KeyPath) -> Dict[str, Any]:
    """Return what stands at `path` if it is a mapping, else an empty one."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else {}


def _flat(error: ValidationError, prefix: KeyPath) -> List[Dict[str, Any]]:
    """Return all errors, those inside components with the component's own place in front."""
    flat = []
    for details in error.errors(include_url=False):
        place = prefix + tuple(details["loc"])
        inner = details.get("ctx", {}).get("error")
        if isinstance(inner, ValidationError):
            flat.extend(_flat(inner, place))
        else:
            flat.append({**details, "loc": place})
    return flat


def _problem(details: Dict[str, Any], merged: Merged) -> Problem:
    path = _known_part(details["loc"], merged.tree)
    origin = merged.origin(path)
    if details["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return Problem(
            dotted(path), f"unknown key.{suggestion(str(path[-1]), _keys_at(path[:-1], merged.tree))}", origin
        )
    if details["type"] in ("missing", "missing_argument"):
        return Problem(dotted(details["loc"]), "missing; it has no default", merged.origin(details["loc"][:-1]))
    if details["type"] in ("component", "unknown_type"):
        return Problem(dotted(path), details["msg"], origin)
    message = details["msg"][:1].lower() + details["msg"][1:]
    return Problem(dotted(path), f"{message}; it is {details['input']!r}", origin)


def _known_part(path: KeyPath, tree: Any) -> KeyPath:
    """Return `path` up to where it leaves the tree: pydantic appends the members of a union it tried."""
    known: List[Any] = []
    for key in path:
        if not (isinstance(tree, dict) and key in tree or isinstance(tree, list) and isinstance(key, int)):
            break
        known.append(key)
        tree = tree[key]  # type: ignore[index]
    return tuple(known)


def _keys_at(path: KeyPath, tree: Any) -> List[str]:
    """Return the keys that the schema accepts at `path`."""
    hint: Any = RunConfig
    for key in path:
        cls = section_class(hint, tree)
        hint = item_hint(hint) if isinstance(key, int) else hints(cls).get(str(key), Any) if cls else Any
        tree = tree[key]
    cls = section_class(hint, tree)
    return sorted(hints(cls)) if cls else []
