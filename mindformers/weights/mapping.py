"""Between a checkpoint's names and ours, as data: one direction is written, the other follows.

A family's `weights.py` holds a `WeightMap`. Patterns have `{i}` where a layer's number stands and `*` for the ending
(weight or bias), the same on both sides. An entry says what one tensor of the file is to us: one parameter, one
parameter transposed, or several parameters packed into one.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import Collection, Dict, Iterable, Iterator, List, Literal, Mapping, Set, Tuple, Union

LAYER = "{i}"
OLD_ENDINGS = {".gamma": ".weight", ".beta": ".bias"}
"""Spellings of layer norm in checkpoints that were converted from TensorFlow."""

Packing = Literal["rows", "heads"]
"""How parameters lie in one tensor: one after the other, or head by head (one row block of each for every head)."""


@dataclass(frozen=True)
class Rename:
    """One parameter of ours under another name."""

    ours: str
    theirs: str
    optional: bool = False
    """Whether a model may lack this part (a head, a pooler) although the file has it."""
    transposed: bool = False
    """Whether the file holds the matrix as [in, out]."""
    beside: str = ""
    """A path of ours without which the parameter has another name in the file."""

    @property
    def parts(self) -> Tuple[str, ...]:
        """Our patterns, in their order in the tensor."""
        return (self.ours,)


@dataclass(frozen=True)
class Pack:
    """Several parameters of ours in one tensor, as many rows of each."""

    ours: Tuple[str, ...]
    theirs: str
    packing: Packing = "rows"
    optional: bool = False
    transposed: bool = False
    """Whether the file holds the matrix as [in, out] (the rows are then columns)."""
    beside: str = ""

    @property
    def parts(self) -> Tuple[str, ...]:
        """Our patterns, in their order in the tensor."""
        return self.ours


@dataclass(frozen=True)
class Ignore:
    """Something in the file that no model of ours has."""

    theirs: str
    why: str


Entry = Union[Rename, Pack]


@dataclass(frozen=True)
class Step:
    """One tensor of a file and the parameters of a model that it holds; `weights.layout` does the arithmetic."""

    theirs: str
    paths: Tuple[str, ...]
    packing: Packing = "rows"
    transposed: bool = False


@dataclass(frozen=True)
class Plan:
    """How the names of one file meet the parameters of one model."""

    steps: List[Step]
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
    entries: Tuple[Entry, ...]
    ignored: Tuple[Ignore, ...] = ()
    headless: Tuple[str, ...] = field(default=("head.",))
    """Beginnings of our paths whose name in the file never carries the prefix."""

    def plan(self, names: Iterable[str], paths: Iterable[str]) -> Plan:
        """Match the names of a file with the paths of a model; of two names for one path the earlier entry's counts."""
        wanted = set(paths)
        found: Dict[str, str] = {}
        steps: List[Step] = []
        ignored: Dict[str, str] = {}
        unexpected: List[str] = []
        known = {name: self.meanings(name) for name in names}
        for name in sorted(known, key=self._rank):
            meanings = known[name]
            fitting = [step for step, _ in meanings if all(path in wanted and path not in found for path in step.paths)]
            if fitting:
                steps.append(fitting[0])
                found.update(dict.fromkeys(fitting[0].paths, name))
            elif any(optional and wanted.isdisjoint(step.paths) for step, optional in meanings):
                ignored[name] = "this model has no such part"
            elif self._reason(name):
                ignored[name] = self._reason(name)
            else:
                unexpected.append(name)
        return Plan(steps, ignored, sorted(wanted - set(found)), unexpected)

    def may_lack(self, path: str) -> bool:
        """Say whether a parameter of ours is a part that models may lack: a head, a pooler."""
        return any(entry.optional and _matcher(part).fullmatch(path) for entry in self.entries for part in entry.parts)

    def meanings(self, name: str) -> List[Tuple[Step, bool]]:
        """Return what a tensor of the file may be, and whether models may lack it; nothing without an entry."""
        return [(_step(name, entry, match), entry.optional) for _, entry, match in self._matches(name)]

    def _rank(self, name: str) -> int:
        return next((number for number, _, _ in self._matches(name)), len(self.entries))

    def _matches(self, name: str) -> Iterator[Tuple[int, Entry, re.Match[str]]]:
        for old, new in OLD_ENDINGS.items():
            if name.endswith(old):
                name = name[: -len(old)] + new
        for number, entry in enumerate(self.entries):
            match = _matcher(entry.theirs).fullmatch(self._shortened(name, entry))
            if match:
                yield number, entry, match

    def export(self, paths: Collection[str], base: bool = False) -> List[Step]:
        """Return the tensors of a file that holds all of `paths`; `base` for the family's model without a head.

        Raises KeyError for a path without an entry, which is a defect of the family's map.
        """
        every = set(paths)
        left = dict.fromkeys(paths)
        steps = []
        while left:
            step = self._step_with(next(iter(left)), every, base)
            for path in step.paths:
                if path not in left:
                    raise KeyError(f"{step.theirs} also holds {path}, which the model does not have")
                del left[path]
            steps.append(step)
        return steps

    def _step_with(self, path: str, every: Set[str], base: bool) -> Step:
        for entry in self.entries:
            for part in entry.parts:
                match = _matcher(part).fullmatch(path)
                if match and (not entry.beside or _filled(entry.beside, match) in every):
                    prefix = "" if base or path.startswith(self.headless) else self.prefix
                    return _step(prefix + _filled(entry.theirs, match), entry, match)
        raise KeyError(f"the weight map has no entry for {path}")

    def _shortened(self, name: str, entry: Entry) -> str:
        is_headless = entry.parts[0].startswith(self.headless)
        return name[len(self.prefix) :] if name.startswith(self.prefix) and not is_headless else name

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


def _step(theirs: str, entry: Entry, match: re.Match[str]) -> Step:
    paths = tuple(_filled(part, match) for part in entry.parts)
    is_matrix = not theirs.endswith(".bias")  # a bias has one dimension and nothing to transpose
    packing: Packing = entry.packing if isinstance(entry, Pack) else "rows"
    return Step(theirs, paths, packing, entry.transposed and is_matrix)


@functools.cache
def _matcher(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\{i\}|\*)", pattern)
    return re.compile(
        "".join(
            r"(?P<i>\d+)" if part == LAYER else r"(?P<end>[^.]+)" if part == "*" else re.escape(part) for part in parts
        )
    )


def _filled(pattern: str, match: re.Match[str]) -> str:
    groups = match.groupdict()
    return pattern.replace(LAYER, groups.get("i") or LAYER).replace("*", groups.get("end") or "*")
