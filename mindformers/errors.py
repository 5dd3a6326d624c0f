"""Errors a user can cause. Each holds its fields and reads as one sentence: where, what, what is accepted, what to do.

The command line turns a `MindFormersError` into its message and exit code 2; anything else is a bug of ours and
keeps its traceback.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Iterable, Optional, Sequence

MAX_SHOWN = 10
"""How many problems of one kind are listed before the rest is counted."""


class MindFormersError(Exception):
    """Base of every error that the user can repair."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong at one place of the configuration."""

    path: str
    """Dotted path of the key, e.g. ``model.model_config.num_heads``."""
    message: str
    origin: str = ""
    """Where the value was written: ``file:line``, or the flag that set it."""

    def __str__(self) -> str:
        place = f"{self.origin}: " if self.origin else ""
        return f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"


class ConfigError(MindFormersError):
    """The configuration is not usable; carries every problem that was found."""

    def __init__(self, problems: Sequence[Problem]):
        self.problems = tuple(problems)
        super().__init__(listing(f"{counted(len(self.problems), 'configuration error')}:", self.problems))


class UnknownNameError(MindFormersError):
    """A name that no registry knows."""

    def __init__(self, kind: str, name: str, accepted: Iterable[str], hint: str = ""):
        self.kind, self.name, self.accepted = kind, name, tuple(sorted(accepted))
        message = f"unknown {kind} '{name}'.{suggestion(name, self.accepted)}"
        super().__init__(f"{message} {hint}".rstrip())


class DataError(MindFormersError):
    """A dataset that cannot be read, or a row that is not what its format promises."""


class CheckpointError(MindFormersError):
    """Weights or training state that cannot be loaded; carries every mismatch."""

    def __init__(self, where: str, mismatches: Sequence[str], advice: str = ""):
        self.where, self.mismatches, self.advice = where, tuple(mismatches), advice
        message = listing(f"{where}: {counted(len(self.mismatches), 'problem')}:", self.mismatches)
        super().__init__(f"{message}\n{advice}" if advice else message)


class OutputError(MindFormersError):
    """An output folder or file that cannot be written, or that would overwrite the user's work."""


class UsageError(MindFormersError):
    """A call or command whose arguments do not fit together."""


class MissingExtraError(MindFormersError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str):
        self.package, self.extra = package, extra
        super().__init__(f"{purpose} needs the package '{package}': pip install 'mindformers[{extra}]'")


def suggestion(name: str, accepted: Sequence[str], limit: int = 3) -> str:
    """Return " Did you mean 'x'?" for near names, else a list of what exists (empty when nothing does)."""
    lowered = {item.lower(): item for item in accepted}
    near = [lowered[key] for key in difflib.get_close_matches(name.lower(), list(lowered), n=limit, cutoff=0.6)]
    if near:
        return " Did you mean " + " or ".join(f"'{item}'" for item in near) + "?"
    if not accepted:
        return ""
    shown = ", ".join(accepted[:MAX_SHOWN])
    rest = len(accepted) - MAX_SHOWN
    return f" Known: {shown}{f' and {rest} more' if rest > 0 else ''}."


def counted(number: int, noun: str) -> str:
    """Return "1 problem", "3 problems"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listing(title: str, items: Sequence[object], limit: Optional[int] = MAX_SHOWN) -> str:
    """Return a title and one indented line per item; past `limit` the rest is counted."""
    shown = items if limit is None else items[:limit]
    lines = [title, *(f"  {item}" for item in shown)]
    if len(items) > len(shown):
        lines.append(f"  and {len(items) - len(shown)} more")
    return "\n".join(lines)
