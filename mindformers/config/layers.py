"""Layers of configuration: `base_config` files below, the run file above them, flags on top; merged deep, later wins.

`null` deletes a key and a list replaces a list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from mindformers.config.source import KeyPath, Layer, dotted, read_file, shown
from mindformers.errors import ConfigError, Problem, counted

BASE_KEY = "base_config"

MOVED_SECTIONS = (
    (("train_dataset_task", "dataset_config"), "train_dataset"),
    (("eval_dataset_task", "dataset_config"), "eval_dataset"),
)
"""Published files repeat a dataset section by a YAML alias; both paths name the same section here."""


@dataclass
class Merged:
    """The tree of a run before it is typed, with the origin of every value and one line per outdated spelling."""

    tree: Dict[str, Any] = field(default_factory=dict)
    origins: Dict[KeyPath, str] = field(default_factory=dict)
    ranks: Dict[KeyPath, int] = field(default_factory=dict)
    """Which layer wrote a value; a higher number is a later layer."""
    outdated: List[str] = field(default_factory=list)
    """One line for every outdated spelling."""
    unused: List[str] = field(default_factory=list)
    """One line for every key that has no effect here."""
    retyped: Dict[KeyPath, List[str]] = field(default_factory=dict)
    """Components whose `type` a later layer changed, with the options they inherit from the earlier type."""

    def origin(self, path: KeyPath) -> str:
        """Return where the value at `path`, or its nearest enclosing key, was written."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.origins:
                return self.origins[path[:end]]
        return ""


def load(path: Path, overrides: Sequence[Layer] = ()) -> Merged:
    """Merge the file at `path`, its bases below it and `overrides` (later ones win) above it."""
    return merge([*_with_bases(path, ()), *overrides])


def merge(layers: Sequence[Layer]) -> Merged:
    """Merge layers in order, each over the ones before it."""
    merged = Merged()
    for rank, layer in enumerate(layers):
        for old, new in MOVED_SECTIONS:
            _move(layer, old, new)
        _lay_over(merged, layer.tree, (), layer, rank)
    return merged


def _with_bases(path: Path, chain: Tuple[Path, ...]) -> List[Layer]:
    path = path.resolve()
    if path in chain:
        cycle = " -> ".join(shown(item) for item in (*chain, path))
        raise ConfigError([Problem(BASE_KEY, f"files include each other: {cycle}", shown(path))])
    layer = read_file(path)
    bases = layer.tree.pop(BASE_KEY, None) or []
    place = layer.origins.get((BASE_KEY,), shown(path))
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError([Problem(BASE_KEY, "must be a list of file names, relative to this file", place)])
    missing = [base for base in bases if not (path.parent / base).is_file()]
    if missing:
        raise ConfigError([Problem(BASE_KEY, f"no such file: {shown(path.parent / base)}", place) for base in missing])
    layers: List[Layer] = []
    for base in bases:
        layers.extend(_with_bases(path.parent / base, (*chain, path)))
    return [*layers, layer]


def _move(layer: Layer, old: Tuple[str, str], new: str) -> None:
    """Fold the section at `old` into the top-level section `new` of the same layer, whose own keys win."""
    parent = layer.tree.get(old[0])
    if not isinstance(parent, dict) or not isinstance(parent.get(old[1]), dict):
        return
    moved = parent.pop(old[1])
    kept = layer.tree.get(new)
    layer.tree[new] = {**moved, **(kept if isinstance(kept, dict) else {})}
    for path in [item for item in layer.origins if item[:2] == old]:
        layer.origins.setdefault((new, *path[2:]), layer.origins.pop(path))


def _lay_over(merged: Merged, tree: Dict[str, Any], path: KeyPath, layer: Layer, rank: int) -> None:
    target = _at(merged.tree, path)
    for key, value in tree.items():
        here = path + (key,)
        old = target.get(key)
        if value is None:
            _forget(merged, here)
            target.pop(key, None)
            continue
        if isinstance(value, dict) and isinstance(old, list) and value and all(index.isdigit() for index in value):
            _lay_over_items(merged, value, here, layer, rank)
            continue
        if isinstance(value, dict) and isinstance(old, dict):
            if value.get("type", old.get("type")) != old.get("type"):
                merged.retyped[here] = [option for option in old if option not in value]
        else:
            _forget(merged, here)
            target[key] = {} if isinstance(value, dict) else value
        merged.ranks[here] = rank
        merged.origins[here] = layer.origins.get(here, "")
        if isinstance(value, dict):
            _lay_over(merged, value, here, layer, rank)
        elif isinstance(value, list):
            inner = {item: origin for item, origin in layer.origins.items() if item[: len(here)] == here}
            merged.origins.update(inner)
            merged.ranks.update(dict.fromkeys(inner, rank))


def _lay_over_items(merged: Merged, items: Dict[str, Any], path: KeyPath, layer: Layer, rank: int) -> None:
    """Change single items of a list, as ``--options callbacks.0.per_print_times=5`` does."""
    target = _at(merged.tree, path)
    for index, value in items.items():
        if int(index) >= len(target):
            origin = layer.origins.get(path + (index,), "")
            raise ConfigError(
                [Problem(dotted(path), f"has no item {index}; it holds {counted(len(target), 'item')}", origin)]
            )
        if isinstance(value, dict) and isinstance(target[int(index)], dict):
            here = path + (int(index),)
            renamed = {
                path + (int(index), *item[len(here) :]): origin
                for item, origin in layer.origins.items()
                if item[: len(here)] == path + (index,)
            }
            _lay_over(merged, value, here, Layer(value, renamed), rank)
        else:
            target[int(index)] = value


def _forget(merged: Merged, path: KeyPath) -> None:
    for record in (merged.origins, merged.ranks, merged.retyped):
        for known in [item for item in record if item[: len(path)] == path]:
            del record[known]


def _at(tree: Any, path: KeyPath) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def override(path: KeyPath, value: Any, origin: str) -> Layer:
    """Return a layer that sets one value, as a flag does."""
    layer = Layer({})
    tree: Any = layer.tree
    for depth, key in enumerate(path[:-1]):
        tree[key] = {}
        tree = tree[key]
        layer.origins[path[: depth + 1]] = origin
    tree[path[-1]] = value
    layer.origins[path] = origin
    return layer
