"""Print a configuration as YAML with the origin of every value behind it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Iterator, List

from mindformers.config.check import Checked
from mindformers.config.component import Component
from mindformers.config.layers import Merged
from mindformers.config.source import KeyPath

DEFAULT = "default"
COLUMN = 64
"""Column that origins start in, where the value leaves room."""


def plain(value: Any) -> Any:
    """Return a checked configuration as dicts, lists and scalars, defaults included."""
    if isinstance(value, Component):
        return {"type": value.type, **plain(value.options)}
    if dataclasses.is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def explain(checked: Checked, defaults: bool = False) -> str:
    """Return the merged configuration, one line a value, with ``# file:line``; `defaults` adds what nobody wrote."""
    return "\n".join(_lines(plain(checked.run), (), checked.merged, defaults))


def _lines(value: Any, path: KeyPath, merged: Merged, defaults: bool) -> Iterator[str]:
    indent = "  " * len(path)
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        here = path + (key,)
        written = any(known[: len(here)] == here for known in merged.origins)
        if not written and not defaults and not (key == "type" and path in merged.origins):
            continue
        head = f"{indent}-" if isinstance(key, int) else f"{indent}{key}:"
        if isinstance(item, (dict, list)) and item:
            inner: List[str] = list(_lines(item, here, merged, defaults))
            if inner and isinstance(key, int):  # the dash stands before the first key of the item
                inner[0] = f"{head} {inner[0].lstrip()}"
            elif inner:
                yield head
            yield from inner
            continue
        origin = merged.origins.get(here, DEFAULT)
        yield f"{head} {_scalar(item)}".ljust(COLUMN) + f"  # {origin}"


READ_AS_OTHER = ("true", "false", "yes", "no", "on", "off", "y", "n", "null")
"""Words that YAML does not take for text."""


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        plain_word = value and value.replace("_", "").replace("-", "").replace("/", "").replace(".", "").isalnum()
        is_text = plain_word and not value[0].isdigit() and value.lower() not in READ_AS_OTHER
        return value if is_text else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)
