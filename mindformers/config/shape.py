"""What the schema says may stand at a place of a configuration tree, before that tree is validated."""

from __future__ import annotations

import dataclasses
import functools
from typing import Annotated, Any, Dict, Optional, Tuple, Union, get_args, get_origin, get_type_hints

from mindformers.catalog import REGISTRY
from mindformers.config.component import Kind
from mindformers.errors import UnknownNameError


@functools.cache
def unwrap(hint: Any) -> Tuple[Any, Optional[Kind]]:
    """Return a hint without Optional and Annotated, and the component kind it was annotated with."""
    if get_origin(hint) is Annotated:
        base, *notes = get_args(hint)
        kinds = [note for note in notes if isinstance(note, Kind)]
        return unwrap(base)[0], kinds[0] if kinds else None
    if get_origin(hint) is Union:
        members = [member for member in get_args(hint) if member is not type(None)]
        if len(members) == 1:
            return unwrap(members[0])
    return hint, None


def options_class(kind: Kind, value: Dict[str, Any]) -> Optional[type]:
    """Return the options dataclass that a component's `type` takes, None when the type is missing or unknown."""
    name = value.get("type", kind.default)
    try:
        return REGISTRY.options(kind.module_type, name) if isinstance(name, str) else None
    except UnknownNameError:
        return None


def section_class(hint: Any, value: Any) -> Optional[type]:
    """Return the dataclass whose fields are the keys of mapping `value`, None where keys are free."""
    base, kind = unwrap(hint)
    if kind is not None and isinstance(value, dict):
        return options_class(kind, value)
    return base if isinstance(base, type) and dataclasses.is_dataclass(base) else None


@functools.cache
def hints(cls: type) -> Dict[str, Any]:
    """Return field name -> annotation of a dataclass."""
    names = {item.name for item in dataclasses.fields(cls)}
    return {name: hint for name, hint in get_type_hints(cls, include_extras=True).items() if name in names}


def item_hint(hint: Any) -> Any:
    """Return the annotation of a list's items, Any where it has none."""
    base, _ = unwrap(hint)
    arguments = get_args(base)
    return arguments[0] if get_origin(base) is list and arguments else Any


def takes_text_only(hint: Any) -> bool:
    """Say whether the only thing that may stand here is text (or null)."""
    return unwrap(hint)[0] is str
