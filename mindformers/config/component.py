"""Sections whose keys depend on their `type:`; the registry says which types there are and what each one takes."""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass
from typing import Any, Dict, Optional, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter
from pydantic_core import PydanticCustomError, core_schema

from mindformers.catalog import REGISTRY
from mindformers.errors import UnknownNameError


@dataclass(frozen=True)
class Component:
    """A named component and its checked options."""

    type: str
    """Canonical name in the registry."""
    options: Any
    """Instance of the options dataclass that the registry declares for `type`."""

    def arguments(self) -> Dict[str, Any]:
        """Return the options as keyword arguments, one level deep."""
        return {item.name: getattr(self.options, item.name) for item in dataclasses.fields(self.options)}


@dataclass(frozen=True)
class Kind:
    """Annotation of a `Component` field: the module type its `type:` is looked up in."""

    module_type: str
    default: Optional[str] = None
    """The type of a section that gives none."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validate)

    def validate(self, value: Any) -> Component:
        """Turn a plain mapping into a `Component`; raises what pydantic collects."""
        if not isinstance(value, dict):
            raise PydanticCustomError("component", "must be a mapping with the key 'type'")
        name = value.get("type", self.default)
        if not isinstance(name, str):
            known = ", ".join(REGISTRY.names(self.module_type))
            raise PydanticCustomError("component", "needs a 'type', one of: {known}", {"known": known})
        try:
            canonical = REGISTRY.canonical(self.module_type, name)
        except UnknownNameError as error:
            raise PydanticCustomError("unknown_type", "{message}", {"message": str(error)}) from None
        rest = {key: item for key, item in value.items() if key != "type"}
        options = REGISTRY.options(self.module_type, canonical)
        return Component(canonical, adapter(options).validate_json(json.dumps(rest), strict=True))


@functools.cache
def adapter(cls: type) -> TypeAdapter:
    """Return the strict validator of a dataclass; unknown keys are errors at every depth."""
    for item in _dataclasses_in(cls, set()):
        item.__pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)
    return TypeAdapter(cls)


def _dataclasses_in(cls: Any, seen: set) -> set:
    if dataclasses.is_dataclass(cls) and cls not in seen:
        seen.add(cls)
        for hint in get_type_hints(cls).values():
            _dataclasses_in(hint, seen)
    for argument in get_args(cls) if get_origin(cls) else ():
        _dataclasses_in(argument, seen)
    return seen
