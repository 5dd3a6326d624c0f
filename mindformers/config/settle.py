"""Bring a merged tree to today's names, once its layers are merged and before it is validated.

Outdated names are renamed, keys without meaning here are dropped, options inherited from an earlier `type` that the
later type does not know are dropped, and text given on the command line becomes the value its place asks for. Each
rename and drop leaves one note.
"""

from __future__ import annotations

from typing import Any, List

import yaml

from mindformers.catalog import REGISTRY
from mindformers.config.component import Kind
from mindformers.config.layers import Merged
from mindformers.config.shape import hints, item_hint, section_class, takes_text_only, unwrap
from mindformers.config.source import KeyPath, dotted, read_text, scalar
from mindformers.errors import ConfigError, Problem, UnknownNameError


class Raw(str):
    """Text from the command line whose type is not known yet."""


def settle(merged: Merged, root: type) -> List[Problem]:
    """Rewrite `merged` in place for the schema class `root`; returns what cannot be settled."""
    problems: List[Problem] = []
    merged.tree = _value(root, merged.tree, (), merged, problems)
    return problems


def typed(text: str, hint: Any) -> Any:
    """Return what command-line text means where the schema expects `hint`; raises ConfigError for bad YAML."""
    if takes_text_only(hint):
        return None if text in ("null", "None", "~") else text
    if text[:1] in ("[", "{"):
        return read_text(f"value: {text}", "flag").tree["value"]
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return text
    if isinstance(node, yaml.ScalarNode) and node.style is not None:
        return node.value
    return None if text == "None" else scalar(text)


def _value(hint: Any, value: Any, path: KeyPath, merged: Merged, problems: List[Problem]) -> Any:
    if isinstance(value, Raw):
        try:
            value = typed(str(value), hint)
        except ConfigError as error:
            problems.extend(Problem(dotted(path), problem.message, merged.origin(path)) for problem in error.problems)
            return str(value)
    kind = unwrap(hint)[1]
    if kind is not None and isinstance(value, str):
        value = {"type": value}  # a bare name stands for a component without options
    if isinstance(value, list):
        return [_value(item_hint(hint), item, path + (index,), merged, problems) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if kind is not None:
        _component_type(kind, value, path, merged)
    cls = section_class(hint, value)
    if cls is None:
        return {key: _value(Any, item, path + (key,), merged, problems) for key, item in value.items()}
    if kind is not None:
        _drop_inherited(cls, value, path, merged)
    _rename(cls, value, path, merged)
    _drop_unused(cls, value, path, merged)
    _choose_rivals(cls, value, path, merged, problems)
    known = hints(cls)
    return {
        key: item
        if key == "type" and kind is not None
        else _value(known.get(key, Any), item, path + (key,), merged, problems)
        for key, item in value.items()
    }


def _component_type(kind: Kind, value: dict, path: KeyPath, merged: Merged) -> None:
    name = value.get("type")
    try:
        canonical = REGISTRY.canonical(kind.module_type, str(name)) if name is not None else None
    except UnknownNameError:
        return  # validation reports it
    if canonical is not None and canonical != name:
        merged.outdated.append(
            f"{merged.origin(path + ('type',))}: {dotted(path)}.type: '{name}' is called '{canonical}' now"
        )
        value["type"] = canonical


def _drop_inherited(cls: type, value: dict, path: KeyPath, merged: Merged) -> None:
    for key in merged.retyped.get(path, ()):
        known = {"type", *hints(cls), *getattr(cls, "OLD_NAMES", {}), *getattr(cls, "UNUSED", {})}
        if key in value and key not in known:
            merged.unused.append(
                f"{merged.origin(path + (key,))}: {dotted(path + (key,))}: dropped; "
                f"'{value.get('type')}' of a later layer does not take it"
            )
            del value[key]


def _rename(cls: type, value: dict, path: KeyPath, merged: Merged) -> None:
    for old, new in getattr(cls, "OLD_NAMES", {}).items():
        if old not in value:
            continue
        origin, rank = merged.origin(path + (old,)), merged.ranks.get(path + (old,), 0)
        merged.outdated.append(f"{origin}: {dotted(path + (old,))}: outdated name; write '{new}'")
        moved = value.pop(old)
        *parents, last = new.split(".")
        target, here = value, path
        for parent in parents:
            target, here = target.setdefault(parent, {}), here + (parent,)
        if last not in target or rank > merged.ranks.get(here + (last,), -1):
            target[last] = moved
            for known in [item for item in merged.origins if item[: len(path) + 1] == path + (old,)]:
                merged.origins[here + (last, *known[len(path) + 1 :])] = merged.origins[known]
            merged.ranks[here + (last,)] = rank


def _drop_unused(cls: type, value: dict, path: KeyPath, merged: Merged) -> None:
    for key, why in getattr(cls, "UNUSED", {}).items():
        if key in value:
            merged.unused.append(f"{merged.origin(path + (key,))}: {dotted(path + (key,))}: has no effect: {why}")
            del value[key]


def _choose_rivals(cls: type, value: dict, path: KeyPath, merged: Merged, problems: List[Problem]) -> None:
    """Of two keys that say the same thing in two ways, the later layer's one counts."""
    for one, other in getattr(cls, "RIVALS", {}).items():
        if one in value and other in value:
            ranks = {key: merged.ranks.get(path + (key,), 0) for key in (one, other)}
            if ranks[one] == ranks[other]:
                message = f"says the same as '{other}' in another way; give one of them"
                problems.append(Problem(dotted(path + (one,)), message, merged.origin(path + (one,))))
            del value[min(ranks, key=lambda key: ranks[key])]
