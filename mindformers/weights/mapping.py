"""Between a checkpoint's names and ours, as data: one direction is written, the other follows.

A family's `weights.py` holds a `WeightMap`. Patterns have `{i}` where a layer's number stands and `*` for the ending
(weight or bias), the same on both sides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Dict, Iterable, List, Mapping, Optional, Tuple

LAYER = "{i}"
OLD_ENDINGS = {".gamma": ".weight", ".beta": ".bias"}
"""Spellings of layer norm in checkpoints that were converted from TensorFlow."""


@dataclass(frozen=True)
class Rename:
    """One parameter of ours under another name."""

    ours: str
    theirs: str
    optional: bool = False
    """Whether a model may lack this part (a head, a pooler) although the file has it."""


@dataclass(frozen=True)
class Ignore:
    """Something in the file that no model of ours has."""

    theirs: str
    why: str


@dataclass(frozen=True)
class Plan:
    """How the names of one file meet the parameters of one model."""

    sources: Dict[str, str]
    """Our path -> name in the file."""
    ignored: Dict[str, str]
    """Name in the file -> why it is not needed."""
    missing: List[str]
    """Our paths that the file does not have."""
    unexpected: List[str]
    """Names in the file that nobody knows."""


@dataclass(frozen=True)
class WeightMap:
    """All names of a family."""

    prefix: str
    """Stands before the names of the base model in a file that has a head, and is absent in a file without."""
    entries: Tuple[Rename, ...]
    ignored: Tuple[Ignore, ...] = ()
    headless: Tuple[str, ...] = field(default=("head.",))
    """Beginnings of our paths whose name in the file never carries the prefix."""

    def theirs(self, path: str, base: bool = False) -> str:
        """Return the name in a file for a path of ours; `base` gives that of the family's model without a head."""
        for entry in self.entries:
            match = _matcher(entry.ours).fullmatch(path)
            if match:
                name = _filled(entry.theirs, match)
                return name if base or path.startswith(self.headless) else self.prefix + name
        raise KeyError(f"the weight map has no entry for {path}")  # a defect of the family's map, which its tests find

    def ours(self, name: str) -> Optional[Tuple[str, bool]]:
        """Return the path for a name in a file and whether models may lack it; None for a name without an entry."""
        for old, new in OLD_ENDINGS.items():
            if name.endswith(old):
                name = name[: -len(old)] + new
        short = name[len(self.prefix) :] if name.startswith(self.prefix) else name
        for entry in self.entries:
            wanted = name if entry.ours.startswith(self.headless) else short
            match = _matcher(entry.theirs).fullmatch(wanted)
            if match:
                return _filled(entry.ours, match), entry.optional
        return None

    def plan(self, names: Iterable[str], paths: Iterable[str]) -> Plan:
        """Match the names of a file with the paths of a model."""
        wanted = set(paths)
        sources: Dict[str, str] = {}
        ignored: Dict[str, str] = {}
        unexpected: List[str] = []
        for name in names:
            found = self.ours(name)
            if found is not None and found[0] in wanted and found[0] not in sources:
                sources[found[0]] = name
            elif found is not None and found[1]:
                ignored[name] = "this model has no such part"
            elif self._reason(name):
                ignored[name] = self._reason(name)
            else:
                unexpected.append(name)
        return Plan(sources, ignored, sorted(wanted - set(sources)), unexpected)

    def export(self, paths: Iterable[str], base: bool = False) -> Dict[str, str]:
        """Return name in the file -> our path, for writing."""
        return {self.theirs(path, base): path for path in paths}

    def _reason(self, name: str) -> str:
        short = name[len(self.prefix) :] if name.startswith(self.prefix) else name
        for entry in self.ignored:
            if _matcher(entry.theirs).fullmatch(name) or _matcher(entry.theirs).fullmatch(short):
                return entry.why
        return ""


def near(path: str, known: Mapping[str, object]) -> str:
    """Return the known path that looks most like `path`, empty when none does."""
    import difflib

    found = difflib.get_close_matches(path, list(known), n=1, cutoff=0.6)
    return found[0] if found else ""


def _matcher(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\{i\}|\*)", pattern)
    return re.compile(
        "".join(
            r"(?P<i>\d+)" if part == LAYER else r"(?P<end>.+)" if part == "*" else re.escape(part) for part in parts
        )
    )


def _filled(pattern: str, match: re.Match[str]) -> str:
    groups = match.groupdict()
    return pattern.replace(LAYER, groups.get("i") or LAYER).replace("*", groups.get("end") or "*")
