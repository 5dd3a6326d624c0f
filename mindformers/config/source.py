"""YAML text into plain values, with the place every value was written at."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Tuple, Union

import yaml

from mindformers.errors import ConfigError, Problem

Key = Union[str, int]
KeyPath = Tuple[Key, ...]

MAX_DEPTH = 20
"""Levels a configuration may be nested."""

# YAML 1.2 core schema, so that 1e-5 is a number and "no" a word (PyYAML follows YAML 1.1).
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_TRUE = re.compile(r"^(?:true|True|TRUE)$")
_FALSE = re.compile(r"^(?:false|False|FALSE)$")
_INT = re.compile(r"^[-+]?[0-9]+$")
_HEX = re.compile(r"^0x[0-9a-fA-F]+$")
_FLOAT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
_SPECIAL = {".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}


@dataclass
class Layer:
    """One file, flag list or dict: its tree of plain values and the origin of every key in it."""

    tree: Dict[str, Any]
    origins: Dict[KeyPath, str] = field(default_factory=dict)


def dotted(path: KeyPath) -> str:
    """Return ``a.b[0].c`` for ("a", "b", 0, "c")."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def scalar(text: str) -> Any:
    """Return the value that plain (unquoted) YAML text stands for."""
    if _NULL.match(text):
        return None
    if _TRUE.match(text):
        return True
    if _FALSE.match(text):
        return False
    if _INT.match(text):
        return int(text)
    if _HEX.match(text):
        return int(text, 16)
    if _FLOAT.match(text):
        return float(text)
    return _SPECIAL.get(text.lower(), text)


def read_file(path: Path) -> Layer:
    """Read one YAML file; raises ConfigError with file:line for bad YAML, duplicate or non-text keys."""
    name = shown(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError([Problem("", f"no such configuration file: {path}")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem("", f"{path} cannot be read: {error}")]) from None
    return read_text(text, name)


def read_text(text: str, name: str) -> Layer:
    """Read YAML text; `name` stands before the line number in origins."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f"{name}:{error.problem_mark.line + 1}" if error.problem_mark else name
        raise ConfigError([Problem("", f"not valid YAML: {error.problem or error.context}", line)]) from None
    except yaml.YAMLError as error:
        raise ConfigError([Problem("", f"not valid YAML: {error}", name)]) from None
    layer = Layer({})
    if root is None:
        return layer
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError([Problem("", "a configuration file holds keys and values at its top level", f"{name}:1")])
    problems: List[Problem] = []
    layer.tree = _construct(root, (), name, layer.origins, problems)
    if problems:
        raise ConfigError(problems)
    return layer


def _construct(node: yaml.Node, path: KeyPath, name: str, origins: Dict[KeyPath, str], problems: List[Problem]) -> Any:
    origins[path] = f"{name}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.ScalarNode):
        return scalar(node.value) if node.style is None else node.value
    if len(path) > MAX_DEPTH:
        problems.append(
            Problem(
                dotted(path[:3]), f"nested deeper than {MAX_DEPTH} levels (an anchor inside itself?)", origins[path]
            )
        )
        return None
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, path + (index,), name, origins, problems) for index, item in enumerate(node.value)]
    assert isinstance(node, yaml.MappingNode)
    result: Dict[str, Any] = {}
    for key_node, value_node in _merged_pairs(node):
        key = str(key_node.value)
        place = f"{name}:{key_node.start_mark.line + 1}"
        if not isinstance(key_node, yaml.ScalarNode):
            problems.append(Problem(dotted(path), "a key must be plain text", place))
            continue
        if key in result:
            first = origins[path + (key,)]
            problems.append(Problem(dotted(path + (key,)), f"duplicate key; first written at {first}", place))
            continue
        result[key] = _construct(value_node, path + (key,), name, origins, problems)
        origins[path + (key,)] = place
    return result


def _merged_pairs(node: yaml.MappingNode) -> List[Tuple[yaml.Node, yaml.Node]]:
    """Return the pairs of a mapping with ``<<: *anchor`` filled in below its own keys."""
    own = [(key, value) for key, value in node.value if key.tag != "tag:yaml.org,2002:merge"]
    present = {key.value for key, _ in own if isinstance(key, yaml.ScalarNode)}
    for key, value in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                for pair in _merged_pairs(source):
                    if pair[0].value not in present:
                        present.add(pair[0].value)
                        own.append(pair)
    return own


def from_dict(tree: Dict[str, Any], name: str) -> Layer:
    """Return a layer for a plain dict; every key has the origin `name`."""
    layer = Layer({})

    def copy(value: Any, path: KeyPath) -> Any:
        layer.origins[path] = name
        if isinstance(value, dict):
            return {str(key): copy(item, path + (str(key),)) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [copy(item, path + (index,)) for index, item in enumerate(value)]
        return value

    layer.tree = copy(tree, ())
    return layer


def shown(path: Path) -> str:
    """Return a path as messages show it: relative to the working folder where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
